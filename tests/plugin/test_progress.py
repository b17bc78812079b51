"""Long work tells how far it has come: each byte once, to whoever shows it, and to nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hatch_wheelweights import convert, diff, export, inspect
from hatch_wheelweights.looking.inspection import statistics
from hatch_wheelweights.looking.verify import verify_file
from hatch_wheelweights.looking.verify_package import verify_package
from hatch_wheelweights.progress import advance, showing, working
from making.installed import in_parts, install
from making.small_files import WHEEL, small_checkpoint, small_record, small_wheel
from wheelweights import open_record, write_record
from wheelweights.record import buffers

if TYPE_CHECKING:
    from collections.abc import Callable

    from making.projects import Project


class Told:
    """What a sink is told: the pieces of work in order, each with the bytes that were announced and those done."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int, int]] = []
        self.under_way: str | None = None

    def begin(self, what: str, nbytes: int) -> None:
        assert self.under_way is None
        self.under_way = what
        self.done.append((what, nbytes, 0))

    def advance(self, nbytes: int) -> None:
        what, announced, done = self.done[-1]
        assert self.under_way == what
        self.done[-1] = (what, announced, done + nbytes)

    def end(self) -> None:
        assert self.under_way is not None
        self.under_way = None


def told_by(work: Callable[[], object]) -> list[tuple[str, int, int]]:
    """Do the work; return what it told."""
    told = Told()
    with showing(told):
        work()
    assert told.under_way is None
    return told.done


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_is_told_where_nobody_shows_it() -> None:
    with working("Working", 3):
        advance(3)
    advance(3)
    assert told_by(lambda: advance(3)) == []


def test_work_that_is_part_of_other_work_counts_towards_that() -> None:
    def work() -> None:
        with working("Outer", 5):
            advance(1)
            with working("Inner", 3):
                advance(3)
            advance(1)
        with working("Next", 2):
            advance(2)

    assert told_by(work) == [("Outer", 5, 5), ("Next", 2, 2)]


def test_work_that_fails_is_over_and_nothing_is_told_afterwards() -> None:
    told = Told()
    with showing(told):
        with pytest.raises(ValueError, match="broken"), working("Working", 3):
            raise ValueError("broken")
        assert told.under_way is None
        advance(1)
    with working("Working", 3):
        pass
    assert told.done == [("Working", 3, 0)]


# ------------------------------------------------------------------------------------- what tells


@pytest.mark.parametrize(
    ("options", "nbytes"),
    [({}, 32), ({"precision": "half"}, 24), ({"exclude": ["w$"]}, 16)],
    ids=["as it is", "cast", "part"],
)
def test_a_conversion_tells_the_bytes_of_the_record_and_of_tied_tensors_once(
    options: dict[str, object], nbytes: int
) -> None:
    small_checkpoint()
    told = told_by(lambda: convert("model.pt", "model.mpk", **options))  # type: ignore[arg-type]
    assert told == [("Converting model.pt", nbytes, nbytes)]


def test_a_difference_tells_the_bytes_of_both_sides() -> None:
    small_checkpoint()
    convert("model.pt", "model.mpk", reindex=False)
    told = told_by(lambda: diff("model.pt", "model.mpk", reindex=False))
    assert told == [("Comparing model.pt", 64, 64)]


@pytest.mark.parametrize("file", ["model.pt", "model.mpk"])
def test_an_export_tells_the_bytes_of_its_tensors(file: str) -> None:
    small_checkpoint()
    convert("model.pt", "model.mpk", reindex=False)
    assert told_by(lambda: export(file, "out.safetensors")) == [(f"Exporting {file}", 32, 32)]


@pytest.mark.parametrize(("kept", "announced", "done"), [(64, 32, 32), (0, 64, 48)], ids=["small", "large"])
def test_statistics_tell_what_they_read_of_tied_tensors_once(
    kept: int, announced: int, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large tensor is read twice, unless all of its values are equal, as those of one of the two are."""
    small_checkpoint()
    monkeypatch.setattr(statistics, "KEPT_BYTES", kept)
    assert told_by(lambda: inspect("model.pt", statistics=True)) == [("Reading model.pt", announced, done)]


@pytest.mark.parametrize("piece", [16, 4096])
def test_verifying_a_record_tells_the_bytes_of_its_tensors_in_pieces(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.arange(12.0)
    write_record("model.mpk", {"a": values, "tied": values, "b": np.zeros(3, np.int8), "empty": np.zeros((0, 2))})
    monkeypatch.setattr(buffers, "PIECE_BYTES", piece)
    pieces: list[int] = []
    open_record("model.mpk").verify(progress=pieces.append)
    assert sum(pieces) == 99
    assert max(pieces) == min(piece, 96)
    assert told_by(lambda: list(verify_file("model.mpk"))) == [("Verifying model.mpk", 99, 99)]


def test_verifying_a_wheel_tells_of_each_file_what_is_read_of_it() -> None:
    small_wheel()
    size = len(small_record(1))
    records = [(f"Verifying {WHEEL}/demo/{number}.mpk", 2 * size, 16 + size) for number in (1, 2)]
    *told, (what, announced, done) = told_by(lambda: list(verify_file(WHEEL)))
    assert told == records
    assert (what, announced) == (f"Verifying {WHEEL}/demo-1.0.dist-info/RECORD", done)


def test_verifying_an_installed_record_tells_of_it_and_of_the_record_of_the_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    install(tmp_path / "site", "one", "1.0", {"one/__init__.py": b"", "one/a.mpk": small_record()})
    path = tmp_path / "site" / "one" / "a.mpk"
    assert told_by(lambda: list(verify_package("one"))) == [(f"Verifying {path}", 32, 16 + path.stat().st_size)]


def test_verifying_a_record_in_parts_tells_of_each_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    index, parts = in_parts()
    install(tmp_path / "site", "big", "1.0", {"big/__init__.py": b"", "big/model.mpk": index})
    for name, content in parts.items():
        package = name.replace("-", "_")
        install(tmp_path / "site", name, "3", {f"{package}/__init__.py": b"", f"{package}/big/model.mpk": content})
    told = told_by(lambda: list(verify_package("big")))
    names = [Path(what.removeprefix("Verifying ")).relative_to(tmp_path / "site").parts[0] for what, _, _ in told]
    assert names == ["big", "big_weights_1", "big_weights_2"]


# ------------------------------------------------------------------------------------- builds


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What a build shows, as if it had a terminal."""
    from hatch_wheelweights.looking import progress

    told = Told()
    monkeypatch.setattr(progress, "shown_on", lambda _: showing(told))
    return told


def test_a_build_tells_of_the_conversion_and_of_the_wheel(new_project: Callable[..., Project], shown: Told) -> None:
    project = new_project()
    wheel = project.wheel()
    size = sum(tensor.nbytes for tensor in open_record(record_of(wheel)).values())
    (_, announced, done), writing = shown.done[0], shown.done[1]
    assert [what for what, _, _ in shown.done] == ["Converting conv2d.pt", f"Writing {wheel.name}"]
    assert announced == done == size
    assert writing[1] > size
    assert writing[2] > size


def test_a_build_tells_of_the_sdist(new_project: Callable[..., Project], shown: Told) -> None:
    project = new_project()
    sdist = project.sdist()
    what, announced, done = shown.done[-1]
    assert (what, announced) == (f"Writing {sdist.name}", done)
    assert announced > 0


def record_of(wheel: Path) -> str:
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".mpk"))
        return archive.extract(name)
