"""Mutants of well-formed files, and opcodes that make some sense: only our errors come out, nothing stays behind."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hatch_wheelweights import open_checkpoint
from looking.opening import read_everything, unless_it_hangs
from making.checkpoints import zip_checkpoint
from making.pickles import Code, build, call, code, get, name, pickled, put, storage, tensor
from making.seeds import SEEDS, wrapped
from wheelweights.errors import WheelweightsError

INTERESTING = [
    0,
    1,
    2,
    4,
    8,
    16,
    127,
    128,
    255,
    256,
    0x7FFF,
    0xFFFF,
    1 << 31,
    (1 << 32) - 1,
    1 << 62,
    (1 << 63) - 1,
    (1 << 64) - 1,
]


# ------------------------------------------------------------------------------------- mutations


def _flip(data: bytearray, at: int, chance: random.Random) -> None:
    data[at] ^= 1 << chance.randrange(8)


def _set(data: bytearray, at: int, chance: random.Random) -> None:
    data[at] = chance.randrange(256)


def _insert(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = chance.randbytes(chance.choice([1, 1, 2, 4, 16]))


def _delete(data: bytearray, at: int, chance: random.Random) -> None:
    del data[at : at + chance.choice([1, 1, 2, 4, 8, 64])]


def _truncate(data: bytearray, at: int, chance: random.Random) -> None:
    del data[at:]


def _duplicate(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = data[at : at + chance.choice([1, 4, 16, 64, 256])] * chance.choice([1, 1, 2, 8])


def _move(data: bytearray, at: int, chance: random.Random) -> None:
    length = chance.choice([1, 4, 16, 64])
    block = data[at : at + length]
    del data[at : at + length]
    to = chance.randrange(len(data) + 1)
    data[to:to] = block


def _number(data: bytearray, at: int, chance: random.Random) -> None:
    width = chance.choice([1, 2, 4, 8])
    value = chance.choice(INTERESTING)
    if chance.random() < 0.5:  # near what stands there
        value = int.from_bytes(data[at : at + width], "little") + chance.choice([-8, -1, 1, 8])
    data[at : at + width] = (value % 256**width).to_bytes(width, "little")[: len(data) - at]


def _digit(data: bytearray, at: int, chance: random.Random) -> None:
    """Change a number written as text, as JSON, tar headers and protocol 0 have it."""
    digits = [index for index, byte in enumerate(data) if 48 <= byte < 58]
    if digits:
        data[chance.choice(digits)] = chance.choice(b"0123456789-.eE")


MUTATIONS = [_flip, _set, _insert, _delete, _truncate, _duplicate, _move, _number, _number, _digit]


def mutant(kind: str, number: int) -> bytes:
    """Return the mutant of this number: always the same."""
    chance = random.Random(f"{kind} {number}")
    data = bytearray(chance.choice(SEEDS[kind]))
    for _ in range(chance.choice([1, 1, 1, 2, 3, 6])):
        if data:
            chance.choice(MUTATIONS)(data, chance.randrange(len(data)), chance)
    return wrapped(bytes(data)) if kind == "pickle" else bytes(data)


@pytest.mark.parametrize("kind", SEEDS)
def test_opens_what_the_mutants_come_from(tmp_path: Path, kind: str) -> None:
    for number, seed in enumerate(SEEDS[kind]):
        path = tmp_path / f"{number}.pt"
        path.write_bytes(wrapped(seed) if kind == "pickle" else seed)
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.tree is not None


@pytest.mark.parametrize("count", [1000, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", SEEDS)
def test_only_our_errors_come_out_of_mutants(
    tmp_path: Path, kind: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mutant.pt"
    early = 0
    for number in range(count):
        path.unlink(missing_ok=True)  # truncating it instead takes ten times as long on ext4
        path.write_bytes(mutant(kind, number))
        with _blamed_on(kind, number), contextlib.suppress(WheelweightsError):
            read_everything(path)
        if number == count // 10:
            early = _resident_bytes()
    assert _resident_bytes() - early < 32 << 20
    assert _open_below(tmp_path) == []
    assert [left.name for left in tmp_path.iterdir()] == ["mutant.pt"]


@contextlib.contextmanager
def _blamed_on(kind: str, number: int) -> Any:
    """Add to any exception which mutant it was."""
    try:
        with unless_it_hangs():
            yield
    except WheelweightsError:
        raise
    except BaseException as error:
        error.add_note(f"mutant({kind!r}, {number})")
        raise


def _resident_bytes() -> int:
    if sys.platform != "linux":
        return 0
    gc.collect()  # what only waits for the collector is no leak
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _open_below(folder: Path) -> list[str]:
    """List the files of a folder that this process has open, deleted ones too; files of other tests do not count."""
    if sys.platform != "linux":
        return []
    gc.collect()
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the descriptor of this very listing
            found.append(str(descriptor.readlink()))
    return [name for name in found if name.startswith(f"{folder}{os.sep}")]


def test_the_list_of_open_files_sees_deleted_ones(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    path = tmp_path / "model.pt"
    path.touch()
    with path.open("rb"):
        path.unlink()
        assert _open_below(tmp_path) == [f"{path} (deleted)"]
    assert _open_below(tmp_path) == []


# ------------------------------------------------------------------------------------- properties

NAMES = [
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor_v3"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_parameter_with_state"),
    ("torch._utils", "_rebuild_qtensor"),
    ("torch._utils", "_rebuild_sparse_tensor"),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"),
    ("torch._tensor", "_rebuild_from_type_v2"),
    ("torch.serialization", "_get_layout"),
    ("torch.nn.parameter", "Parameter"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch", "float32"),
    ("torch", "FloatStorage"),
    ("torch.storage", "UntypedStorage"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("collections", "Counter"),
    ("collections", "deque"),
    ("builtins", "set"),
    ("builtins", "complex"),
    ("builtins", "bytearray"),
    ("__builtin__", "long"),
    ("_codecs", "encode"),
    ("copy_reg", "_reconstructor"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("torch.jit._pickle", "restore_type_tag"),
    ("torch.jit._pickle", "build_intlist"),
    ("mynet", "Net"),
]

plain_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
)
plain_values = st.recursive(
    plain_leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=6) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=20,
)

leaves = (
    plain_leaves.map(code)
    | st.integers(0, 3).map(get)
    | st.sampled_from(NAMES).map(lambda pair: name(*pair))
    | st.sampled_from([tensor(), storage(), tensor(size=()), code(()), code({}), code([])])
)


def _combined(inner: st.SearchStrategy[Code]) -> st.SearchStrategy[Code]:
    functions = st.sampled_from(NAMES).map(lambda pair: name(*pair))
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(st.tuples(inner, inner), max_size=3).map(_items)
    ).map(code) | (
        st.builds(call, functions | inner, inner, inner)
        | st.builds(lambda function, arguments: call(function, *arguments), functions, st.lists(inner, max_size=8))
        | st.builds(lambda function, arguments: Code(function + code(arguments) + b"\x81"), functions, st.tuples(inner))
        | st.builds(build, inner, inner)
        | st.builds(put, inner, st.integers(0, 3))
        | st.builds(lambda a, b: Code(a + b + b"a"), inner, inner)
        | st.builds(lambda a, b, c: Code(a + b + c + b"s"), inner, inner, inner)
        | st.builds(lambda a: Code(a + b"Q"), inner)
        | st.builds(lambda a, b: Code(a + b"0" + b), inner, inner)
    )


def _items(pairs: list[tuple[Code, Code]]) -> Code:
    return Code(b"}(" + b"".join(key + value for key, value in pairs) + b"u")


programs = st.recursive(leaves, _combined, max_leaves=25)
anywhere = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@anywhere
@given(program=programs, more=st.booleans())
def test_only_our_errors_come_out_of_programs(tmp_path_factory: Any, program: Code, more: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "program.pt"
    path.write_bytes(wrapped(pickled({"w": tensor(), "x": program} if more else program)))
    with contextlib.suppress(WheelweightsError), unless_it_hangs():
        read_everything(path)


@anywhere
@given(value=plain_values, protocol=st.integers(0, 5))
def test_reads_plain_values_as_python_does(tmp_path_factory: Any, value: object, protocol: int) -> None:
    path = tmp_path_factory.getbasetemp() / "plain.pt"
    path.write_bytes(zip_checkpoint(pickle.dumps({"value": value}, protocol)))
    with open_checkpoint(path) as checkpoint:
        assert repr(checkpoint.tree) == repr({"value": value})


@anywhere
@given(
    tail=st.binary(max_size=64), open_file=st.sampled_from(["zip", "legacy", "tar", "safetensors", "pickle", "nothing"])
)
def test_only_our_errors_come_out_of_noise(tmp_path_factory: Any, tail: bytes, open_file: str) -> None:
    """The first bytes make it a format; what follows is noise."""
    path = tmp_path_factory.getbasetemp() / "noise.pt"
    path.write_bytes(SEEDS.get(open_file, [b""])[0][:40] + tail)
    with contextlib.suppress(WheelweightsError):
        read_everything(path)
