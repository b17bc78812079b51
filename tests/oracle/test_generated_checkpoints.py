"""What torch saves, we read bit for bit: dtypes, views, containers, protocols and byte orders.

Needs torch, and so is no part of the main suite.
"""

from __future__ import annotations

import itertools
import random
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hatch_wheelweights import open_checkpoint  # noqa: E402
from hatch_wheelweights.errors import CheckpointError  # noqa: E402
from making import checkpoints  # noqa: E402
from making.values import VALUES  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")

OLD_DTYPES = [
    "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool",
    "complex64", "complex128",
]  # fmt: skip
NEW_DTYPES = [
    "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
    "float8_e8m0fnu",
]  # fmt: skip

# ------------------------------------------------------------------------------------- values


def filled(dtype: str, *shape: int, seed: int = 0) -> Any:
    """Return a tensor of random bits: NaNs of every kind, infinities and denormals are among them."""
    kind = getattr(torch, dtype)
    count = int(np.prod(shape)) * kind.itemsize
    raw = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, max(count, 1), np.uint8)[:count].copy())
    if dtype == "bool":
        return (raw & 1).bool().reshape(shape)
    return raw.view(kind).reshape(shape)


def bits(value: Any) -> bytes:
    """Return the bytes of a torch tensor's elements in C order, conj and neg applied."""
    plain = value.detach().resolve_conj().resolve_neg()
    flat = torch.empty(plain.numel(), dtype=plain.dtype).copy_(plain.reshape(-1))
    return bytes(flat.view(torch.uint8).numpy())


def assert_same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Compare keys, dtypes, shapes and every bit."""
    assert list(ours) == list(theirs)
    for key, expected in theirs.items():
        found = ours[key]
        assert found.dtype == str(expected.dtype).removeprefix("torch."), key
        assert found.shape == tuple(expected.shape), key
        array = found.numpy()
        assert array.shape == found.shape, key
        assert array.tobytes() == bits(expected), key
        assert found.nbytes == len(bits(expected)), key
        assert b"".join(np.ascontiguousarray(block).tobytes() for block in found.blocks()) == bits(expected), key


def same_ties(ours: Mapping[str, Any], ties: list[set[str]]) -> None:
    """Check which tensors of ours are tied: these and no others."""
    groups: dict[Any, set[str]] = {}
    for key, tensor in ours.items():
        if tensor.tie is not None:
            groups.setdefault(tensor.tie, set()).add(key)
    found = sorted(sorted(group) for group in groups.values() if len(group) > 1)
    assert found == sorted(sorted(group) for group in ties)


# ------------------------------------------------------------------------------------- views

VIEWS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda t: t,
    "transposed": lambda t: t.transpose(0, 3),
    "permuted": lambda t: t.permute(2, 0, 3, 1),
    "sliced": lambda t: t[1:, :, 1:3],
    "stepped": lambda t: t[:, ::2, :, ::3],
    "column": lambda t: t[..., 1],
    "offset": lambda t: t[2],
    "expanded": lambda t: t[:, :1].expand(-1, 5, -1, -1),
    "expanded scalar": lambda t: t[0, 0, 0, 0].expand(3, 4),
    "scalar": lambda t: t[1, 1, 1, 1],
    "empty": lambda t: t[:0],
    "empty in the middle": lambda t: t[:, 1:1],
    "overlapping": lambda t: t.as_strided((4, 4), (1, 2), 3),
    "last element": lambda t: t.as_strided((1,), (1,), t.numel() - 1),
    "huge stride of one": lambda t: t.as_strided((1, 2), (10**9, 1), 0),
    "with a one": lambda t: t[:, None],
    "channels_last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "diagonal": lambda t: t.diagonal(),
    "unfolded": lambda t: t.unfold(3, 2, 1),
    "flat": lambda t: t.reshape(-1),
    "parameter": lambda t: torch.nn.Parameter(t, requires_grad=False),
}


def with_attributes(tensor: Any) -> Any:
    """Give a tensor an attribute: torch saves it through `_rebuild_from_type_v2` or `_rebuild_parameter_with_state`."""
    tensor.note = {"why": [1, 2, 3]}
    return tensor


def state_dicts() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield named state_dicts: every dtype with every view, and what only some dtypes can do."""
    for number, dtype in enumerate(OLD_DTYPES + NEW_DTYPES):
        base = filled(dtype, 3, 4, 5, 6, seed=number)
        views = {}
        for view, make in VIEWS.items():
            try:
                views[view] = make(base)
            except (RuntimeError, NotImplementedError):  # a dtype that torch cannot copy so
                continue
        yield dtype, views


STATE_DICTS = dict(state_dicts())


# ------------------------------------------------------------------------------------- containers


def save_zip(state: object, path: Path, protocol: int) -> None:
    """Save as torch does today."""
    torch.save(state, path, pickle_protocol=protocol)


def save_legacy(state: object, path: Path, protocol: int) -> None:
    """Save as torch < 1.6 did."""
    torch.save(state, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)


def _rezip(path: Path, method: int) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)


def save_deflated(state: object, path: Path, protocol: int) -> None:
    """Save, then compress the members, as users do."""
    save_zip(state, path, protocol)
    _rezip(path, zipfile.ZIP_DEFLATED)


def save_unaligned(state: object, path: Path, protocol: int) -> None:
    """Save, then zip again without alignment."""
    save_zip(state, path, protocol)
    _rezip(path, zipfile.ZIP_STORED)


def save_without_crc(state: object, path: Path, protocol: int) -> None:
    """Save with CRCs off."""
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        save_zip(state, path, protocol)
    finally:
        torch.serialization.set_crc32_options(before)


def save_to_buffer(state: object, path: Path, protocol: int) -> None:
    """Save to a file object, whose root is called `archive`."""
    with path.open("wb") as file:
        torch.save(state, file, pickle_protocol=protocol)


SAVERS = {
    "zip": save_zip,
    "legacy": save_legacy,
    "deflated": save_deflated,
    "unaligned": save_unaligned,
    "crc off": save_without_crc,
    "buffer": save_to_buffer,
}


def read(path: Path) -> dict[str, Any]:
    """Return what we read of a file, copied before it is closed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CRCs that are off are worth a warning
        checkpoint = open_checkpoint(path)
    return dict(checkpoint.state_dict(reindex=False))


def combinations() -> Iterator[Any]:
    """Yield every dtype in every container, protocols in turn."""
    protocols = itertools.cycle([2, 3, 4, 5])
    for (dtype, saver), protocol in zip(itertools.product(STATE_DICTS, SAVERS), protocols, strict=False):
        if saver == "legacy" and dtype in NEW_DTYPES:
            continue  # torch itself cannot load those
        yield pytest.param(dtype, saver, protocol, id=f"{dtype}-{saver}-{protocol}")


@pytest.mark.parametrize(("dtype", "saver", "protocol"), list(combinations()))
def test_reads_every_view_of_every_dtype(tmp_path: Path, dtype: str, saver: str, protocol: int) -> None:
    path = tmp_path / "model.pt"
    SAVERS[saver](STATE_DICTS[dtype], path, protocol)
    assert_same(read(path), STATE_DICTS[dtype])
    assert_same(read(path), torch.load(path, weights_only=protocol < 4))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("saver", SAVERS)
def test_reads_every_protocol_in_every_container(tmp_path: Path, saver: str, protocol: int) -> None:
    state = {f"{dtype}.{view}": views[view] for dtype, views in STATE_DICTS.items() for view in ("whole", "stepped")}
    if saver == "legacy":
        state = {key: value for key, value in state.items() if key.split(".")[0] in OLD_DTYPES}
    SAVERS[saver](state, tmp_path / "model.pt", protocol)
    assert_same(read(tmp_path / "model.pt"), state)


@pytest.mark.parametrize("dtype", OLD_DTYPES + NEW_DTYPES)
def test_reads_big_endian_archives(tmp_path: Path, dtype: str) -> None:
    """Torch saves in the machine's order; a machine of the other order is played by swapping the storages."""
    path = tmp_path / "model.pt"
    state = {"w": filled(dtype, 3, 4, 5, 6), "t": filled(dtype, 6, 5, seed=1).T}
    torch.save(state, path)
    kind = getattr(torch, dtype)
    unit = kind.itemsize // 2 if kind.is_complex else kind.itemsize
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            swapped = np.frombuffer(data, f"<u{unit}").byteswap().tobytes() if "/data/" in name else data
            archive.writestr(name, b"big" if name.endswith("/byteorder") else swapped)
    if dtype in NEW_DTYPES and unit > 1:  # torch does not swap what has no typed storage
        with pytest.raises(CheckpointError, match="torch reads other values than were saved"):
            assert_same(read(path), state)
        return
    assert {key: bits(value) for key, value in torch.load(path).items()} == {k: bits(v) for k, v in state.items()}
    assert_same(read(path), state)


# ------------------------------------------------------------------------------------- other tensors


def special() -> dict[str, Any]:
    """Return tensors with bits, states and attributes."""
    complex_ = filled("complex64", 3, 4)
    return {
        "conj": complex_.conj(),
        "conj transposed": complex_.mH,
        "neg": complex_.conj().imag,
        "neg real": torch._neg_view(filled("float32", 3)),
        "conj double": filled("complex128", 2).conj(),
        "conj and neg": torch._neg_view(complex_.conj()),
        "imag": complex_.imag,
        "real": complex_.real,
        "parameter": torch.nn.Parameter(filled("float32", 4)),
        "parameter without gradient": torch.nn.Parameter(filled("int64", 4), requires_grad=False),
        "parameter with state": with_attributes(torch.nn.Parameter(filled("float32", 4))),
        "tensor with attributes": with_attributes(filled("float32", 4)),
        "transposed with attributes": with_attributes(filled("float32", 4, 3).T),
        "requires grad": torch.ones(3).requires_grad_(),
        "buffer": torch.nn.Buffer(filled("float32", 3)),
        "subclass of parameter": torch.nn.UninitializedParameter.cls_to_become(filled("float32", 2)),
        "view of other dtype": filled("float32", 4).view(torch.int32),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0),
        "empty 2d": torch.empty(3, 0, 2),
        "bool": torch.tensor([True, False]),
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("key", special())
def test_reads_special_tensors(tmp_path: Path, key: str, saver: str, protocol: int) -> None:
    state = {"before": torch.arange(3), key: special()[key], "after": torch.arange(2)}
    path = tmp_path / "model.pt"
    SAVERS[saver](state, path, protocol)
    assert_same(read(path), state)
    assert_same(read(path), torch.load(path, weights_only=protocol < 4 and key != "buffer"))


@pytest.mark.parametrize("saver", SAVERS)
def test_keeps_ties(tmp_path: Path, saver: str) -> None:
    weight = filled("float32", 4, 3)
    layer = torch.nn.Parameter(filled("float32", 5))
    state = {
        "encoder.weight": weight,
        "decoder.weight": weight,
        "alias": weight.view(4, 3),
        "transposed": weight.T,
        "row": weight[0],
        "other": weight.clone(),
        "bias": layer,
        "tied bias": layer,
        "empty 1": torch.empty(0),
        "empty 2": torch.empty(0),
    }
    SAVERS[saver](state, tmp_path / "model.pt", 2)
    ours = read(tmp_path / "model.pt")
    assert_same(ours, state)
    same_ties(ours, [{"encoder.weight", "decoder.weight", "alias"}, {"bias", "tied bias"}])


@pytest.mark.parametrize("saver", SAVERS)
def test_reads_a_module_with_tied_weights(tmp_path: Path, saver: str) -> None:
    net = torch.nn.Sequential(torch.nn.Embedding(7, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 7, bias=False))
    net[2].weight = net[0].weight
    SAVERS[saver](net.state_dict(), tmp_path / "model.pt", 2)
    ours = read(tmp_path / "model.pt")
    assert_same(ours, net.state_dict())
    same_ties(ours, [{"0.weight", "2.weight"}])


@pytest.mark.parametrize(
    ("first", "second"), [("uint16", "uint32"), ("float8_e5m2", "uint8"), ("float8_e5m2", "uint16")]
)
def test_reads_one_storage_as_two_new_dtypes(tmp_path: Path, first: str, second: str) -> None:
    """Storages of the new dtypes are untyped, so torch saves both views."""
    tensor = filled(first, 8)
    state = {"a": tensor, "b": tensor.view(getattr(torch, second))}
    try:
        torch.save(state, tmp_path / "model.pt")
    except RuntimeError as error:
        pytest.skip(str(error))
    assert_same(read(tmp_path / "model.pt"), state)


@pytest.mark.parametrize("seed", range(60))
def test_reads_random_state_dicts(tmp_path: Path, seed: int) -> None:
    """Several tensors over shared storages, random strides and offsets, random nesting of names."""
    chance = random.Random(seed)
    saver = chance.choice(list(SAVERS))
    dtypes = OLD_DTYPES if saver == "legacy" else OLD_DTYPES + NEW_DTYPES
    bases = [filled(chance.choice(dtypes), chance.randrange(1, 200), seed=seed + n) for n in range(4)]
    state = {f"layer.{number}.w": _random_view(chance.choice(bases), chance) for number in range(20)}
    SAVERS[saver](state, tmp_path / "model.pt", chance.choice([2, 3, 4, 5]))
    assert_same(read(tmp_path / "model.pt"), state)


def _random_view(base: Any, chance: random.Random) -> Any:
    shape = [chance.choice([0, 1, 1, 2, 3, 4]) for _ in range(chance.randrange(5))]
    strides = [chance.choice([0, 1, 1, 2, 3, 7]) for _ in shape]
    reach = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) if all(shape) else 0
    room = base.numel() - 1 - reach
    return base if room < 0 else base.as_strided(shape, strides, chance.randrange(room + 1))


@pytest.mark.parametrize("alignment", [1, 64, 4096])
def test_reads_every_alignment(tmp_path: Path, alignment: int) -> None:
    from torch.utils.serialization import config

    before = config.save.storage_alignment
    config.save.storage_alignment = alignment
    try:
        torch.save({"w": filled("float32", 5)}, tmp_path / "model.pt")
    finally:
        config.save.storage_alignment = before
    assert_same(read(tmp_path / "model.pt"), {"w": filled("float32", 5)})


def test_reads_two_hundred_storages(tmp_path: Path) -> None:
    """More than ten: `data/10` sorts before `data/2`."""
    state = {f"w{number}": filled("float32", number % 7 + 1, seed=number) for number in range(200)}
    for saver in SAVERS.values():
        saver(state, tmp_path / "model.pt", 2)
        assert_same(read(tmp_path / "model.pt"), state)


@pytest.mark.parametrize("name", ["model.pt", "a.b.c", "archive", "noending", "ünï cödé.pt", "model.pth.tar"])
def test_reads_files_that_were_renamed(tmp_path: Path, name: str) -> None:
    torch.save({"w": filled("float32", 5)}, tmp_path / name)
    (tmp_path / name).rename(tmp_path / "renamed.bin")
    assert_same(read(tmp_path / "renamed.bin"), {"w": filled("float32", 5)})


# ------------------------------------------------------------------------------------- refusals

REFUSED: dict[str, Callable[[], Any]] = {
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(4), 0.5, 0, torch.qint8),
    "quantised unsigned": lambda: torch.quantize_per_tensor(torch.ones(4), 0.5, 0, torch.quint8),
    "quantised 32": lambda: torch.quantize_per_tensor(torch.ones(4), 0.5, 0, torch.qint32),
    "quantised per channel": lambda: torch.quantize_per_channel(
        torch.ones(2, 2), torch.ones(2), torch.zeros(2, dtype=torch.int64), 0, torch.qint8
    ),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse csr": lambda: torch.eye(3).to_sparse_csr(),
    "sparse csc": lambda: torch.eye(3).to_sparse_csc(),
    "sparse bsr": lambda: torch.eye(4).to_sparse_bsr((2, 2)),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "nested jagged": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    "meta": lambda: torch.ones(3, device="meta"),
    "meta parameter": lambda: torch.nn.Parameter(torch.ones(3, device="meta")),
    "complex32": lambda: torch.zeros(4, dtype=torch.complex32),
    "float4": lambda: torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
    "bits8": lambda: torch.zeros(4, dtype=torch.uint8).view(torch.bits8),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("protocol", [2, 4])
def test_refuses_by_name_what_a_record_has_not(tmp_path: Path, kind: str, protocol: int) -> None:
    """Only where it is read: the tensors beside it are not hindered."""
    path = tmp_path / "model.pt"
    torch.save(
        {"good": torch.arange(3.0), "bad.weight": REFUSED[kind](), "tail": torch.ones(2)},
        path,
        pickle_protocol=protocol,
    )
    with open_checkpoint(path) as checkpoint:
        tensors = checkpoint.state_dict(reindex=False)
        assert list(tensors) == ["good", "bad.weight", "tail"]
        assert tensors["good"].numpy().tolist() == [0.0, 1.0, 2.0]
        assert tensors["tail"].numpy().tolist() == [1.0, 1.0]
        assert tensors["bad.weight"].shape == (() if "nested" in kind else tuple(REFUSED[kind]().shape))
        with pytest.raises(CheckpointError) as caught:
            tensors["bad.weight"].numpy()
        assert list(checkpoint.state_dict(exclude=["^bad"], reindex=False)) == ["good", "tail"]
    lines = str(caught.value).split("\n")
    assert lines[0].startswith(f"{path}: tensor `bad.weight`: ")
    assert len(lines) > 1, "what to call in torch before saving"


# ------------------------------------------------------------------------------------- the writers of the other tests


def test_torch_reads_what_the_writers_write(tmp_path: Path) -> None:
    """The files that hostile ones are made of are well-formed, in torch's eyes too."""
    files = {
        "zip": checkpoints.zip_checkpoint(),
        "legacy": checkpoints.legacy_checkpoint(),
        "python 2": checkpoints.python2_checkpoint(),
        "tar": checkpoints.tar_checkpoint(),
    }
    for kind, data in files.items():
        (tmp_path / kind).write_bytes(data)
        assert torch.load(tmp_path / kind, weights_only=kind != "tar")["w"].tolist() == list(VALUES)


def test_torch_and_we_read_the_same_tar(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(
        checkpoints.tar_checkpoint(
            storages=checkpoints.tar_storages(views=[(9, 1, 1, 3)]),
            tensors=checkpoints.tar_tensors(of=9, size=(2,), offset=1),
        )
    )
    assert_same(read(path), torch.load(path, weights_only=False))
