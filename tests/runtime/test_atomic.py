"""Files that appear whole: what is half made lies aside, is held, and is swept when nobody holds it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import wheelweights as ww
from wheelweights import atomic
from wheelweights.atomic import ASIDE, appearing_whole, scratch_folder

if TYPE_CHECKING:
    from pathlib import Path

posix = pytest.mark.skipif(os.name != "posix", reason="locks are POSIX's")

# Holds one of the two and waits to be killed
HOLDING = """
import sys
from pathlib import Path
from wheelweights.atomic import appearing_whole, scratch_folder
if sys.argv[1] == "file":
    with appearing_whole(sys.argv[2]) as file:
        file.write(b"half")
        file.flush()
        print("held", flush=True)
        sys.stdin.read()
else:
    scratch = scratch_folder(Path(sys.argv[2]).parent)
    (scratch.path / "some").write_bytes(b"half")
    print("held", flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def holding(what: str, path: Path) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDING, what, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout
    assert child.stdout.readline() == b"held\n"
    return child


def kill(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate()


def test_nothing_stands_beside_a_file_while_it_is_written_or_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "model.mpk"
    with appearing_whole(path) as file:
        file.write(b"half")
        assert [one.name for one in tmp_path.iterdir()] == [ASIDE]
    assert names(tmp_path) == ["model.mpk"]
    assert [one.name for one in tmp_path.iterdir()] == ["model.mpk"]


def test_a_folder_that_somebody_else_uses_stays(tmp_path: Path) -> None:
    (tmp_path / ASIDE).mkdir()
    (tmp_path / ASIDE / "module.cpython-311.pyc").write_bytes(b"")
    (tmp_path / ASIDE / "notes.tmp").write_bytes(b"")
    ww.write_record(tmp_path / "model.mpk", {"w": np.zeros(1)})
    assert names(tmp_path) == [f"{ASIDE}/module.cpython-311.pyc", f"{ASIDE}/notes.tmp", "model.mpk"]


@posix
@pytest.mark.parametrize("what", ["file", "folder"])
def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path, what: str) -> None:
    path = tmp_path / "model.mpk"
    kill(holding(what, path))
    (left,) = names(tmp_path)
    assert left.startswith(f"{ASIDE}/")
    ww.write_record(tmp_path / "other.mpk", {"w": np.zeros(1)})
    assert names(tmp_path) == ["other.mpk"]
    assert not (tmp_path / ASIDE).exists()


@posix
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_another_process_holds_is_left_alone(tmp_path: Path, what: str) -> None:
    child = holding(what, tmp_path / "model.mpk")
    try:
        before = names(tmp_path)
        ww.write_record(tmp_path / "model.mpk", {"w": np.zeros(1)})
        scratch_folder(tmp_path).remove()
        assert names(tmp_path) == [*before, "model.mpk"]
    finally:
        kill(child)


def test_two_writers_of_one_file_in_one_process_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "model.mpk"
    with appearing_whole(path) as first:
        first.write(b"first")
        with appearing_whole(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["model.mpk"]


def interrupt_once(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """Let a signal arrive in the middle of a function, the first time that it is called."""
    usual = getattr(owner, name)

    def interrupted(*arguments: object, **options: object) -> None:
        monkeypatch.setattr(owner, name, usual)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, interrupted)


@posix
def test_a_pipe_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ASIDE).mkdir()
    os.mkfifo(tmp_path / ASIDE / f"x.{'0' * 16}.tmp")
    ww.write_record(tmp_path / "model.mpk", {"w": np.zeros(1)})
    assert (tmp_path / ASIDE / f"x.{'0' * 16}.tmp").is_fifo()


def test_a_scratch_folder_goes_even_if_a_signal_comes_while_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = scratch_folder(tmp_path)
    (scratch.path / "some").write_bytes(b"half")
    interrupt_once(monkeypatch, shutil, "rmtree")
    with pytest.raises(KeyboardInterrupt):
        scratch.remove()
    assert names(tmp_path) == []
    assert not scratch.path.exists()


@posix
def test_nothing_stays_if_a_signal_comes_while_something_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_once(monkeypatch, atomic, "_lock")
    with pytest.raises(KeyboardInterrupt):
        scratch_folder(tmp_path)
    interrupt_once(monkeypatch, atomic, "_lock")
    with pytest.raises(KeyboardInterrupt), appearing_whole(tmp_path / "model.mpk"):
        pass
    assert list(tmp_path.glob("**/*.tmp")) == []


@posix
def test_a_link_is_not_followed_when_sweeping(tmp_path: Path) -> None:
    (tmp_path / ASIDE).mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"")
    (tmp_path / ASIDE / f"x.{'0' * 16}.tmp").symlink_to("../precious")
    ww.write_record(tmp_path / "model.mpk", {"w": np.zeros(1)})
    assert (tmp_path / "precious" / "file").exists()


def test_a_scratch_folder_goes_with_its_object(tmp_path: Path) -> None:
    scratch = scratch_folder(tmp_path / "new")
    (scratch.path / "file").write_bytes(b"")
    (scratch.path / "folder").mkdir()
    scratch.remove()
    scratch.remove()
    assert list((tmp_path / "new").iterdir()) == []


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_library_does_not_decide_what_signals_do(tmp_path: Path, number: int) -> None:
    child = holding("file", tmp_path / "model.mpk")
    child.send_signal(number)
    child.communicate()
    assert child.returncode == -number


def test_a_missing_folder_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ww.RecordError) as caught:
        ww.write_record(tmp_path / "none" / "model.mpk", {"w": np.zeros(1)})
    assert str(caught.value) == f"{tmp_path / 'none' / 'model.mpk'}: cannot be written: No such file or directory"
    assert list(tmp_path.iterdir()) == []


# Room that is reserved


LIMITED = """
import resource, signal, sys
import numpy as np
import wheelweights as ww
from wheelweights.atomic import appearing_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
written = []
try:
    with appearing_whole(sys.argv[1], 2 << 20) as file:
        written.append("begun")
except ww.RecordError as error:
    print(error, written)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reserves room")
def test_what_has_no_room_is_refused_before_a_byte_is_written(tmp_path: Path) -> None:
    path = tmp_path / "model.mpk"
    done = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout in (f"{path}: cannot be written: File too large []\n", "")  # nothing, where none is reserved
    assert (list(tmp_path.iterdir()) == []) == bool(done.stdout)


@pytest.mark.parametrize("missing", ["fallocate", "ctypes"])
def test_a_system_that_reserves_nothing_writes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "ctypes":
        monkeypatch.setitem(sys.modules, "ctypes", None)
    else:
        import ctypes

        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    size = ww.write_record(tmp_path / "model.mpk", {"w": np.arange(5.0)})
    assert (tmp_path / "model.mpk").stat().st_size == size
    assert ww.open_record(tmp_path / "model.mpk")["w"].tolist() == [0, 1, 2, 3, 4]
