"""Pickles whose storages and views cost more than their bytes.

Each function takes `n` and returns a whole checkpoint whose size is proportional to it.
"""

from __future__ import annotations

from making.checkpoints import legacy_checkpoint, zip_checkpoint
from making.costly_pickles import HUGE, REBUILD, again, file, kept, listed
from making.pickles import Code, code, name, ordered_dict, pickled, storage


def missing_storages(n: int) -> bytes:
    """Name storages that are not there, in few bytes."""
    memo = kept("storage", name("torch", "FloatStorage"), "cpu")
    names = (b"(" + again(0, 1) + code(f"m{i}") + again(2) + b"K\4tQ" for i in range(n))
    return file(Code(memo + b"](" + b"".join(names) + b"e"))


def storages_of_huge_size(n: int) -> bytes:
    """Name storages of 2,400 digits of elements."""
    memo = kept("storage", name("torch", "FloatStorage"), "cpu", HUGE)
    names = (b"(" + again(0, 1) + code(f"m{i}") + again(2, 3) + b"tQ" for i in range(n))
    return file(Code(memo + b"](" + b"".join(names) + b"e"))


def one_storage_again(n: int) -> bytes:
    """Name one storage again and again."""
    pid = code(("storage", name("torch", "FloatStorage"), "0", "cpu", 4))
    return file(listed(kept(pid), item=again(0) + b"Q", count=n))


def legacy_views(n: int) -> bytes:
    """Name parts of one storage of a legacy stream, each another one."""
    memo = kept("storage", name("torch", "FloatStorage"), "0", "cpu")
    size = 1 << 12
    views = (
        b"(" + again(0, 1, 2, 3) + code(size) + b"(" + again(2) + code(i % size) + code(i // size) + b"tt" + b"Q"
        for i in range(n)
    )
    tree = pickled({"x": Code(memo + b"](" + b"".join(views) + b"e")})
    return legacy_checkpoint(tree, {"0": bytes(4 * size)})


def legacy_storages(n: int) -> bytes:
    """Name many empty storages of a legacy stream."""
    memo = kept("storage", name("torch", "FloatStorage"), "cpu")
    names = (b"(" + again(0, 1) + code(str(i)) + again(2) + b"K\0NtQ" for i in range(n))
    tree = pickled({"x": Code(memo + b"](" + b"".join(names) + b"e")})
    return legacy_checkpoint(tree, {str(i): b"" for i in range(n)})


def view(of: int, hooks: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Code:
    """Push a tensor over a memoised storage, without hooks that are memoised, too."""
    return Code(REBUILD + b"(" + again(of) + code(offset) + code(size) + code(stride) + b"\x89" + again(hooks) + b"tR")


def views(of: bytes, n: int, *, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """Pickle `n` views that differ in the stride of a dimension of size 1; `offset` is the number of offsets."""
    tensors = {f"v{i}": view(0, 1, i % offset, (1, *size), (i, *stride)) for i in range(n)}
    return pickled(Code(kept(of, ordered_dict()) + code(tensors)))


def overlapping_views(n: int) -> bytes:
    """Take `n` views of nearly all of one storage of 4,096 `n` bytes."""
    size = 1024 * n
    tree = views(storage(numel=size), n, offset=n, size=(size - n,), stride=(1,))
    return zip_checkpoint(tree, {"0": bytes(4 * size)})


def expanded_views(n: int) -> bytes:
    """Expand a few bytes to a megabyte, `n` times, along 20 dimensions that do not go together."""
    return zip_checkpoint(views(storage(kind="CharStorage", numel=16), n, offset=4, size=(2,) * 20, stride=(0, 1) * 10))


def expanded_integers(n: int) -> bytes:
    """Expand an integer to 32 MB, `n` times; what a rule of precision makes of them costs nothing before it is read."""
    return zip_checkpoint(
        views(storage(kind="LongStorage", numel=2), n, offset=2, size=(1 << 22,), stride=(0,)), {"0": bytes(16)}
    )
