"""Fixtures that lay a hostile file down, open it, and look whether any of its code ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hatch_wheelweights.errors import CheckpointError
from looking.opening import outcome, outcome_in_a_process
from making.values import VALUES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from looking.opening import Refused


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[str]:
    """A file that the code in a hostile file would create."""
    path = tmp_path / "marker"
    yield str(path)
    assert not path.exists(), "code of the file was run"


@pytest.fixture
def result(tmp_path: Path, marker: str) -> Callable[..., Any]:
    """Write a file and open it: the arrays, or our error."""

    def open_it(data: bytes, name: str = "model.pt", **options: Any) -> Any:
        path = tmp_path / name
        path.write_bytes(data)
        return outcome(path, **options)

    return open_it


@pytest.fixture
def refused(result: Callable[..., Any]) -> Refused:
    """Assert that a file is refused with an error that says certain words; return its message."""

    def refuse(data: bytes, *says: str, error: type[Exception] = CheckpointError, **options: Any) -> str:
        found = result(data, **options)
        assert isinstance(found, error), f"{type(found).__name__}: {found}"
        message = str(found)
        for words in says:
            assert words.lower() in message.lower(), message
        return message

    return refuse


@pytest.fixture
def survived(result: Callable[..., Any]) -> Callable[..., None]:
    """Assert that a file is refused, or opens with the right values in `w`."""

    def survive(data: bytes, key: str = "w", **options: Any) -> None:
        found = result(data, **options)
        if isinstance(found, dict):
            np.testing.assert_array_equal(found[key], VALUES)

    return survive


@pytest.fixture
def endured(survived: Callable[..., None], tmp_path: Path) -> Callable[..., None]:
    """Assert the same of a file that could bring down a process, and open it in a process of its own first."""

    def endure(data: bytes, **options: Any) -> None:
        (tmp_path / "model.pt").write_bytes(data)
        outcome_in_a_process(tmp_path / "model.pt")
        survived(data, **options)

    return endure


@pytest.fixture
def opened(result: Callable[..., Any]) -> Callable[..., Any]:
    """Assert that a file opens; return its arrays."""

    def opens(data: bytes, **options: Any) -> Any:
        found = result(data, **options)
        if isinstance(found, Exception):
            raise found
        return found

    return opens
