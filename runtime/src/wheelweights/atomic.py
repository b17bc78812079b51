"""Files that appear whole or not at all, and nothing of them where a build would take it.

What is half made lies in a folder `__pycache__` beside its final place: on the same filesystem, so that it can be moved
there at once, and in a folder that build backends leave out of whatever they select, and that everybody's .gitignore
names. Whoever writes it holds a lock on it, which the system takes away when the process ends, however it ends. So the
next run can tell what nobody holds any more, and removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from wheelweights.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path  # reading records needs no pathlib, and importing it takes longer
    from typing import BinaryIO

__all__ = ["Scratch", "appearing_whole", "scratch_folder", "sweep"]

ASIDE: Final = "__pycache__"
_SUFFIX: Final = ".tmp"
_RANDOM_BYTES: Final = 8
_ATTEMPTS: Final = 100  # to make something in a folder that others may be removing


@contextlib.contextmanager
def appearing_whole(path: str | os.PathLike[str], size: int = 0, *, at_most: int = 0) -> Generator[BinaryIO]:
    """Give a file that gets its name once everything is written, and is removed if that fails.

    It replaces a regular file that is there. What earlier runs left beside it when they were killed is removed first.
    `size` is how large it will be, if that is known: where the filesystem can, so much is reserved, and a full disk is
    found at once. `at_most` is reserved if there is so much; whoever writes less truncates the file. Raises
    RecordError, with the path, where the system refuses.
    """
    from pathlib import Path  # noqa: PLC0415 (only for writing)

    target = Path(path)
    temporary: Path | None = None
    try:
        _refuse_devices(target)
        sweep(target.parent)
        temporary, file = _begin(target)
        with _held(file):
            with file:
                if size:
                    _reserve(file, size)
                elif at_most:
                    _reserve_if_possible(file, at_most)
                yield file
            temporary.replace(target)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError, ValueError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise RecordError(f"cannot be written: {error.strerror or error}", path=os.fspath(path)) from error
        raise
    finally:
        _leave(target.parent / ASIDE)


def _reserve_if_possible(file: BinaryIO, size: int) -> None:
    try:
        _reserve(file, size)
    except OSError:
        file.truncate(0)  # gives back what it got


def _reserve(file: BinaryIO, size: int) -> None:
    """Reserve room for a file. Without it, ext4 chooses the room when the file gets its name, and writes it out there.

    Raises OSError where there is not so much; where the system cannot say, nothing is done. `os.posix_fallocate` would
    write to every block of the file instead, which takes long on a filesystem of another process.
    """
    try:
        import ctypes  # noqa: PLC0415 (only for writing)

        fallocate = ctypes.CDLL(None, use_errno=True).fallocate  # Linux has it
    except (ImportError, AttributeError, OSError, TypeError):
        return
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if ctypes.sizeof(ctypes.c_void_p) == 8 and fallocate(file.fileno(), 0, 0, size):
        error = ctypes.get_errno()
        if error in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(error, os.strerror(error))


@contextlib.contextmanager
def _held(file: BinaryIO) -> Generator[None]:
    """Keep the lock of a file that is closed inside: closing can fail, so the file is moved only afterwards."""
    if os.name != "posix":  # there an open file cannot be moved
        yield
        return
    descriptor = os.dup(file.fileno())
    try:
        yield
    finally:
        os.close(descriptor)


class Scratch:
    """A folder for what is half made, which goes with this object, at the latest when the interpreter ends."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        import weakref  # noqa: PLC0415 (likewise)

        self.path = path
        self._remove = weakref.finalize(self, _remove_folder, path, descriptor)

    def remove(self) -> None:
        """Remove the folder and everything in it, unless that was done before."""
        self._remove()


def scratch_folder(beside: Path) -> Scratch:
    """Make a folder for what is half made, in `__pycache__` of the folder `beside`, which is made as well.

    What earlier runs left there when they were killed is removed first. Raises RecordError where the system refuses.
    """
    aside = beside / ASIDE
    sweep(beside)
    for _ in range(_ATTEMPTS):
        path = aside / _name("wheelweights")
        try:
            path.mkdir(parents=True)
            descriptor = _opened(path)
            if descriptor is None or _is_held_here(descriptor, path):
                return Scratch(path, descriptor)
            os.close(descriptor)
        except FileNotFoundError:  # another process removed the folder, which was empty
            continue
        except BaseException as error:  # a signal, say: nobody knows of this folder yet
            with contextlib.suppress(OSError):
                path.rmdir()
            if isinstance(error, OSError):
                raise RecordError(f"cannot be written: {error.strerror or error}", path=os.fspath(path)) from error
            raise
    raise RecordError("cannot be written: other processes keep removing it", path=os.fspath(aside))


def _opened(folder: Path) -> int | None:
    """Open a folder, where the system lets it be opened."""
    return os.open(folder, os.O_RDONLY) if os.name == "posix" else None


def _name(of: str) -> str:
    return f"{of}.{os.urandom(_RANDOM_BYTES).hex()}{_SUFFIX}"


def _is_ours(name: str) -> bool:
    """Return whether this is a name of `_name`'s."""
    _, _, random = name.removesuffix(_SUFFIX).rpartition(".")
    return name.endswith(_SUFFIX) and len(random) == 2 * _RANDOM_BYTES and not set(random) - set("0123456789abcdef")


def _begin(target: Path) -> tuple[Path, BinaryIO]:
    """Open a new file that is to become `target`, and hold it."""
    for _ in range(_ATTEMPTS):
        temporary = target.parent / ASIDE / _name(target.name)
        file: BinaryIO | None = None
        try:
            if target.parent.is_dir():
                temporary.parent.mkdir(exist_ok=True)
            file = temporary.open("xb")
            if _is_held_here(file.fileno(), temporary):
                return temporary, file
            file.close()
        except FileNotFoundError:
            if not target.parent.is_dir():
                raise
            continue  # another process removed the folder, which was empty
        except BaseException:  # a signal, say: nobody knows of this file yet
            if file is not None:
                file.close()
            with contextlib.suppress(OSError, ValueError):
                temporary.unlink(missing_ok=True)
            raise
    raise OSError("other processes keep removing what is being written")


def _is_held_here(descriptor: int, path: Path) -> bool:
    """Lock a new file or folder; return whether it is still there: somebody who swept may have been faster."""
    if not _lock(descriptor):
        return True  # no locks here: then nobody sweeps either
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> bool:
    """Lock an open file or folder for this process, without waiting; return whether that is so."""
    try:
        import fcntl  # noqa: PLC0415 (not on Windows, where no open file can be removed)

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def sweep(folder: Path) -> None:
    """Remove what earlier runs left beside the files of a folder when they were killed.

    That is what bears a name of ours, belongs to this user, and is held by nobody.
    """
    aside = folder / ASIDE
    try:
        left = [path for path in aside.iterdir() if _is_ours(path.name)]
    except (OSError, ValueError):
        return
    for path in left:
        with contextlib.suppress(OSError):
            _sweep_one(path)
    _leave(aside)


def _sweep_one(path: Path) -> None:
    state = path.lstat()
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
        return  # none of ours, and opening a pipe would wait
    if hasattr(os, "getuid") and state.st_uid != os.getuid():
        return
    if os.name != "posix":
        _remove(path)  # fails for what is open
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _lock(descriptor):
            _remove(path)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        import shutil  # noqa: PLC0415 (likewise)

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _remove_folder(path: Path, descriptor: int | None) -> None:
    try:
        _remove(path)
    except BaseException:  # a signal in the middle of it, which is raised when all is gone
        _remove(path)
        raise
    if descriptor is not None:
        os.close(descriptor)
    _leave(path.parent)


def _leave(aside: Path) -> None:
    """Remove the folder aside, if nothing is in it."""
    with contextlib.suppress(OSError, ValueError):
        aside.rmdir()


def _refuse_devices(target: Path) -> None:
    """Raise OSError for a target that is there and not a regular file: it must not be replaced by one."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    except ValueError as error:  # a name that no file can have
        raise OSError(str(error)) from error
    if not stat.S_ISREG(mode):
        raise OSError("there is something that is not a regular file")
