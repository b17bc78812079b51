"""Tensors over storages: strides, bounds, blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hatch_wheelweights.checkpoint import tensors
from hatch_wheelweights.checkpoint.strides import contiguous_strides, is_contiguous
from hatch_wheelweights.checkpoint.tensors import (
    LazyTensor,
    Storage,
    broken_tensor,
    strided_tensor,
)
from hatch_wheelweights.errors import CheckpointError
from making.tensors import faulty, sealed
from wheelweights.dtypes import DTYPES, numpy_dtype

NUMEL = 60
SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)
LOW_LIMIT = 64  # bytes of a block, so that small tensors come in many


def storage(dtype: str = "float32", numel: int = NUMEL, *, big_endian: bool = False) -> Storage:
    limit, nbytes = 2 if dtype == "bool" else 256, numel * DTYPES[dtype].itemsize
    raw = np.random.default_rng(numel).integers(0, limit, nbytes, np.uint8)
    raw.flags.writeable = False
    return Storage(raw.nbytes, lambda: raw, big_endian)


def as_numpy(
    of: Storage, dtype: str, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> np.ndarray[Any, Any]:
    """Return what torch's as_strided would, by numpy's, out of integers that move as the elements do."""
    size = DTYPES[dtype].itemsize
    flat = of.read().view(f"V{size}")[offset:]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, shape, [step * size for step in stride]))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    dtype=st.sampled_from(list(DTYPES)),
    offset=st.integers(0, NUMEL),
    shape=SHAPES,
    data=st.data(),
    limit=st.sampled_from([1, 16, LOW_LIMIT, 1 << 20]),
)
def test_a_strided_tensor_is_numpys_as_strided(
    dtype: str, offset: int, shape: tuple[int, ...], data: st.DataObject, limit: int
) -> None:
    stride = tuple(data.draw(st.integers(0, 12)) for _ in shape)
    reach = offset + 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    assume(reach <= NUMEL or 0 in shape)
    of = storage(dtype)
    found = strided_tensor(of, dtype, offset, shape, stride)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tensors, "BLOCK_BYTES", limit)
        blocks = list(found.blocks())
        array = found.numpy()
    expected = as_numpy(of, dtype, min(offset, NUMEL), shape, stride)
    assert (array.dtype, array.shape) == (numpy_dtype(dtype), shape)
    assert array.tobytes() == expected.tobytes() == b"".join(block.tobytes() for block in blocks)
    assert not array.flags.writeable
    assert all(block.ndim == 1 and block.dtype == array.dtype for block in blocks)
    if not is_contiguous(shape, stride):
        assert all(block.nbytes <= max(limit, array.itemsize) for block in blocks)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    offset=st.integers(-2, NUMEL + 3),
    shape=st.lists(st.integers(-1, 9), max_size=4).map(tuple),
    stride=st.lists(st.integers(-1, 40), max_size=4).map(tuple),
)
def test_a_tensor_is_read_only_where_every_index_is_in_bounds(
    offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    found = strided_tensor(storage(), "float32", offset, shape, stride)
    well = len(shape) == len(stride) and min((offset, *shape, *stride)) >= 0
    if well and 0 not in shape:
        last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        well = last < NUMEL
    elif well:
        return  # an empty tensor touches nothing, whatever its offset
    assert (found.fault is None) == well
    if well:
        assert found.numpy().shape == shape
    else:
        with pytest.raises(CheckpointError):
            found.numpy()


@settings(max_examples=300, deadline=None)
@given(
    offset=st.integers(-2, NUMEL + 3),
    shape=st.lists(st.integers(-1, 9), max_size=4).map(tuple),
    numel=st.integers(0, 90),
)
def test_elements_that_follow_each_other_are_checked_no_less(offset: int, shape: tuple[int, ...], numel: int) -> None:
    found = strided_tensor(storage(numel=numel), "float32", offset, shape, contiguous_strides(shape))
    well = min((offset, *shape)) >= 0 and (0 in shape or offset + math.prod(shape) <= numel)
    assert (found.fault is None) == well
    assert (found.view is not None) == (well and 0 not in shape)
    if well:
        assert found.numpy().tobytes() == storage(numel=numel).read()[4 * offset :][: 4 * math.prod(shape)].tobytes()


@pytest.mark.parametrize(
    ("offset", "shape", "stride", "fault"),
    [
        (57, (4,), (1,), "reaches past its storage: expected at least 61 elements, found 60"),
        (0, (2, 2), (1, 1 << 62), f"reaches past its storage: expected at least {(1 << 62) + 2:,} elements, found 60"),
        (0, (2,), (1, 1), "expected as many strides as dimensions, found 2 and 1"),
        (-1, (2,), (1,), "negative offset, size or stride: -1, (2,), (1,)"),
        (0, (-2,), (1,), "negative offset, size or stride: 0, (-2,), (1,)"),
        (0, (2,), (-1,), "negative offset, size or stride: 0, (2,), (-1,)"),
        (0, (1,) * 65, (1,) * 65, "expected at most 64 dimensions, found 65"),
        (
            0,
            (1 << 40, 1 << 40, 0),
            (0, 0, 0),
            f"expected sizes that make less than 2**63 bytes, found {(1 << 40, 1 << 40, 0)}",
        ),
        (0, (1 << 28,), (0,), "expands 240 stored bytes to 1,073,741,824"),
    ],
)
def test_says_which_bound_is_broken(offset: int, shape: Any, stride: Any, fault: str) -> None:
    found = strided_tensor(storage(), "float32", offset, shape, stride).named("fc.weight")
    with pytest.raises(CheckpointError) as caught:
        list(found.blocks())
    assert str(caught.value).splitlines()[0] == f"tensor `fc.weight`: {fault}"
    assert found.shape == shape


@pytest.mark.parametrize("dtype", ["int16", "float32", "bfloat16", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("stride", [(6, 1), (1, 4)])
def test_swaps_the_bytes_of_big_endian_storages(dtype: str, stride: tuple[int, int]) -> None:
    little, big = storage(dtype, 24), storage(dtype, 24, big_endian=True)
    part = DTYPES[dtype].itemsize // (2 if dtype.startswith("complex") else 1)
    swapped = little.read().reshape(-1, part)[:, ::-1].reshape(-1)
    big = Storage(big.nbytes, lambda: swapped, big_endian=True)
    found = strided_tensor(big, dtype, 0, (4, 6), stride).numpy()
    assert found.tobytes() == strided_tensor(little, dtype, 0, (4, 6), stride).numpy().tobytes()


def test_conjugates_and_negates() -> None:
    of = Storage(16, lambda: np.array([1 + 2j, -3j], np.complex64).view(np.uint8))
    assert strided_tensor(of, "complex64", 0, (2,), (1,), conjugated=True).numpy().tolist() == [1 - 2j, 3j]
    assert strided_tensor(of, "complex64", 0, (2,), (1,), negated=True).numpy().tolist() == [-1 - 2j, 3j]
    both = strided_tensor(of, "complex64", 0, (2,), (1,), conjugated=True, negated=True)
    assert both.numpy().tolist() == [-1 + 2j, -3j]
    halves = strided_tensor(of, "float32", 0, (4,), (1,), negated=True)
    assert halves.numpy().tolist() == [-1.0, -2.0, 0.0, 3.0]
    for dtype, marks in (("float32", {"conjugated": True}), ("bool", {"negated": True})):
        assert strided_tensor(of, dtype, 0, (2,), (1,), **marks).fault is not None


def test_bools_are_zeros_and_ones() -> None:
    of = Storage(4, lambda: np.array([0, 1, 2, 255], np.uint8))
    found = strided_tensor(of, "bool", 0, (4,), (1,))
    assert found.numpy().view(np.uint8).tolist() == [0, 1, 1, 1]
    assert b"".join(block.tobytes() for block in found.blocks()) == b"\0\1\1\1"


def test_a_contiguous_tensor_is_one_view_of_its_storage() -> None:
    of = storage()
    found = strided_tensor(of, "float32", 4, (7, 8), (8, 1))
    (block,) = found.blocks()
    assert np.shares_memory(block, of.read())
    assert np.shares_memory(found.numpy(), of.read())


def test_large_strided_tensors_come_in_blocks_of_the_limit() -> None:
    numel = 3 * tensors.BLOCK_BYTES // 4
    raw = np.zeros(4 * numel, np.uint8)
    found = strided_tensor(Storage(raw.nbytes, lambda: raw), "float32", 0, (4, numel // 4), (1, 4))
    sizes = [block.nbytes for block in found.blocks()]
    assert max(sizes) <= tensors.BLOCK_BYTES
    assert sum(sizes) == raw.nbytes
    assert len(sizes) < 10


def test_an_unaligned_storage_gives_aligned_arrays() -> None:
    raw = np.zeros(17, np.uint8)[1:]
    array = strided_tensor(Storage(16, lambda: raw), "float32", 0, (4,), (1,)).numpy()
    assert array.flags.aligned


def test_ties_by_storage_place_and_form() -> None:
    of = storage()
    first = strided_tensor(of, "float32", 0, (2, 3), (3, 1))
    assert first.tie == strided_tensor(of, "float32", 0, (2, 3), (3, 1)).tie
    others = [
        strided_tensor(storage(), "float32", 0, (2, 3), (3, 1)),
        strided_tensor(of, "float32", 1, (2, 3), (3, 1)),
        strided_tensor(of, "float32", 0, (3, 2), (2, 1)),
        strided_tensor(of, "float32", 0, (2, 3), (1, 2)),
        strided_tensor(of, "int32", 0, (2, 3), (3, 1)),
        strided_tensor(of, "float32", 0, (2, 3), (3, 1), negated=True),
        broken_tensor("float32", (2, 3), CheckpointError("is broken")),
    ]
    assert first.tie not in [other.tie for other in others]


@pytest.mark.parametrize(
    ("dtype", "shape", "stride"),
    [("bool", (4, 6), (6, 1)), ("float32", (4, 6), (6, 1)), ("float32", (6, 4), (1, 6)), ("bool", (6, 4), (1, 6))],
    ids=str,
)
@pytest.mark.parametrize("first", [0, 1], ids=["aligned", "unaligned"])
def test_tied_tensors_give_one_array_that_is_read_once_while_it_is_used(
    dtype: str, shape: tuple[int, ...], stride: tuple[int, ...], first: int
) -> None:
    """Bools are read when they are taken: a byte of 2 is true to torch. Others are copied if they lie otherwise."""
    raw = np.full(1 + 4 * 24, 2, np.uint8)[first:][: 4 * 24]
    reads: list[int] = []

    def read() -> np.ndarray[Any, Any]:
        reads.append(1)
        return raw

    of = Storage(raw.nbytes, read)
    ties = [strided_tensor(of, dtype, 0, shape, stride).named(str(i)) for i in range(100)]
    arrays = [tensor.numpy() for tensor in ties]
    assert len(reads) == 1
    assert all(array is arrays[0] for array in arrays)
    assert not np.shares_memory(strided_tensor(storage(), "float32", 0, (6, 4), (1, 6)).numpy(), arrays[0])
    del arrays
    assert ties[0].numpy().shape == shape
    assert len(reads) == 2, "the array was kept for nobody"


def test_tensors_that_are_not_tied_give_arrays_of_their_own() -> None:
    of = Storage(16, lambda: np.arange(16, dtype=np.uint8))
    views = [("uint8", (2, 4)), ("uint8", (8,)), ("int8", (2, 4)), ("float32", (2,))]
    arrays = [strided_tensor(of, *view[:1], 0, view[1], contiguous_strides(view[1])).numpy() for view in views]
    assert [(array.dtype.name, array.shape) for array in arrays] == views


def test_a_broken_tensor_is_broken_though_another_is_tied_to_it() -> None:
    first = strided_tensor(storage(), "float32", 0, (2,), (1,))
    kept = first.numpy()
    broken = LazyTensor(first.dtype, first.shape, first.read, first.tie, fault=CheckpointError("is broken"))
    with pytest.raises(CheckpointError, match=r"^is broken$"):
        broken.numpy()
    assert kept is first.numpy()


def test_named_is_the_same_tensor_under_a_name() -> None:
    first = strided_tensor(storage(), "float32", 0, (2,), (1,))
    found = first.named("a.b")
    assert (first.key, found.key, found.tie) == (None, "a.b", first.tie)
    assert found.numpy().tobytes() == first.numpy().tobytes()


def test_a_broken_tensor_stands_there_and_says_why_when_it_is_read() -> None:
    broken = broken_tensor("qint8", (2, 3), CheckpointError("is quantised", remedy="Call dequantize().")).named("q")
    assert (broken.dtype, broken.shape, broken.nbytes) == ("qint8", (2, 3), 0)
    for read in (broken.numpy, lambda: list(broken.blocks())):
        with pytest.raises(CheckpointError) as caught:
            read()
        assert str(caught.value) == "tensor `q`: is quantised\n  Call dequantize()."


def test_a_storage_that_cannot_be_read_breaks_its_tensors() -> None:
    lost = Storage(0, lambda: np.empty(0, np.uint8), fault=CheckpointError("its storage `data/7` is missing"))
    found = strided_tensor(lost, "float32", 0, (0,), (1,)).named("w")
    with pytest.raises(CheckpointError) as caught:
        found.numpy()
    assert str(caught.value) == "tensor `w`: its storage `data/7` is missing"


def test_lazy_tensors_are_compared_by_identity() -> None:
    first = strided_tensor(storage(), "float32", 0, (2,), (1,))
    assert first != first.named("a")
    assert isinstance(first, LazyTensor)


def test_a_stride_that_no_second_element_is_reached_by_may_have_63_bits() -> None:
    found = strided_tensor(storage(), "float32", 1, (1, 2), ((1 << 63) - 1, 1))
    assert found.numpy().shape == (1, 2)
    assert np.concatenate(list(found.blocks())).tolist() == found.numpy().ravel().tolist()


@pytest.mark.parametrize("shape", [(1 << 61, 0), (1 << 62, 0), (0, 1 << 30, 1 << 31)])
def test_sizes_that_numpy_cannot_hold_are_a_fault_even_without_elements(shape: tuple[int, ...]) -> None:
    found = strided_tensor(storage(), "float32", 0, shape, (1,) * len(shape))
    with pytest.raises(CheckpointError, match="expected sizes that make less than 2\\*\\*63 bytes"):
        found.numpy()


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63), 10**2400, -(10**2400)])
def test_numbers_beyond_63_bits_are_a_short_fault(number: int) -> None:
    for offset, shape, stride in ((number, (2,), (1,)), (0, (number,), (1,)), (0, (2,), (number,))):
        assert str(strided_tensor(storage(), "float32", offset, shape, stride).fault) == (
            "expected an offset, sizes and strides of at most 63 bits, found a larger one"
        )


def test_says_what_it_is_without_being_read() -> None:
    tensor = sealed("bfloat16", (64, 3))
    assert repr(tensor) == "<LazyTensor bfloat16 (64, 3), 384 B>"
    assert repr(tensor.named("a.b")) == "<LazyTensor 'a.b': bfloat16 (64, 3), 384 B>"
    assert repr(tensor.named("x" * 1000)) == f"<LazyTensor '{'x' * 76}...: bfloat16 (64, 3), 384 B>"
    assert repr(faulty().named("\x1b[31m")) == r"<LazyTensor '\x1b[31m': float32 (2,), unreadable>"
