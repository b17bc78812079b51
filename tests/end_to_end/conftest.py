"""Fixtures of builds: what the hook says, and where its temporary files would be seen."""

from __future__ import annotations

import json
import re
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wheelweights as ww
from making.projects import CONV2D

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


MADE = r"\A(.*: (\d+ tensors?, |golden outputs of ).*\n)+"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[Callable[[], object]], str]:
    """Run a build that the hook has to stop; return what the user reads but for the records that were made before."""

    def refuse(build: Callable[[], object]) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            build()
        assert caught.value.code == 1
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return re.sub(MADE, "", said).rstrip("\n")

    return refuse


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for every temporary file that is made from now on."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="session")
def is_conv2d() -> Callable[[Path], None]:
    """Assert that a file is the record of conv2d.pt: torch's keys in their order, dtypes and values."""
    expected: dict[str, Any] = json.loads((CONV2D / "expected.json").read_text())["state_dict"]

    def check(path: Path) -> None:
        record = ww.open_record(path)
        assert list(record) == list(expected)
        for key, tensor in expected.items():
            assert record[key].dtype == tensor["dtype"]
            np.testing.assert_array_equal(record[key], np.asarray(tensor["values"], tensor["dtype"]))
        record.verify()

    return check
