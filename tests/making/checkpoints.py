"""Checkpoints made by hand: writers of every container, none of which needs torch.

Knows how the formats look on disk and how to bend one field of them; knows nothing of the readers. Every writer makes
a well-formed file, and one argument makes one deviation. The content is `FLOATS` in a storage called "0" unless a test
brings its own.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from making.pickles import Code, call, code, legacy_storage, name, ordered_dict, pickled, python2, state_dict, tensor
from making.values import FLOATS
from making.zips import Member, zip_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# ------------------------------------------------------------------------------------- zip


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
    """Pickle the state_dict of a legacy stream: these tensors, or one tensor `w` if none are given."""
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
    """Write the stream of torch < 1.6. `numels` are false sizes of storages, `keys` a false list of them."""
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
    """Write the tar of torch 0.1; `extra` members come first, as in an attack that hopes to be read instead."""
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


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {  # of pickles
    "zip": zip_checkpoint,
    "legacy": legacy_checkpoint,
    "tar": tar_checkpoint,
}


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

    `header` is raw JSON to write instead, `length` a false length of the header.
    """
    entries = {"w": ("F32", [4], 0, 16)} if tensors is None else tensors
    described: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    for key, (dtype, shape, begin, end) in entries.items():
        described[key] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(described).encode() if header is None else header
    raw += b" " * (-len(raw) % 8) if header is None else b""
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data
