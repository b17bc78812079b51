"""What torch can save and a record cannot hold: named by kind and key, with a remedy that works in torch."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from hatch_wheelweights import CheckpointError, convert, open_checkpoint  # noqa: E402
from wheelweights import open_record  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# torch says at every turn that nested, masked, quantised and sparse compressed tensors may change
pytestmark = pytest.mark.filterwarnings("ignore")

PER_CHANNEL = (torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0, 1, 2]), 0)


def _values() -> Any:
    return torch.arange(12.0).reshape(3, 4)


def _bits(name: str, of: Any = torch.uint8) -> Callable[[], Any]:
    def make() -> Any:
        if not hasattr(torch, name):
            pytest.skip(f"this torch has no {name}")
        return torch.arange(8).to(of).view(getattr(torch, name))

    return make


@dataclass(frozen=True)
class Kind:
    """A kind of tensor: how it is made, what its error calls it, and the code in its remedy."""

    make: Callable[[], Any]
    says: str
    remedies: tuple[str, ...]


QUANTISED = ("tensor.dequantize()", "tensor.int_repr()")
BYTES = ("tensor.view(torch.uint8)",)
DENSE = ("tensor.to_dense()",)
UNBOUND = ("list(tensor.unbind())",)

KINDS = {
    "qint8": Kind(lambda: torch.quantize_per_tensor(_values(), 0.1, 2, torch.qint8), "is quantised", QUANTISED),
    "quint8": Kind(lambda: torch.quantize_per_tensor(_values(), 0.1, 2, torch.quint8), "is quantised", QUANTISED),
    "qint32": Kind(lambda: torch.quantize_per_tensor(_values(), 0.1, 2, torch.qint32), "is quantised", QUANTISED),
    "qint8 per channel": Kind(
        lambda: torch.quantize_per_channel(_values(), *PER_CHANNEL, torch.qint8), "is quantised", QUANTISED
    ),
    "quint4x2": Kind(
        lambda: torch.quantize_per_channel(_values(), PER_CHANNEL[0], PER_CHANNEL[1].float(), 0, torch.quint4x2),
        "is quantised",
        QUANTISED,
    ),
    "sparse": Kind(lambda: _values().to_sparse(), "is sparse", DENSE),
    "sparse, one axis": Kind(lambda: _values().to_sparse(1), "is sparse", DENSE),
    "sparse, csr": Kind(lambda: _values().to_sparse_csr(), "is sparse", DENSE),
    "sparse, csc": Kind(lambda: _values().to_sparse_csc(), "is sparse", DENSE),
    "sparse, bsr": Kind(lambda: torch.arange(16.0).reshape(4, 4).to_sparse_bsr((2, 2)), "is sparse", DENSE),
    "sparse, bsc": Kind(lambda: torch.arange(16.0).reshape(4, 4).to_sparse_bsc((2, 2)), "is sparse", DENSE),
    "nested": Kind(lambda: torch.nested.nested_tensor([_values(), _values()[:2]]), "is a nested tensor", UNBOUND),
    "jagged": Kind(
        lambda: torch.nested.nested_tensor([_values(), _values()[:2]], layout=torch.jagged),
        "is a nested tensor",
        UNBOUND,
    ),
    "complex32": Kind(
        lambda: torch.arange(4).to(torch.complex32), "unsupported dtype `complex32`", ("tensor.to(torch.complex64)",)
    ),
    "float4": Kind(_bits("float4_e2m1fn_x2"), "unsupported dtype `float4_e2m1fn_x2`", BYTES),
    "bits8": Kind(_bits("bits8"), "unsupported dtype `bits8`", BYTES),
    "bits16": Kind(_bits("bits16", torch.int16), "unsupported dtype `bits16`", BYTES),
    "bits1x8": Kind(_bits("bits1x8"), "unsupported dtype `bits1x8`", BYTES),
    "bits2x4": Kind(_bits("bits2x4"), "unsupported dtype `bits2x4`", BYTES),
    "bits4x2": Kind(_bits("bits4x2"), "unsupported dtype `bits4x2`", BYTES),
    "masked": Kind(
        lambda: torch.masked.masked_tensor(_values(), _values() > 3),
        "is `torch.masked.maskedtensor.core.MaskedTensor`, a tensor subclass without values of its own",
        ("tensor.to_tensor(0)",),
    ),
}


def _saved(path: Path, **tensors: Any) -> Path:
    torch.save({"plain": torch.ones(2), **tensors}, path)
    return path


def _refusal(path: Path) -> CheckpointError:
    """Return the error that converting a file and reading its tensor `layer.w` both raise."""
    with pytest.raises(CheckpointError) as caught:
        convert(path, path.with_suffix(".mpk"))
    assert not path.with_suffix(".mpk").exists()
    with open_checkpoint(path) as checkpoint, pytest.raises(CheckpointError) as read:
        checkpoint.state_dict()["layer.w"].numpy()
    assert (caught.value.fact, caught.value.key) == (read.value.fact, read.value.key)
    return caught.value


def _check_remedy(code: str, tensor: Any, error: CheckpointError, path: Path) -> None:
    """Run the code in a remedy and convert what it gives."""
    assert code in str(error.remedy)
    made = eval(code, {"tensor": tensor, "torch": torch})
    made = made if isinstance(made, list) else [made]
    convert(_saved(path, **{f"w{i}": part for i, part in enumerate(made)}), path.with_suffix(".mpk"))
    with open_record(path.with_suffix(".mpk")) as record:
        for i, part in enumerate(made):
            np.testing.assert_array_equal(record[f"w{i}"], part.detach().numpy())


@pytest.mark.parametrize("name", KINDS)
def test_names_the_kind_and_the_key_and_a_remedy_that_works(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    tensor = kind.make()
    error = _refusal(_saved(tmp_path / "model.pt", **{"layer.w": tensor}))
    assert error.key == "layer.w"
    assert kind.says in str(error.fact)
    for code in kind.remedies:
        _check_remedy(code, tensor, error, tmp_path / "remedy.pt")


@pytest.mark.parametrize("name", KINDS)
def test_what_a_record_cannot_hold_does_not_hinder_the_rest(tmp_path: Path, name: str) -> None:
    path = _saved(tmp_path / "model.pt", **{"layer.w": KINDS[name].make()})
    convert(path, tmp_path / "out.mpk", exclude=["layer.w*"])
    with open_record(tmp_path / "out.mpk") as record:
        assert list(record) == ["plain"]


def test_a_model_on_the_meta_device_can_be_materialised(tmp_path: Path) -> None:
    model = nn.Linear(4, 3, device="meta")
    error = _refusal(_saved(tmp_path / "model.pt", **{"layer.w": model.weight}))
    assert (error.key, error.fact) == ("layer.w", "is on the meta device: it has a shape but no values")
    assert "model.to_empty(device='cpu')" in str(error.remedy)
    model.to_empty(device="cpu")
    model.reset_parameters()
    convert(_saved(tmp_path / "remedy.pt", **model.state_dict()), tmp_path / "remedy.mpk")


class _Packed(nn.Parameter):
    """A parameter that gives its values again as an attribute, as those of bitsandbytes do."""

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self.data, "requires_grad": self.requires_grad, "note": 1}


class _Swapping(nn.Parameter):
    """A parameter that gives other values as an attribute: those are what torch loads."""

    def __getstate__(self) -> dict[str, Any]:
        return {"data": torch.zeros(4)}


def test_a_parameter_that_gives_its_own_values_again_opens(tmp_path: Path) -> None:
    torch.save({"w": _Packed(torch.arange(4.0))}, tmp_path / "model.pt")
    with open_checkpoint(tmp_path / "model.pt") as checkpoint:
        assert checkpoint.state_dict()["w"].numpy().tolist() == torch.load(tmp_path / "model.pt")["w"].tolist()


def test_a_parameter_that_gives_other_values_is_saved_as_a_state_dict(tmp_path: Path) -> None:
    model = nn.Module()
    model.w = _Swapping(torch.arange(4.0))
    torch.save({"w": model.w}, tmp_path / "model.pt")
    assert torch.load(tmp_path / "model.pt")["w"].tolist() == [0, 0, 0, 0]
    with pytest.raises(CheckpointError) as caught:
        convert(tmp_path / "model.pt", tmp_path / "model.mpk")
    assert (caught.value.key, caught.value.fact) == (
        "w", "is given `data`, which replaces its values when torch loads it",
    )  # fmt: skip
    assert str(caught.value.remedy) == "Save the state_dict instead: torch.save(model.state_dict(), path)"
    torch.save(model.state_dict(), tmp_path / "model.pt")
    convert(tmp_path / "model.pt", tmp_path / "model.mpk")


@pytest.mark.parametrize(("lazy", "key"), [(nn.LazyLinear, "weight"), (nn.LazyBatchNorm1d, "running_mean")])
@pytest.mark.parametrize("whole", [False, True])
def test_a_lazy_module_can_be_run(tmp_path: Path, lazy: Any, key: str, whole: bool) -> None:
    model = nn.Sequential(lazy(3) if lazy is nn.LazyLinear else lazy())
    path = tmp_path / "model.pt"
    torch.save(model if whole else model.state_dict(), path)
    with pytest.raises(CheckpointError) as caught:
        convert(path, tmp_path / "model.mpk", whole_model=whole, include=[f"0.{key}"])
    assert (caught.value.key, caught.value.fact) == (
        f"0.{key}", "is not initialised: its module has not been run yet",
    )  # fmt: skip
    assert str(caught.value.remedy) == "Run the model once before saving it."
    model(torch.ones(2, 3))
    torch.save(model if whole else model.state_dict(), path)
    convert(path, tmp_path / "model.mpk", whole_model=whole)
    with open_record(tmp_path / "model.mpk") as record:
        np.testing.assert_array_equal(record[f"0.{key}"], model.state_dict()[f"0.{key}"].numpy())


@pytest.mark.parametrize("bits", range(1, 8))
@pytest.mark.parametrize("sign", ["", "u"])
def test_whole_numbers_below_a_byte_are_saved_as_bytes(sign: str, bits: int) -> None:
    """torch cannot save them; were that to change, the remedy works."""
    name = f"{sign}int{bits}"
    if not hasattr(torch, name):
        pytest.skip(f"this torch has no {name}")
    tensor = torch.arange(4).to(torch.uint8).view(getattr(torch, name))
    with pytest.raises(KeyError):
        torch.save(tensor, "/dev/null")
    assert tensor.view(torch.uint8).tolist() == [0, 1, 2, 3]


# ------------------------------------------------------------------------------------------- subclasses


def _wrapper_class(module: str, name: str, **methods: Callable[[Any], Any]) -> Any:
    """Make a subclass of tensors that holds two others, as torchao's do, in a module of that name."""

    class Wrapper(torch.Tensor):
        @staticmethod
        def __new__(cls: Any, data: Any, scale: Any) -> Any:
            return torch.Tensor._make_wrapper_subclass(cls, data.shape, dtype=scale.dtype)

        def __init__(self, data: Any, scale: Any) -> None:
            self.qdata = data
            self.scale = scale

        @classmethod
        def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is torch.ops.aten.detach.default:
                return cls(args[0].qdata, args[0].scale)
            raise NotImplementedError(function)

        def __repr__(self, **_: Any) -> str:
            return "Wrapper()"

    for method, function in methods.items():
        setattr(Wrapper, method, function)
    Wrapper.__module__, Wrapper.__qualname__, Wrapper.__name__ = module, name, name
    return Wrapper


@pytest.fixture
def imitated(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def imitate(module: str, name: str, **methods: Any) -> Any:
        made = _wrapper_class(module, name, **methods)
        for end in range(len(parts := module.split("."))):  # Python imports a module by way of those above it
            package = ".".join(parts[: end + 1])
            if package == module or package not in sys.modules:
                monkeypatch.setitem(sys.modules, package, ModuleType(package))
        setattr(sys.modules[module], name, made)
        return made(torch.arange(4, dtype=torch.int8), torch.tensor(0.5))

    return imitate


def _dequantised(tensor: Any) -> Any:
    return tensor.qdata.float() * tensor.scale


@pytest.mark.parametrize(
    ("module", "name", "code"),
    [
        ("torchao.dtypes.affine_quantized_tensor", "AffineQuantizedTensor", "tensor.dequantize()"),
        ("torchao.quantization.quantize_.workflows.int4.int4_tensor", "Int4Tensor", "tensor.dequantize()"),
        ("torchao.dtypes.nf4tensor", "NF4Tensor", "tensor.get_original_weight()"),
        ("transformer_engine.pytorch.tensor.float8_tensor", "Float8Tensor", "tensor.dequantize()"),
        ("torch.sparse.semi_structured", "SparseSemiStructuredTensorCUTLASS", "tensor.to_dense()"),
    ],
)
def test_names_the_class_of_a_tensor_of_another_library(
    tmp_path: Path, imitated: Any, module: str, name: str, code: str
) -> None:
    tensor = imitated(module, name, **{code.removeprefix("tensor.").removesuffix("()"): _dequantised})
    error = _refusal(_saved(tmp_path / "model.pt", **{"layer.w": tensor}))
    assert error.key == "layer.w"
    assert error.fact == f"is `{module}.{name}`, a tensor subclass without values of its own"
    assert str(error.remedy) == f"Save {code} in torch."
    _check_remedy(code, tensor, error, tmp_path / "remedy.pt")


def test_names_the_parts_of_a_tensor_of_an_unknown_class(tmp_path: Path, imitated: Any) -> None:
    tensor = imitated("mylibrary.packed", "Packed")
    error = _refusal(_saved(tmp_path / "model.pt", **{"layer.w": tensor}))
    assert error.fact == "is `mylibrary.packed.Packed`, a tensor subclass without values of its own"
    assert str(error.remedy) == (
        "Save a plain tensor in torch: what its class makes of it (such as tensor.dequantize()), "
        "or its parts, each by itself (`qdata`, `scale`)."
    )
    convert(_saved(tmp_path / "remedy.pt", qdata=tensor.qdata, scale=tensor.scale), tmp_path / "remedy.mpk")


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Any]:
    """A mesh of this one process."""
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available():
        pytest.skip("this torch has no distributed package")
    from torch.distributed.device_mesh import init_device_mesh

    distributed.init_process_group("gloo", rank=0, world_size=1, init_method=f"file://{tmp_path / 'store'}")
    try:
        yield init_device_mesh("cpu", (1,))
    finally:
        distributed.destroy_process_group()


def test_names_a_distributed_tensor(tmp_path: Path, mesh: Any) -> None:
    from torch.distributed.tensor import Shard, distribute_tensor

    tensor = distribute_tensor(_values(), mesh, [Shard(0)])
    error = _refusal(_saved(tmp_path / "model.pt", **{"layer.w": tensor}))
    assert (error.key, error.fact) == (
        "layer.w", "is `torch.distributed.tensor.DTensor`, a tensor subclass without values of its own",
    )  # fmt: skip
    assert str(error.remedy) == "Save tensor.full_tensor() in torch."
    _check_remedy("tensor.full_tensor()", tensor, error, tmp_path / "remedy.pt")


def test_a_distributed_checkpoint_can_be_made_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = pytest.importorskip("torch.distributed.checkpoint")
    monkeypatch.chdir(tmp_path)
    checkpoint.save({"w": _values()}, checkpoint_id="saved", no_dist=True)
    with pytest.raises(CheckpointError) as caught:
        convert("saved", "model.mpk")
    assert "format_utils dcp_to_torch saved model.pt" in str(caught.value.remedy)
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    dcp_to_torch_save("saved", "model.pt")
    convert("model.pt", "model.mpk")
    with open_record("model.mpk") as record:
        np.testing.assert_array_equal(record["w"], _values().numpy())


# ------------------------------------------------------------------------------------------- what torch cannot save


def _inside(transform: Any) -> Any:
    """Return the tensor that a function sees inside a transform of `torch.func`."""
    seen: list[Any] = []

    def function(tensor: Any) -> Any:
        seen.append(tensor)
        return tensor.sum()

    transform(function)(_values())
    return seen[0]


def _fake() -> Any:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode() as mode:
        return mode.from_tensor(_values())


NEVER_SAVED: dict[str, Callable[[], Any]] = {
    "fake": _fake,
    "in vmap": lambda: _inside(torch.vmap),
    "in grad": lambda: _inside(torch.func.grad),
    "functional": lambda: torch._to_functional_tensor(_values()),
    "mkldnn": lambda: _values().to_mkldnn(),
}


@pytest.mark.parametrize("name", NEVER_SAVED)
def test_torch_itself_cannot_save_these(tmp_path: Path, name: str) -> None:
    """A torch that can has to be looked at: its files would need a name for the kind."""
    with pytest.raises((NotImplementedError, RuntimeError, AttributeError)):
        torch.save({"w": NEVER_SAVED[name]()}, tmp_path / "model.pt")
