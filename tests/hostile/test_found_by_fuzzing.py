"""The corpus of the fuzzer, replayed: its seeds, and what it finds later (crashes go into `tests/fuzz/corpus`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fuzz.containers import CONTAINERS, corpus

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
INPUTS = sorted(CORPUS.iterdir())


@pytest.mark.parametrize("file", INPUTS, ids=[path.name for path in INPUTS])
def test_only_our_errors_come_out_of_the_corpus(result: Any, file: Path) -> None:
    data = file.read_bytes()
    result(CONTAINERS[data[0] % len(CONTAINERS)](data[1:]))


def test_the_corpus_has_all_seeds() -> None:
    """Run `tests/fuzz/make_corpus.py` where this fails."""
    assert corpus().keys() <= {path.name for path in INPUTS}
