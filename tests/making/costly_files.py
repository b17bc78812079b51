"""Files whose container costs more than its bytes: zip, tar, safetensors, indexes of shards.

Each function takes `n` and returns a file whose size is proportional to it, or a folder of files of which the first
is the one to open.
"""

from __future__ import annotations

import json
import struct
import tarfile

from making.checkpoints import (
    EXPORTED_TENSOR,
    EXPORTED_WEIGHT,
    exported,
    safetensors,
    tar_checkpoint,
    torch_members,
    zip_checkpoint,
)
from making.costly_pickles import DEFLATED, again, kept
from making.pickles import Code, code, name, pickled, tensor
from making.values import FLOATS
from making.zips import Member, zip_archive, zip_end

# ------------------------------------------------------------------------------------- zip


def more_members(members: list[Member]) -> bytes:
    """Write a checkpoint of one tensor with other members behind its own."""
    return zip_archive([*torch_members(), *members], alignment=1)


def empty_members(n: int) -> bytes:
    """Write members with nothing in them."""
    return more_members([Member(f"archive/{i}", flags=0) for i in range(n)])


def long_member_names(n: int) -> bytes:
    """Write members with names of 60,000 characters, all of them folders."""
    return more_members([Member(f"archive/{i}" + "/a" * 30_000, flags=0) for i in range(n)])


def doubtful_members(n: int) -> bytes:
    """Write members with data descriptors, which have four forms."""
    return more_members([Member(f"archive/{i}") for i in range(n)])


def extra_fields(n: int) -> bytes:
    """Write directory entries of 65,532 bytes of empty extra fields, before that of zip64."""
    extra = b"\x02\0\0\0" * 16_380
    name_, count = b"archive/%05d", n
    out, directory = bytearray(), bytearray()
    for member in torch_members():
        directory += member.central_header(len(out))
        out += member.local_header(len(out)) + member.body + member.descriptor()
    for i in range(count):
        called = name_ % i
        fields = extra + struct.pack("<2HQ", 1, 8, 0)
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 0, 0, 0, 0, 0, 0, 0, 0, 0xFFFFFFFF, len(called), len(fields), 0, 0, 0, 0, len(out)
        ) + called + fields  # fmt: skip
        out += struct.pack("<4s5H3I2H", b"PK\3\4", 0, 0, 0, 0, 0, 0, 0, 0, len(called), 0) + called
    return bytes(out + directory) + zip_end(len(out), len(directory), count + 7)


def deflated_storage(n: int) -> bytes:
    """Deflate a storage of zeros to a thousandth."""
    size = 1024 * n
    tree = pickled({"w": tensor(_keyed("0", size // 4), size=(size // 4,))})
    return zip_checkpoint(tree, {"0": bytes(size)}, change={"data/0": {"method": 8}})


def deflated_storages(n: int) -> bytes:
    """Deflate `n` storages of a megabyte."""
    tree = pickled({f"w{i}": tensor(_keyed(str(i), 1 << 18), size=(1 << 18,)) for i in range(n)})
    storages = {str(i): bytes(1 << 20) for i in range(n)}
    return zip_checkpoint(tree, storages, change={f"data/{i}": {"method": 8} for i in range(n)})


def _keyed(key: str, numel: int) -> Code:
    return Code(code(("storage", name("torch", "FloatStorage"), key, "cpu", numel)) + b"Q")


# ------------------------------------------------------------------------------------- exported programs


def exported_weights(n: int, key: str = "w{}", **change: object) -> bytes:
    """Describe `n` weights over one member."""
    weight = EXPORTED_WEIGHT | {"tensor_meta": EXPORTED_TENSOR | change}
    return exported(json.dumps({"config": {key.format(i): weight for i in range(n)}}).encode())


def exported_broken(n: int) -> bytes:
    """Describe `n` weights of an unknown dtype."""
    return exported_weights(n, dtype=99)


def exported_huge(n: int) -> bytes:
    """Describe `n` weights with sizes of 4,000 digits."""
    return exported_weights(n, sizes=[{"as_int": 10**4000}] * 2, strides=[{"as_int": 1}] * 2)


def exported_deflated(n: int) -> bytes:
    """Describe `n` weights, deflated."""
    weight = EXPORTED_WEIGHT | {"tensor_meta": EXPORTED_TENSOR}
    return _exported_deflated(json.dumps({"config": {f"w{i}": weight for i in range(n)}}).encode())


def exported_deflated_lists(n: int) -> bytes:
    """Deflate a configuration of empty lists."""
    return _exported_deflated(b'{"config":{},"x":[' + b"[]," * (64 * n) + b"0]}")


def _exported_deflated(config: bytes) -> bytes:
    contents = {"archive_format": b"pt2", "byteorder": b"little", "data/weights/weight_0": FLOATS}
    described = Member("m/data/weights/model_weights_config.json", config, method=8)
    return zip_archive([*(Member(f"m/{path}", data) for path, data in contents.items()), described])


def exported_programs(n: int) -> bytes:
    """Write `n` descriptions of one weight: programs of one archive."""
    weight = EXPORTED_WEIGHT | {"tensor_meta": EXPORTED_TENSOR}
    config = json.dumps({"config": {"w": weight}}).encode()
    return exported(config, tuple(Member(f"m/data/weights/m{i}_weights_config.json", config) for i in range(n)))


# ------------------------------------------------------------------------------------- safetensors


def safetensors_keys(n: int) -> bytes:
    """Describe `n` empty tensors."""
    return safetensors({f"{i}": ("U8", [0], 0, 0) for i in range(n)} | {"w": ("F32", [4], 0, 16)})


def safetensors_long_keys(n: int) -> bytes:
    """Describe tensors with keys of 4,000 characters."""
    return safetensors({f"{i:x<4000}": ("U8", [0], 0, 0) for i in range(n)} | {"w": ("F32", [4], 0, 16)})


def safetensors_json(item: bytes, n: int) -> bytes:
    """Repeat an item in a list that should not be in the header."""
    return safetensors(header=b'{"x":[' + item * n + b'0],"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}')


def safetensors_lists(n: int) -> bytes:
    """Empty lists."""
    return safetensors_json(b"[],", n)


def safetensors_dicts(n: int) -> bytes:
    """Dicts of one key."""
    return safetensors_json(b'{"":0},', n)


def safetensors_numbers(n: int) -> bytes:
    """Numbers of 300 digits."""
    return safetensors_json(b"9" * 300 + b",", n)


def safetensors_long_number(n: int) -> bytes:
    """One number of `n` digits, with a point."""
    return safetensors_json(b"0." + b"9" * n + b",", 1)


def safetensors_deep(n: int) -> bytes:
    """Lists in lists."""
    return safetensors(header=b'{"x":' + b"[" * n + b"]" * n + b"}")


def safetensors_metadata(n: int) -> bytes:
    """Pairs of `__metadata__`."""
    return safetensors(metadata={f"k{i}": "v" for i in range(n)})


def safetensors_shapes(n: int) -> bytes:
    """Empty tensors of rank 64, whose sizes have 19 digits."""
    return safetensors(
        {f"t{i}": ("U8", [0] + [(1 << 63) - 1] * 63, 0, 0) for i in range(n)} | {"w": ("F32", [4], 0, 16)}
    )


# ------------------------------------------------------------------------------------- shards

Folder = dict[str, bytes]


def spelt_shard(n: int) -> Folder:
    """Spell one shard `n` ways (the issue's row)."""
    shard = safetensors({f"k{i}": ("U8", [0], 0, 0) for i in range(n)} | {"w": ("F32", [4], 0, 16)})
    names = {f"k{i}": f"{i:b}".replace("0", "./").replace("1", ".//") + "s.safetensors" for i in range(n)}
    index = json.dumps({"weight_map": names | {"w": "s.safetensors"}}).encode()
    return {"model.index.json": index, "s.safetensors": shard}


def many_shards(n: int) -> Folder:
    """Spread `n` tensors over `n` shards."""
    shards = {f"s{i}.safetensors": safetensors({f"k{i}": ("F32", [4], 0, 16)}) for i in range(n)}
    index = {"weight_map": {f"k{i}": f"s{i}.safetensors" for i in range(n)}}
    return {"model.index.json": json.dumps(index).encode(), **shards}


def costly_shards(n: int) -> Folder:
    """Give each of `n` shards all that one file may cost: a deflated pickle that repeats one call."""
    calls = Code(kept(name("mynet", "Thing"), ()) + (again(0, 1) + b"R0") * 100_000 + tensor())
    shard = zip_checkpoint(pickled({"w": calls}), change=DEFLATED)
    index = {"weight_map": {"w": "s0.pt"} | {f"w{i}": f"s{i}.pt" for i in range(1, n)}}
    return {"model.index.json": json.dumps(index).encode(), **{f"s{i}.pt": shard for i in range(n)}}


def index_of_keys(n: int) -> Folder:
    """List tensors that are not in the shard."""
    index = {"weight_map": {"w": "s.safetensors"} | {f"k{i}": "s.safetensors" for i in range(n)}}
    return {"model.index.json": json.dumps(index).encode(), "s.safetensors": safetensors()}


def index_of_lists(n: int) -> Folder:
    """An index of empty lists beside its shard."""
    index = b'{"weight_map":{"w":"s.safetensors"},"x":[' + b"[]," * n + b"0]}"
    return {"model.index.json": index, "s.safetensors": safetensors()}


# ------------------------------------------------------------------------------------- tar


def tar_of_headers(n: int) -> bytes:
    """Put extended headers before the members."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 18
    return (info.tobuf() + b"18 comment=aaaaaa\n".ljust(512, b"\0")) * n + tar_checkpoint()


def tar_of_storages(n: int) -> bytes:
    """Describe `n` empty storages and `n` tensors."""
    kind, other = name("torch", "FloatStorage"), name("torch", "FloatTensor")
    storages = pickled(n) + b"".join(pickled((i, "cpu", kind)) + bytes(8) for i in range(n)) + pickled([])
    numbers = struct.pack("<i4x1q1qq", 1, 0, 1, 0)
    tensors = pickled(n) + b"".join(pickled((n + i, i, other)) + numbers for i in range(n))
    tree = pickled({f"t{i}": Code(code(str(n + i)) + b"Q") for i in range(n)})
    return tar_checkpoint(tree, storages=storages, tensors=tensors)


def tar_of_views(n: int) -> bytes:
    """Take `n` views of one storage."""
    views = [(i + 2, 1, 0, 1) for i in range(n)]
    storages = pickled(1) + pickled((1, "cpu", name("torch", "FloatStorage"))) + struct.pack("<q", 4) + FLOATS
    return tar_checkpoint(storages=storages + pickled(views), tensors=None)
