"""The table of dtypes: one row for each, no name twice, and nothing that a record can hold left out."""

from __future__ import annotations

from typing import Any

import pytest

from hatch_wheelweights.checkpoint import Global, dtypes
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import DTYPES

UNHELD = {"complex32", "qint8", "quint8", "qint32", "quint4x2", "quint2x4", "F4", "F6_E2M3", "F6_E3M2"}


@pytest.mark.parametrize("column", ["name", "storage", "number", "safetensors"])
def test_no_name_stands_for_two_dtypes(column: str) -> None:
    names = [getattr(row, column) for row in dtypes.TABLE if getattr(row, column) is not None]
    assert len(names) == len(set(names))


def test_the_table_has_what_a_record_can_hold_and_some_that_it_cannot() -> None:
    assert {row.name for row in dtypes.TABLE} == DTYPES.keys() | UNHELD
    assert not DTYPES.keys() & UNHELD


@pytest.mark.parametrize("row", dtypes.TABLE, ids=lambda row: row.name)
def test_an_element_has_bits(row: dtypes.StoredDtype) -> None:
    assert row.bits > 0
    assert (row.unheld_bits == 0) == (row.name in DTYPES)
    if row.name in DTYPES:
        assert row.bits == 8 * DTYPES[row.name].itemsize == 8 * dtypes.itemsize_of(row.name)


@pytest.mark.parametrize(
    ("module", "name", "dtype"),
    [
        ("torch", "FloatStorage", "float32"),
        ("torch.cuda", "HalfStorage", "float16"),
        ("torch", "QInt8Storage", "qint8"),
        ("torch", "UInt16Storage", "uint16"),
        ("torch", "Float8_e4m3fnStorage", "float8_e4m3fn"),
        ("torch.storage", "UntypedStorage", "uint8"),
    ],
)
def test_a_storage_class_has_a_dtype(module: str, name: str, dtype: str) -> None:
    assert dtypes.from_storage_class(Global(module, name)) == dtype


@pytest.mark.parametrize(
    "kind",
    [Global("torch", "Storage"), Global("os", "FloatStorage"), Global("torch", "UntypedStorage"), "FloatStorage"],
)
def test_what_is_no_storage_class_is_refused(kind: Any) -> None:
    with pytest.raises(CheckpointError, match="expected a storage class of torch, found `"):
        dtypes.from_storage_class(kind)


def test_the_other_names_have_dtypes() -> None:
    assert dtypes.from_torch(Global("torch", "bfloat16")) == "bfloat16"
    assert [dtypes.from_number(number) for number in (7, 13, 9, 0, 99)] == [
        "float32", "bfloat16", "complex32", "ScalarType 0", "ScalarType 99",
    ]  # fmt: skip
    eight = dtypes.from_safetensors("F8_E4M3")
    assert eight is not None
    assert (eight.name, eight.bits) == ("float8_e4m3fn", 8)
    assert dtypes.from_safetensors("F128") is None
    with pytest.raises(CheckpointError, match="expected a dtype of torch"):
        dtypes.from_torch("float32")


HELD = f"A record can hold {', '.join(DTYPES)}."
INT_REPR = "tensor.int_repr(), with its scale and zero point as tensors of their own"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("complex32", ["unsupported dtype `complex32`", HELD, "Save tensor.to(torch.complex64) in torch."]),
        (
            "float4_e2m1fn_x2",
            ["unsupported dtype `float4_e2m1fn_x2`", HELD, "Save its bytes in torch: tensor.view(torch.uint8)."],
        ),
        ("F4", ["unsupported dtype `F4`", HELD, "Save its bytes in torch: tensor.view(torch.uint8)."]),
        ("bits1x8", ["unsupported dtype `bits1x8`", HELD, "Save its bytes in torch: tensor.view(torch.uint8)."]),
        ("uint4", ["unsupported dtype `uint4`", HELD, "Save its bytes in torch: tensor.view(torch.uint8)."]),
        ("F6_E2M3", ["unsupported dtype `F6_E2M3`", HELD, "Save it with one of these dtypes."]),
        (
            "quint8",
            [
                "is quantised, which a record cannot hold",
                f"Save tensor.dequantize() in torch (or {INT_REPR}).",
            ],
        ),
    ],
)
def test_says_what_to_do_about_a_dtype_that_a_record_cannot_hold(name: str, lines: list[str]) -> None:
    assert str(dtypes.unsupported(name)) == "\n  ".join(lines)
