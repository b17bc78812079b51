"""The dtypes of checkpoints: one table, with the names that torch, its storages and safetensors give them.

What a record calls a dtype and can hold of it is in `wheelweights.dtypes`; the names there are torch's, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from hatch_wheelweights.checkpoint.nodes import Global, described
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import DTYPES
from wheelweights.errors import backticked

__all__ = [
    "NAMES_OF_TORCH",
    "STORAGES",
    "StoredDtype",
    "from_number",
    "from_safetensors",
    "from_storage_class",
    "from_torch",
    "itemsize_of",
    "quantised",
    "to_safetensors",
    "unsupported",
]


@dataclass(frozen=True, slots=True)
class StoredDtype:
    """One dtype: its name, which is torch's where torch has it, and what checkpoints call it.

    `storage` is torch's storage class (torch/__init__.py; TorchScript names one for every dtype), `number` its
    ScalarType in exported programs (torch/_export/serde/schema.py), `safetensors` its name there. `bits` are those of
    an element.
    """

    name: str
    storage: str | None = None
    number: int | None = None
    safetensors: str | None = None
    unheld_bits: int = 0  # where a record cannot hold it

    @property
    def bits(self) -> int:
        """The bits of an element."""
        return DTYPES[self.name].itemsize * 8 if self.name in DTYPES else self.unheld_bits


TABLE: Final = (
    StoredDtype("bool", "BoolStorage", 12, "BOOL"),
    StoredDtype("uint8", "ByteStorage", 1, "U8"),
    StoredDtype("uint16", "UInt16Storage", 28, "U16"),
    StoredDtype("uint32", "UInt32Storage", 34, "U32"),
    StoredDtype("uint64", "UInt64Storage", 35, "U64"),
    StoredDtype("int8", "CharStorage", 2, "I8"),
    StoredDtype("int16", "ShortStorage", 3, "I16"),
    StoredDtype("int32", "IntStorage", 4, "I32"),
    StoredDtype("int64", "LongStorage", 5, "I64"),
    StoredDtype("float16", "HalfStorage", 6, "F16"),
    StoredDtype("bfloat16", "BFloat16Storage", 13, "BF16"),
    StoredDtype("float32", "FloatStorage", 7, "F32"),
    StoredDtype("float64", "DoubleStorage", 8, "F64"),
    StoredDtype("complex64", "ComplexFloatStorage", 10, "C64"),
    StoredDtype("complex128", "ComplexDoubleStorage", 11),
    StoredDtype("float8_e4m3fn", "Float8_e4m3fnStorage", 29, "F8_E4M3"),
    StoredDtype("float8_e4m3fnuz", "Float8_e4m3fnuzStorage", 31, "F8_E4M3FNUZ"),
    StoredDtype("float8_e5m2", "Float8_e5m2Storage", 30, "F8_E5M2"),
    StoredDtype("float8_e5m2fnuz", "Float8_e5m2fnuzStorage", 32, "F8_E5M2FNUZ"),
    StoredDtype("float8_e8m0fnu", "Float8_e8m0fnuStorage", 33, "F8_E8M0"),
    # What a record cannot hold
    StoredDtype("complex32", "ComplexHalfStorage", 9, unheld_bits=32),
    StoredDtype("qint8", "QInt8Storage", unheld_bits=8),
    StoredDtype("quint8", "QUInt8Storage", unheld_bits=8),
    StoredDtype("qint32", "QInt32Storage", unheld_bits=32),
    StoredDtype("quint4x2", "QUInt4x2Storage", unheld_bits=8),  # two values in a byte are one element
    StoredDtype("quint2x4", "QUInt2x4Storage", unheld_bits=8),
    StoredDtype("F4", safetensors="F4", unheld_bits=4),
    StoredDtype("F6_E2M3", safetensors="F6_E2M3", unheld_bits=6),
    StoredDtype("F6_E3M2", safetensors="F6_E3M2", unheld_bits=6),
)

STORAGES: Final = tuple(row.storage for row in TABLE if row.storage)
NAMES_OF_TORCH: Final = tuple(row.name for row in TABLE if row.name.islower())

_BY_NAME: Final = {row.name: row for row in TABLE}
_BY_STORAGE: Final = {row.storage: row for row in TABLE if row.storage}
_BY_NUMBER: Final = {row.number: row for row in TABLE if row.number}
_BY_SAFETENSORS: Final = {row.safetensors: row for row in TABLE if row.safetensors}


def itemsize_of(name: str) -> int:
    """Return the bytes of an element of a storage."""
    return _BY_NAME[name].bits // 8


def from_storage_class(kind: Any) -> str:
    """Return the dtype of a storage class that a pickle names: `uint8` for an untyped one.

    Raises CheckpointError for anything else.
    """
    if isinstance(kind, Global):
        if (kind.module, kind.name) == ("torch.storage", "UntypedStorage"):
            return "uint8"
        if kind.module in ("torch", "torch.cuda") and kind.name in _BY_STORAGE:
            return _BY_STORAGE[kind.name].name
    found = backticked(kind) if isinstance(kind, str) else described(kind)
    raise CheckpointError(f"expected a storage class of torch, found {found}")


def from_torch(dtype: Any) -> str:
    """Return the name of a dtype of torch that a pickle names; raise CheckpointError for anything else."""
    if isinstance(dtype, Global) and dtype.module == "torch":
        return dtype.name
    raise CheckpointError("expected a dtype of torch, found something else")


def from_number(number: Any) -> str:
    """Return the dtype that an exported program numbers; for an unknown number, a name that says it."""
    return _BY_NUMBER[number].name if number in _BY_NUMBER else f"ScalarType {number}"


def from_safetensors(name: str) -> StoredDtype | None:
    """Return the dtype that safetensors calls this, or None."""
    return _BY_SAFETENSORS.get(name)


def to_safetensors(name: str) -> str | None:
    """Return what safetensors calls a dtype, or None for one that it lacks."""
    return _BY_NAME[name].safetensors


def quantised() -> CheckpointError:
    """Return the error of a quantised tensor: its scale and its zero point have no place in a record."""
    return CheckpointError(
        "is quantised, which a record cannot hold",
        remedy="Save tensor.dequantize() in torch "
        "(or tensor.int_repr(), with its scale and zero point as tensors of their own).",
    )


def unsupported(name: str) -> CheckpointError:
    """Return the error of a tensor whose dtype a record cannot hold."""
    if name.startswith(("qint", "quint")):
        return quantised()
    return CheckpointError(
        f"unsupported dtype {backticked(name)}",
        found=name,
        details=[f"A record can hold {', '.join(DTYPES)}."],
        remedy=_REMEDIES.get(name) or (_AS_BYTES if _IN_BYTES.fullmatch(name) else "Save it with one of these dtypes."),
    )


_REMEDIES: Final = {"complex32": "Save tensor.to(torch.complex64) in torch."}
_AS_BYTES: Final = "Save its bytes in torch: tensor.view(torch.uint8)."
# torch cannot cast these, but it can show their bytes; safetensors calls float4_e2m1fn_x2 F4
_IN_BYTES: Final = re.compile(r"bits[0-9x]+|u?int[1-7]|float4_e2m1fn_x2|F4")
