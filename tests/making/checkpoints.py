"""Checkpoints made by hand: a pickle assembler and writers of every container, none of which needs torch.

Knows how the formats look on disk and how one field of them is bent; knows nothing of the readers. Every writer makes
a well-formed file, and one argument makes one deviation. `FLOATS`, four float32 in a storage called "0", is the content
unless a test brings its own.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

VALUES = (1.0, 2.0, 3.0, 4.0)
FLOATS = struct.pack("<4f", *VALUES)

# ------------------------------------------------------------------------------------- pickle


class Code(bytes):
    """Opcodes that leave one object on the stack."""

    __slots__ = ()


def code(value: object) -> Code:
    """Assemble a plain value with protocol 2 opcodes (bytes need 3); what is assembled already stays as it is."""
    match value:
        case Code():
            return value
        case None | True | False:
            return Code({None: b"N", True: b"\x88", False: b"\x89"}[value])
        case int():
            return _integer(value)
        case float():
            return Code(b"G" + struct.pack(">d", value))
        case str():
            return Code(b"X" + struct.pack("<I", len(value.encode())) + value.encode())
        case bytes():
            return Code(b"B" + struct.pack("<I", len(value)) + value)
        case tuple():
            return Code(b"(" + b"".join(map(code, value)) + b"t")
        case list():
            return Code(b"](" + b"".join(map(code, value)) + b"e")
        case dict():
            return Code(b"}(" + b"".join(code(key) + code(item) for key, item in value.items()) + b"u")
    raise TypeError(value)


def _integer(value: int) -> Code:
    if 0 <= value < 256:
        return Code(b"K" + bytes([value]))
    if -(1 << 31) <= value < 1 << 31:
        return Code(b"J" + struct.pack("<i", value))
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return Code(b"\x8a" + bytes([len(raw)]) + raw)


def python2(text: str) -> Code:
    """Assemble a `str` as Python 2 pickled it."""
    return Code(b"U" + bytes([len(text)]) + text.encode())


def name(module: str, qualname: str) -> Code:
    """Push a class or function by its name."""
    return Code(f"c{module}\n{qualname}\n".encode())


def stack_name(module: str, qualname: str) -> Code:
    """Push a class or function by its name, as protocol 4 does."""
    return Code(b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, qualname)) + b"\x93")


def call(function: bytes, *arguments: object) -> Code:
    """Call with REDUCE."""
    return Code(function + code(arguments) + b"R")


def build(thing: bytes, state: object) -> Code:
    """Give a state with BUILD."""
    return Code(thing + code(state) + b"b")


def put(thing: bytes, index: int) -> Code:
    """Remember the object in the memo."""
    return Code(thing + b"r" + struct.pack("<I", index))


def get(index: int) -> Code:
    """Push what stands in the memo."""
    return Code(b"j" + struct.pack("<I", index))


def ordered_dict(items: Mapping[Any, Any] | None = None) -> Code:
    """Make a `collections.OrderedDict`, as a state_dict is."""
    pairs = b"".join(code(key) + code(value) for key, value in (items or {}).items())
    return Code(call(name("collections", "OrderedDict")) + (b"(" + pairs + b"u" if pairs else b""))


def persistent(*pid: object) -> Code:
    """Push a persistent id."""
    return Code(code(pid) + b"Q")


def storage(
    key: object = "0", numel: object = 4, kind: str = "FloatStorage", location: object = "cpu", module: str = "torch"
) -> Code:
    """Name a storage of a zip archive."""
    return persistent("storage", name(module, kind), key, location, numel)


def legacy_storage(
    key: str = "0",
    numel: object = 4,
    kind: str = "FloatStorage",
    view: object = None,
    say: Callable[[str], Code] = code,
) -> Code:
    """Name a storage of a legacy stream, or a view `(key, offset, numel)`; `say=python2` says it as Python 2 did."""
    return persistent(say("storage"), name("torch", kind), say(key), say("cpu"), numel, view)


def tensor(
    of: bytes | None = None, *, offset: object = 0, size: object = (4,), stride: object = (1,), metadata: object = None
) -> Code:
    """Rebuild a tensor over a storage."""
    more = () if metadata is None else (metadata,)
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, storage() if of is None else Code(of), offset, size, stride, False, ordered_dict(), *more)


def pickled(value: object, protocol: int = 2) -> bytes:
    """Close a pickle: PROTO, the value, STOP."""
    return (bytes([0x80, protocol]) if protocol >= 2 else b"") + code(value) + b"."


def state_dict(**tensors: object) -> bytes:
    """Pickle a state_dict: that of one tensor `w`, unless others are given."""
    return pickled(ordered_dict(tensors or {"w": tensor()}))


def beside(thing: bytes) -> bytes:
    """Pickle a state_dict that holds something else beside its one tensor."""
    return pickled({"w": tensor(), "x": Code(thing)})


# ------------------------------------------------------------------------------------- zip


@dataclass(frozen=True)
class Member:
    """An entry of a zip archive as torch writes it.

    `local` holds what the local header alone says, `offset` where the directory says it is.
    """

    name: str
    data: bytes = b""
    flags: int = 0x0808
    method: int = 0
    crc: int | None = None
    size: int | None = None
    packed: int | None = None
    offset: int | None = None
    local: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The bytes after the header: the data, deflated if `method` says so."""
        if self.method != 8:
            return self.data
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        return deflate.compress(self.data) + deflate.flush()

    @property
    def claims(self) -> tuple[int, int, int]:
        """The CRC, the packed size and the size that the headers claim."""
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        packed = len(self.body) if self.packed is None else self.packed
        return crc, packed, len(self.data) if self.size is None else self.size

    def local_header(self, at: int = 0, alignment: int = 64) -> bytes:
        """Return the header before the data, padded so that the data of a member at `at` is aligned."""
        said = replace(self, **self.local)
        zeros = bool(said.flags & 8) and not {"crc", "size", "packed"} & self.local.keys()
        claims = (0, 0, 0) if zeros else said.claims
        padding = -(at + 34 + len(said.name.encode())) % alignment
        extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding if alignment > 1 else b""
        encoded = said.name.encode()
        return (
            struct.pack("<4s5H3I2H", b"PK\3\4", 0, said.flags, said.method, 0, 0, *claims, len(encoded), len(extra))
            + encoded
            + extra
        )

    def descriptor(self) -> bytes:
        """Return what follows the data where flag 8 promises it."""
        return (
            struct.pack("<4s3I", b"PK\7\x08", *(min(claim, 0xFFFFFFFF) for claim in self.claims))
            if self.flags & 8
            else b""
        )

    def central_header(self, at: int) -> bytes:
        """Return the entry of the directory; what exceeds 32 bits goes into a zip64 field."""
        crc, packed, size = self.claims
        large = [value for value in (size, packed) if value >= 0xFFFFFFFF]
        extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        sizes = (min(packed, 0xFFFFFFFF), min(size, 0xFFFFFFFF))
        at = at if self.offset is None else self.offset
        encoded = self.name.encode()
        return struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 0, 0, self.flags, self.method, 0, 0, crc, *sizes,
            len(encoded), len(extra), 0, 0, 0, 0, at,
        ) + encoded + extra  # fmt: skip


def zip_archive(
    members: Iterable[Member],
    *,
    prefix: bytes = b"",
    comment: bytes = b"",
    alignment: int = 64,
    count: int | None = None,
) -> bytes:
    """Write a zip archive; offsets count from the start of `prefix`, `count` is a lie about the number of entries."""
    out, directory = bytearray(prefix), bytearray()
    members = list(members)
    for member in members:
        directory += member.central_header(len(out))
        out += member.local_header(len(out), alignment) + member.body + member.descriptor()
    count = len(members) if count is None else count
    return bytes(out + directory) + zip_end(len(out), len(directory), count, comment)


def zip_end(start: int, size: int, count: int, comment: bytes = b"") -> bytes:
    """Return what follows the directory: zip64's record and locator, as torch always writes them, and the plain end."""
    zip64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + size, 1)
    plain = (min(count, 0xFFFF), min(count, 0xFFFF), min(size, 0xFFFFFFFF), min(start, 0xFFFFFFFF))
    return zip64 + locator + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *plain, len(comment)) + comment


def torch_members(
    pickle: bytes | None = None,
    storages: Mapping[str, bytes] | None = None,
    *,
    root: str = "archive",
    byteorder: str = "little",
) -> list[Member]:
    """Return the members that torch.save writes, in its order."""
    contents = {
        "data.pkl": state_dict() if pickle is None else pickle,
        ".format_version": b"1",
        ".storage_alignment": b"64",
        "byteorder": byteorder.encode(),
        **{f"data/{key}": data for key, data in ({"0": FLOATS} if storages is None else storages).items()},
        "version": b"3\n",
        ".data/serialization_id": b"0" * 40,
    }
    return [Member(f"{root}/{path}", data) for path, data in contents.items()]


def zip_checkpoint(
    pickle: bytes | None = None,
    storages: Mapping[str, bytes] | None = None,
    *,
    root: str = "archive",
    byteorder: str = "little",
    change: Mapping[str, Mapping[str, Any]] | None = None,
    extra: Sequence[Member] = (),
    **archive: Any,
) -> bytes:
    """Write a checkpoint as torch.save does; `change={"data/0": {"crc": 1}}` bends members, `extra` comes last."""
    members = torch_members(pickle, storages, root=root, byteorder=byteorder)
    change = change or {}
    bent = [replace(member, **change.get(member.name.removeprefix(f"{root}/"), {})) for member in members]
    return zip_archive([*bent, *extra], **archive)


EXPORTED_WEIGHT = {"path_name": "weight_0", "is_param": True, "use_pickle": False}
EXPORTED_TENSOR = {
    "dtype": 7,
    "sizes": [{"as_int": 4}],
    "strides": [{"as_int": 1}],
    "storage_offset": {"as_int": 0},
    "layout": 7,
    "requires_grad": False,
    "device": {"type": "cpu"},
}


def exported(config: bytes | None = None, extra: tuple[Member, ...] = (), **change: Any) -> bytes:
    """Write a `.pt2` archive of one weight, some of its description replaced."""
    meta = {key: change.pop(key, value) for key, value in EXPORTED_TENSOR.items()}
    weight = EXPORTED_WEIGHT | {"tensor_meta": meta} | change
    described = json.dumps({"config": {"w": weight}}).encode() if config is None else config
    contents = {
        "archive_format": b"pt2",
        "byteorder": b"little",
        "data/weights/weight_0": FLOATS,
        "data/weights/model_weights_config.json": described,
    }
    return zip_archive([*(Member(f"m/{path}", data) for path, data in contents.items()), *extra])


# ------------------------------------------------------------------------------------- legacy and tar

LEGACY_MAGIC = pickled(0x1950A86A20F9469CFC6C)


def legacy_state_dict(**tensors: object) -> bytes:
    """Pickle the state_dict of a legacy stream: that of one tensor `w`, unless others are given."""
    return state_dict(**(tensors or {"w": tensor(legacy_storage())}))


def legacy_checkpoint(
    pickle: bytes | None = None,
    storages: Mapping[str, bytes] | None = None,
    *,
    magic: bytes = LEGACY_MAGIC,
    version: int = 1001,
    little_endian: object = True,
    keys: object = None,
    numels: Mapping[str, int] | None = None,
    itemsize: int = 4,
) -> bytes:
    """Write the stream of torch < 1.6. `numels` lies about storages, `keys` about which there are."""
    storages = {"0": FLOATS} if storages is None else storages
    numels = {key: len(data) // itemsize for key, data in storages.items()} | dict(numels or {})
    info = {"protocol_version": 1001, "little_endian": little_endian, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = magic + pickled(version) + pickled(info) + (legacy_state_dict() if pickle is None else pickle)
    listed = pickled(list(storages) if keys is None else keys)
    return head + listed + b"".join(struct.pack("<q", numels[key]) + data for key, data in storages.items())


def python2_checkpoint() -> bytes:
    """Write a legacy stream as Python 2 did: byte strings, LONG1 counts, an OrderedDict made from a list of lists."""
    numel = Code(b"\x8a\x01\x04")
    weight = tensor(legacy_storage(numel=numel, say=python2))
    items = call(name("collections", "OrderedDict"), [[python2("w"), weight]])
    info = {python2("protocol_version"): 1001, python2("little_endian"): True}
    return (
        LEGACY_MAGIC
        + pickled(1001)
        + pickled(info)
        + pickled(items)
        + pickled([python2("0")])
        + struct.pack("<q", 4)
        + FLOATS
    )


def tar_storages(
    *,
    key: object = 1,
    kind: str = "FloatStorage",
    numel: int = 4,
    data: bytes = FLOATS,
    count: int = 1,
    views: Sequence[Sequence[object]] = (),
) -> bytes:
    """Write the member `storages` of a tar checkpoint: one storage and its views `(key, root key, offset, numel)`."""
    return (
        pickled(count)
        + pickled((key, "cpu", name("torch", kind)))
        + struct.pack("<q", numel)
        + data
        + pickled([tuple(view) for view in views])
    )


def tar_tensors(
    *,
    key: object = 2,
    of: object = 1,
    size: Sequence[int] = (4,),
    stride: Sequence[int] = (1,),
    offset: int = 0,
    ndim: int | None = None,
) -> bytes:
    """Write the member `tensors` of a tar checkpoint: one tensor."""
    ndim = len(size) if ndim is None else ndim
    numbers = struct.pack(f"<i4x{len(size)}q{len(stride)}qq", ndim, *size, *stride, offset)
    return pickled(1) + pickled((key, of, name("torch", "FloatTensor"))) + numbers


def tar_checkpoint(
    pickle: bytes | None = None,
    *,
    storages: bytes | None = None,
    tensors: bytes | None = None,
    extra: Sequence[tuple[tarfile.TarInfo, bytes]] = (),
    without: str = "",
) -> bytes:
    """Write the tar of torch 0.1; `extra` members come first, as those of an attack that hopes to be read instead."""
    contents = {
        "sys_info": pickled({"protocol_version": 1000, "little_endian": True}),
        "storages": tar_storages() if storages is None else storages,
        "tensors": tar_tensors() if tensors is None else tensors,
        "pickle": pickled(ordered_dict({"w": Code(code("2") + b"Q")})) if pickle is None else pickle,
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in extra:
            tar.addfile(info, io.BytesIO(data))
        for path, data in contents.items():
            if path != without:
                info = tarfile.TarInfo(path)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


CONTAINERS = {"zip": zip_checkpoint, "legacy": legacy_checkpoint, "tar": tar_checkpoint}  # of pickles


# ------------------------------------------------------------------------------------- safetensors


def safetensors(
    tensors: Mapping[str, tuple[object, object, object, object]] | None = None,
    data: bytes = FLOATS,
    *,
    header: bytes | None = None,
    length: int | None = None,
    metadata: object = None,
) -> bytes:
    """Write a safetensors file; a tensor is `(dtype, shape, begin, end)`.

    `header` is raw JSON instead of theirs, `length` a lie about its length.
    """
    entries = {"w": ("F32", [4], 0, 16)} if tensors is None else tensors
    described: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    for key, (dtype, shape, begin, end) in entries.items():
        described[key] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(described).encode() if header is None else header
    raw += b" " * (-len(raw) % 8) if header is None else b""
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data
