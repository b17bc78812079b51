"""Tensors that lie about their storages: offsets, sizes, strides, dtypes, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from making.checkpoints import zip_checkpoint
from making.pickles import Code, call, code, name, ordered_dict, persistent, state_dict, storage, tensor
from making.values import FLOATS, VALUES

if TYPE_CHECKING:
    from looking.opening import Refused


GREAT = 1 << 62


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(tensor(offset=1), id="offset past the end by one element"),
        pytest.param(tensor(offset=2), id="oob_offset"),
        pytest.param(tensor(size=(5,)), id="size past the end by one element"),
        pytest.param(tensor(size=(2, 2), stride=(3, 1)), id="stride past the end by one element"),
        pytest.param(tensor(size=(2,), stride=(1000,)), id="oob_stride"),
        pytest.param(tensor(size=(2,), stride=(GREAT,)), id="oob_huge_stride"),
        pytest.param(tensor(size=(5,), stride=(GREAT,)), id="stride that wraps to 0"),
        pytest.param(tensor(size=(3,), stride=((1 << 63) - 1,)), id="stride that wraps to -2"),
        pytest.param(tensor(offset=GREAT), id="offset that wraps"),
        pytest.param(tensor(offset=1 << 64), id="offset that wraps to 0"),
        pytest.param(tensor(size=(-4,)), id="neg_size"),
        pytest.param(tensor(size=(-2, -2), stride=(2, 1)), id="two negative sizes"),
        pytest.param(tensor(offset=-1), id="neg_offset"),
        pytest.param(tensor(offset=3, stride=(-1,)), id="neg_stride"),
        pytest.param(tensor(storage(numel=-4)), id="neg_numel"),
        pytest.param(tensor(storage(numel=10**9)), id="numel_lie_big"),
        pytest.param(tensor(storage(numel=1), size=(1,)), id="numel_lie_small"),
        pytest.param(tensor(storage(numel=3), size=(3,)), id="numel_lie by one"),
        pytest.param(tensor(storage(numel=5), size=(4,)), id="numel_lie the other way by one"),
        pytest.param(tensor(storage(numel=0x4000000000000001), size=(1,)), id="numel_wrap"),
        pytest.param(tensor(storage(numel=0), size=(0,)), id="numel 0 for 16 bytes"),
        pytest.param(tensor(size=(10**7, 10**7), stride=(0, 0)), id="stride0_giant"),
        pytest.param(tensor(size=(1 << 33, 1 << 33), stride=(0, 0)), id="size_overflow"),
        pytest.param(tensor(size=(1 << 32, 1 << 32, 0), stride=(0, 0, 1)), id="size that overflows before it is 0"),
        pytest.param(tensor(size=(1 << 64,), stride=(0,)), id="size over 64 bits"),
        pytest.param(tensor(size=(2, 2), stride=(1,)), id="rank_mismatch"),
        pytest.param(tensor(size=(4,), stride=(1, 1)), id="rank_mismatch the other way"),
        pytest.param(tensor(size=(), stride=(1,)), id="scalar with a stride"),
        pytest.param(tensor(size=(1,) * 65, stride=(1,) * 65), id="rank_65"),
        pytest.param(tensor(size=(1,) * 1000, stride=(1,) * 1000), id="rank_1000"),
        pytest.param(tensor(size=(2,) * 64, stride=(0,) * 64), id="rank 64 of 2"),
        pytest.param(tensor(size=4, stride=1), id="size an int"),
        pytest.param(tensor(size=("4",), stride=("1",)), id="size of text"),
        pytest.param(tensor(size=(4.0,), stride=(1.0,)), id="size of floats"),
        pytest.param(tensor(offset="0"), id="offset text"),
        pytest.param(tensor(offset=None), id="offset None"),
        pytest.param(tensor(storage(numel="4")), id="numel text"),
        pytest.param(tensor(storage(numel=None)), id="numel None"),
        pytest.param(tensor(storage(numel=4.0)), id="numel float"),
        pytest.param(tensor(storage(kind="EvilStorage")), id="unknown_storage"),
        pytest.param(tensor(storage(module="evilmod")), id="storage_other_mod"),
        pytest.param(tensor(storage(kind="Tensor")), id="no storage class"),
        pytest.param(tensor(persistent("storage", "FloatStorage", "0", "cpu", 4)), id="storage class as text"),
        pytest.param(
            tensor(Code(code(["storage", name("torch", "FloatStorage"), "0", "cpu", 4]) + b"Q")), id="pid_list"
        ),
        pytest.param(tensor(Code(code("storage") + b"Q")), id="pid text"),
        pytest.param(tensor(persistent()), id="pid empty"),
        pytest.param(tensor(persistent("storage", name("torch", "FloatStorage"), "0", "cpu")), id="pid of 4"),
        pytest.param(
            tensor(persistent("storage", name("torch", "FloatStorage"), "0", "cpu", 4, None, 1)), id="pid of 7"
        ),
        pytest.param(tensor(persistent("module", name("torch", "FloatStorage"), "0", "cpu", 4)), id="pid of a module"),
        pytest.param(tensor(storage(key="../data.pkl")), id="key_traversal"),
        pytest.param(tensor(storage(key="../../archive/data/0")), id="key_traversal to itself"),
        pytest.param(tensor(storage(key="/etc/passwd")), id="key absolute"),
        pytest.param(tensor(storage(key="")), id="key empty"),
        pytest.param(tensor(storage(key="0\x00")), id="key with NUL"),
        pytest.param(tensor(storage(key="1")), id="key of no member"),
        pytest.param(tensor(storage(key=(0,))), id="key a tuple"),
        pytest.param(tensor(storage(key=None)), id="key None"),
        pytest.param(tensor(code([1.0, 2.0, 3.0, 4.0])), id="list for a storage"),
        pytest.param(tensor(Code(b"N")), id="None for a storage"),
        pytest.param(tensor(tensor()), id="tensor for a storage"),
        pytest.param(call(name("torch._utils", "_rebuild_tensor_v2")), id="no arguments"),
        pytest.param(call(name("torch._utils", "_rebuild_tensor_v2"), storage()), id="one argument"),
        pytest.param(
            call(name("torch._utils", "_rebuild_tensor_v2"), storage(), 0, (4,), (1,), False, ordered_dict(), {}, 1, 2),
            id="too many arguments",
        ),
        pytest.param(Code(name("torch._utils", "_rebuild_tensor_v2") + code([1]) + b"R"), id="arguments a list"),
        pytest.param(call(name("torch._utils", "_rebuild_parameter"), 1, False, ordered_dict()), id="Parameter of 1"),
    ],
)
def test_refuses_a_tensor_that_lies(refused: Refused, attack: Code) -> None:
    refused(zip_checkpoint(state_dict(w=attack)))


@pytest.mark.parametrize("kind", ["LongStorage", "IntStorage", "HalfStorage", "UntypedStorage"])
def test_refuses_one_storage_with_two_dtypes(refused: Refused, kind: str) -> None:
    """Torch refuses to save this."""
    itemsize = {"LongStorage": 8, "IntStorage": 4, "HalfStorage": 2, "UntypedStorage": 1}[kind]
    other = tensor(storage(kind=kind, numel=16 // itemsize), size=(16 // itemsize,))
    refused(zip_checkpoint(state_dict(w=tensor(), x=other)))


def test_refuses_one_storage_with_two_sizes(refused: Refused) -> None:
    refused(zip_checkpoint(state_dict(w=tensor(), x=tensor(storage(numel=2), size=(2,)))))


def test_normalises_or_refuses_bools_that_are_neither_0_nor_1(result: Any) -> None:
    pickle = state_dict(w=tensor(storage(kind="BoolStorage")))
    found = result(zip_checkpoint(pickle, {"0": b"\2\0\1\xff"}))
    if isinstance(found, dict):
        assert found["w"].view(np.uint8).tolist() == [1, 0, 1, 1]


def test_ignores_the_location(opened: Any) -> None:
    for location in ("cuda:0; rm", "cuda:99999999", "meta", "", "\x1b[31m", "privateuseone:0"):
        assert opened(zip_checkpoint(state_dict(w=tensor(storage(location=location)))))["w"].tolist() == list(VALUES)


def test_opens_what_is_just_within_bounds(opened: Any) -> None:
    arrays = opened(
        zip_checkpoint(
            state_dict(
                last=tensor(offset=3, size=(1,)),
                empty=tensor(offset=4, size=(0,)),
                scalar=tensor(offset=2, size=(), stride=()),
                expanded=tensor(offset=1, size=(3, 2), stride=(0, 1)),
                overlapping=tensor(size=(3, 2), stride=(1, 1)),
                transposed=tensor(size=(2, 2), stride=(1, 2)),
                one=tensor(offset=3, size=(1, 1), stride=(1000, 1 << 40)),
                deep=tensor(size=(1,) * 63 + (4,), stride=(1,) * 64),
            )
        )
    )
    assert {key: array.tolist() for key, array in arrays.items() if key != "deep"} == {
        "last": [4.0],
        "empty": [],
        "scalar": 3.0,
        "expanded": [[2.0, 3.0]] * 3,
        "overlapping": [[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]],
        "transposed": [[1.0, 3.0], [2.0, 4.0]],
        "one": [[4.0]],
    }
    assert arrays["deep"].ravel().tolist() == list(VALUES)


PER_TENSOR = (name("torch", "per_tensor_affine"), 0.5, 0)
PER_CHANNEL = name("torch", "per_channel_affine")


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(PER_TENSOR, id="well-formed"),
        pytest.param((PER_CHANNEL, tensor(), tensor(), 7), id="axis past the rank"),
        pytest.param((PER_CHANNEL, tensor(size=(2,)), tensor(), 0), id="too few scales"),
        pytest.param((), id="nothing"),
    ],
)
def test_refuses_quantised_tensors_whatever_their_scales(refused: Refused, parameters: tuple[object, ...]) -> None:
    rebuild = name("torch._utils", "_rebuild_qtensor")
    of = storage("q", kind="QInt8Storage", numel=16)
    attack = call(rebuild, of, 0, (16,), (1,), parameters, False, ordered_dict())
    refused(zip_checkpoint(state_dict(w=attack), {"0": FLOATS, "q": FLOATS}), "`w`")


def test_refuses_sparse_tensors_however_large_they_claim_to_be(refused: Refused) -> None:
    layout = call(name("torch.serialization", "_get_layout"), "torch.sparse_csr")
    data = (tensor(size=(2,)), tensor(size=(1,)), tensor(size=(1,)), call(name("torch", "Size"), (2**40, 2**40)))
    attack = call(name("torch._utils", "_rebuild_sparse_tensor"), layout, data)
    refused(zip_checkpoint(state_dict(w=attack)), "`w`", "to_dense()")


def test_reads_large_tensors_over_a_small_file_only_where_torch_could_have_saved_them(opened: Any) -> None:
    """An expanded tensor of 4 MB over four bytes is what `torch.save(torch.ones(1).expand(1024, 1024))` writes."""
    pickle = state_dict(w=tensor(storage(numel=1), size=(1024, 1024), stride=(0, 0)))
    array = opened(zip_checkpoint(pickle, {"0": FLOATS[:4]}))["w"]
    assert array.shape == (1024, 1024)
    assert (array == 1).all()
