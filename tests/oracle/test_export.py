"""What we export, torch reads bit for bit: by way of checkpoints, of records, and of the options of a conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402

from hatch_wheelweights import convert, export  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
]  # fmt: skip


def filled(dtype: str, *shape: int) -> Any:
    """Return a tensor of random bits: NaNs of every kind, infinities and denormals are among them."""
    kind = getattr(torch, dtype)
    count = int(np.prod(shape)) * kind.itemsize
    if not count:
        return torch.empty(shape, dtype=kind)
    raw = torch.from_numpy(np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 256, count, np.uint8))
    return raw.view(kind).reshape(shape)


def bits(tensor: Any) -> tuple[Any, tuple[int, ...], bytes]:
    flat = tensor.detach().contiguous().reshape(-1)
    return tensor.dtype, tuple(tensor.shape), bytes(flat.view(torch.uint8).numpy()) if flat.numel() else b""


def assert_same(path: Path, expected: Mapping[str, Any]) -> None:
    found = safetensors.torch.load_file(path)
    assert {key: bits(each) for key, each in found.items()} == {key: bits(each) for key, each in expected.items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("by_record", [False, True], ids=["checkpoint", "record"])
def test_torch_reads_every_dtype_that_safetensors_has(tmp_path: Path, dtype: str, by_record: bool) -> None:
    state = {"w": filled(dtype, 3, 5), "scalar": filled(dtype), "none": filled(dtype, 0, 2), "odd": filled(dtype, 7)}
    state |= {"transposed": state["w"].t(), "part": state["w"][1:, ::2], "tied": state["w"]}
    torch.save(state, tmp_path / "model.pt")
    source = tmp_path / "model.pt"
    if by_record:
        convert(source, tmp_path / "model.mpk")
        source = tmp_path / "model.mpk"
    export(source, tmp_path / "out.safetensors")
    assert_same(tmp_path / "out.safetensors", state)


def test_all_dtypes_lie_in_one_file(tmp_path: Path) -> None:
    state = {dtype: filled(dtype, 3) for dtype in DTYPES}
    torch.save(state, tmp_path / "model.pt")
    export(tmp_path / "model.pt", tmp_path / "out.safetensors")
    assert_same(tmp_path / "out.safetensors", state)


class Net(torch.nn.Module):
    """Layers with gaps in their numbers, a tie, running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3),
            torch.nn.ReLU(),
            torch.nn.BatchNorm2d(4),
            torch.nn.Flatten(),
            torch.nn.Linear(4, 8),
        )
        self.embed = torch.nn.Embedding(8, 8)
        self.head = torch.nn.Linear(8, 8, bias=False)
        self.head.weight = self.embed.weight


def test_a_model_loads_what_was_exported_of_its_checkpoint(tmp_path: Path) -> None:
    net = Net()
    optimizer = torch.optim.Adam(net.parameters())
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, tmp_path / "train.pt")
    export(tmp_path / "train.pt", tmp_path / "out.safetensors", top_level_key="net")
    assert_same(tmp_path / "out.safetensors", net.state_dict())
    other = Net()
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "out.safetensors"))


def test_options_give_what_they_give_in_torch(tmp_path: Path) -> None:
    net = Net()
    torch.save(net, tmp_path / "whole.pt")
    options: dict[str, Any] = {
        "whole_model": True,
        "precision": [("running", "keep"), ("", "bfloat16")],
        "key_remap": [("^layers", "body")],
        "exclude": ["num_batches_tracked", "^head"],
    }
    export(tmp_path / "whole.pt", tmp_path / "out.safetensors", **options)
    state = net.state_dict()
    expected = {
        key.replace("layers", "body"): value if "running" in key else value.to(torch.bfloat16)
        for key, value in state.items()
        if "num_batches_tracked" not in key and not key.startswith("head")
    }
    assert_same(tmp_path / "out.safetensors", expected)


def test_the_library_gives_the_same_bytes_but_for_what_it_says_of_them(tmp_path: Path) -> None:
    """Of dtypes as wide as each other it sorts by the dtype first: here are none."""
    state = {"b": filled("float32", 5), "a": filled("float32", 3), "h": filled("float16", 3), "d": filled("float64", 2)}
    torch.save(state, tmp_path / "model.pt")
    export(tmp_path / "model.pt", tmp_path / "out.safetensors")
    safetensors.torch.save_file(state, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    ours, theirs = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("out", "theirs"))
    assert len(ours) == len(theirs)
    assert ours[8 + int.from_bytes(ours[:8], "little") :] == theirs[8 + int.from_bytes(theirs[:8], "little") :]
