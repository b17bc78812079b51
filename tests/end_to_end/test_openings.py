"""What a build costs, in openings: each source is opened, interpreted and hashed once, whatever is made of it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from hatch_wheelweights import opening
from hatch_wheelweights.checkpoint import files
from hatch_wheelweights.errors import CheckpointError
from making.checkpoints import safetensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from making.projects import Project

TABLE = """\
[[tool.hatch.build.hooks.wheelweights.records]]
source = "weights/{source}"
output = "{{package}}/{name}.mpk"
"""


class Openings:
    """Counts the openings of files by name: an audit hook cannot be taken away, so there is one, which can be off."""

    def __init__(self) -> None:
        self.seen: Counter[str] | None = None
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and self.seen is not None:
            self.seen[str(arguments[0]).replace("\\", "/").rpartition("/")[2]] += 1

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        seen: Counter[str] = Counter()
        self.seen = seen
        try:
            yield seen
        finally:
            self.seen = None


OPENINGS = Openings()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a checkpoint was interpreted, and how often a file was hashed."""
    done: Counter[str] = Counter()

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            done[name] += 1
            return function(*arguments, **options)

        return counted

    monkeypatch.setattr(opening, "read", counting("read", opening.read))
    monkeypatch.setattr(files, "Hashing", counting("hash", files.Hashing))
    return done


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    """Two records of one source, and one of a checkpoint in two shards."""
    tables = [("conv2d.pt", "all"), ("conv2d.pt", "some"), ("model.safetensors.index.json", "shards")]
    record = "".join(TABLE.format(source=source, name=name) for source, name in tables)
    project = new_project(record=record)
    weights = project.root / "weights"
    (weights / "1.safetensors").write_bytes(safetensors())
    (weights / "2.safetensors").write_bytes(safetensors({"v": ("F32", [4], 0, 16)}))
    index = {"weight_map": {"w": "1.safetensors", "v": "2.safetensors"}}
    (weights / "model.safetensors.index.json").write_text(json.dumps(index))
    return project


SOURCES = ("conv2d.pt", "model.safetensors.index.json", "1.safetensors", "2.safetensors")


@pytest.mark.parametrize("version", ["standard", "editable"])
def test_a_wheel_opens_interprets_and_hashes_each_source_once(
    project: Project, work: Counter[str], version: str
) -> None:
    with OPENINGS.counted() as seen:
        project.wheel(version)
    assert {name: seen[name] for name in SOURCES} == dict.fromkeys(SOURCES, 1)
    assert work == {"read": 2, "hash": len(SOURCES)}


def test_an_editable_build_that_is_up_to_date_opens_each_source_once(project: Project, work: Counter[str]) -> None:
    project.wheel("editable")
    work.clear()
    with OPENINGS.counted() as seen:
        project.wheel("editable")
    assert {name: seen[name] for name in SOURCES} == dict.fromkeys(SOURCES, 1)
    assert work == {"read": 2, "hash": len(SOURCES)}


def test_names_are_checked_for_all_records_before_a_byte_of_weights_is_hashed(
    project: Project, work: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(f'{pyproject.read_text()}include = ["nothing"]\n')
    with pytest.raises(SystemExit):
        project.wheel()
    assert "expected keys that match `nothing`, found none among 2" in capsys.readouterr().err
    assert work == {"read": 2}


def test_the_digest_is_that_of_the_bytes_that_were_mapped(project: Project) -> None:
    path = project.root / "weights" / "conv2d.pt"
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    with opening.open_checkpoint(path) as checkpoint:
        path.unlink()
        path.write_bytes(b"another file")
        assert checkpoint.digest() == expected


def test_closing_a_checkpoint_stops_its_digest(project: Project) -> None:
    path = project.root / "weights" / "conv2d.pt"
    checkpoint = opening.open_checkpoint(path)
    checkpoint.start_digest()
    (file,) = checkpoint._open_contents().files
    checkpoint.close()
    with pytest.raises(CheckpointError) as caught:
        file.sha256()
    assert str(caught.value) == "the checkpoint was closed while it was hashed"
