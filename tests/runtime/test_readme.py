"""The examples in the runtime's README run as they stand there."""

from __future__ import annotations

import doctest
from pathlib import Path

README = Path(__file__).parents[2] / "runtime" / "README.md"


def test_the_examples_give_what_they_show() -> None:
    text = README.read_text(encoding="utf-8").replace("```", "")
    examples = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, README.name, str(README), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST)
    failures: list[str] = []
    runner.run(examples, out=failures.append)
    assert not failures, "".join(failures)
    assert len(examples.examples) > 10
