"""The table of dtypes: names, sizes and numpy's side of them."""

from __future__ import annotations

import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from wheelweights.dtypes import DTYPES, dtype_name, numpy_dtype, widen
from wheelweights.errors import DtypeError

SPECIFIED = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
    "float8_e8m0fnu",
]  # fmt: skip
ONE_OF_THEM = f"\n  Convert the array to one of: {', '.join(SPECIFIED)}."


def test_has_the_dtypes_of_the_specification() -> None:
    assert list(DTYPES) == SPECIFIED
    assert all(name == dtype.name for name, dtype in DTYPES.items())


@pytest.mark.parametrize("name", SPECIFIED)
def test_sizes_and_names_agree_with_numpy(name: str) -> None:
    dtype = numpy_dtype(name)
    assert dtype.itemsize == DTYPES[name].itemsize
    assert dtype.name == name
    assert dtype.newbyteorder("<") == dtype, "little-endian, on every machine"
    assert dtype_name(dtype) == name
    assert dtype_name(dtype.newbyteorder(">")) == name
    assert dtype_name(np.empty(1, dtype).dtype) == name


@pytest.mark.parametrize(
    ("dtype", "shown"),
    [
        (np.dtype(object), "object"),
        (np.dtype("U3"), "str96"),
        (np.dtype("S3"), "bytes24"),
        (np.dtype("V4"), "void32"),
        (np.dtype("M8[s]"), "datetime64[s]"),
        (np.dtype([("a", "i4")]), "void32"),
        (np.dtype("f4,f4"), "void64"),
        (np.dtype((np.void, 2)), "void16"),
        (np.dtype(ml_dtypes.int4), "int4"),
        (np.dtype(ml_dtypes.float8_e3m4), "float8_e3m4"),
    ],
)
def test_refuses_dtypes_that_a_record_cannot_hold(dtype: np.dtype[Any], shown: str) -> None:
    with pytest.raises(DtypeError) as caught:
        dtype_name(dtype)
    assert str(caught.value) == f"unsupported dtype `{shown}`{ONE_OF_THEM}"


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is float64 here")
def test_refuses_long_double() -> None:
    with pytest.raises(DtypeError, match=f"^unsupported dtype `{np.dtype(np.longdouble).name}`"):
        dtype_name(np.dtype(np.longdouble))


@pytest.mark.parametrize("name", ["float", "", "F32", "<f4", "complex32", "\x1b[2J"])
def test_refuses_unknown_names(name: str) -> None:
    shown = name.replace("\x1b", r"\x1b")
    with pytest.raises(DtypeError) as caught:
        numpy_dtype(name)
    assert str(caught.value) == f"unsupported dtype `{shown}`\n  A record can hold {', '.join(DTYPES)}."


def test_says_what_to_install_and_finds_it_once_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy_dtype.cache_clear()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "ml_dtypes", None)
        with pytest.raises(DtypeError) as caught:
            numpy_dtype("bfloat16")
        assert numpy_dtype("float16") == np.float16
        raw = np.array([0x80, 0x3F], np.uint8)
        assert widen(raw, "bfloat16").tolist() == [1.0]
    assert str(caught.value) == (
        "numpy has no `bfloat16` of its own\n"
        "  Install wheelweights[ml-dtypes], or open with widen=True to get float32 copies (exact)."
    )
    assert numpy_dtype("bfloat16") == ml_dtypes.bfloat16


@pytest.mark.parametrize("name", [name for name, dtype in DTYPES.items() if dtype.numpy is None])
def test_widens_every_code_as_ml_dtypes_does(name: str) -> None:
    itemsize = DTYPES[name].itemsize
    codes = np.arange(1 << (8 * itemsize), dtype=f"<u{itemsize}").view(np.uint8)
    expected = codes.view(numpy_dtype(name)).astype(np.float32)
    found = widen(codes, name)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(expected)
    assert (np.signbit(found) == np.signbit(expected))[numbers].all(), "the sign of zero"


@pytest.mark.parametrize("name", ["bfloat16", "float8_e5m2"])
def test_widens_nothing_to_nothing_and_always_a_copy(name: str) -> None:
    assert widen(np.empty(0, np.uint8), name).shape == (0,)
    raw = np.zeros(4, np.uint8)
    widen(raw, name)[0] = 1
    assert not raw.any()
