"""TorchScript archives: those that torch 2.13 wrote (`checkpoints/torchscript` has the script), and some by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hatch_wheelweights import CheckpointError, convert, open_checkpoint
from making.checkpoints import torch_members
from making.pickles import build, name, ordered_dict, pickled, tensor
from making.zips import Member, zip_archive
from wheelweights import open_record
from wheelweights.dtypes import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    from making.pickles import Code

ARCHIVES = Path(__file__).parents[2] / "checkpoints" / "torchscript"
FILES = ["scripted.pt", "traced.pt", "lite.ptl"]


def expected(file: str) -> dict[str, dict[str, Any]]:
    """Return what `module.state_dict()` was in torch."""
    whole: dict[str, Any] = json.loads((ARCHIVES / "expected.json").read_text())
    found: dict[str, dict[str, Any]] = whole[file]
    return found


@pytest.mark.parametrize("file", FILES)
def test_reads_the_state_dict_that_torch_has(file: str) -> None:
    with open_checkpoint(ARCHIVES / file) as checkpoint:
        assert checkpoint.kind == "torchscript"
        found = checkpoint.state_dict()
    assert list(found) == list(expected(file))
    for key, each in expected(file).items():
        array = np.array(each["values"], numpy_dtype(each["dtype"]))
        assert (found[key].dtype, found[key].shape) == (each["dtype"], array.shape)
        assert found[key].numpy().tobytes() == array.tobytes()


@pytest.mark.parametrize("file", FILES)
def test_leaves_attributes_out_that_are_no_parameters_or_buffers(file: str) -> None:
    assert not any("plain" in key for key in open_checkpoint(ARCHIVES / file).state_dict())


def test_keeps_ties(tmp_path: Path) -> None:
    convert(ARCHIVES / "scripted.pt", tmp_path / "model.mpk")
    record = open_record(tmp_path / "model.mpk")
    assert record.metadata["source"]["format"] == "torchscript"
    assert np.shares_memory(record["tied"], record["blocks.0.fc.weight"])
    assert not np.shares_memory(record["tied"], record["blocks.1.fc.weight"])


# -------------------------------------------------------------------------------------------------------------- by hand

CODE = """class Net(Module):
  __parameters__ = ["weight", ]
  __buffers__ = ["count", ]
  weight : Tensor
  count : Tensor
  other : Tensor
  sub : __torch__.Sub
  def forward(self: __torch__.Net) -> NoneType:
    return None
class Sub(Module):
  __parameters__ = []
  __buffers__ = ["b", ]
class NotOne(NamedTuple):
  __parameters__ = ["n", ]
"""


def instance(of: str, **state: object) -> Code:
    from making.pickles import Code as Made

    return build(Made(name("__torch__", of) + b")\x81"), ordered_dict(state))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write `model.pt` from a root object and its code, and return its name."""
    monkeypatch.chdir(tmp_path)

    def write(root: object, code: str = CODE, method: int = 8) -> str:
        more = [
            Member("archive/code/__torch__.py", code.encode(), method=method),
            Member("archive/constants.pkl", pickled(())),
        ]
        (tmp_path / "model.pt").write_bytes(zip_archive([*torch_members(pickled(root)), *more]))
        return "model.pt"

    return write


def test_believes_the_code_about_what_a_parameter_is(archive: Callable[..., str]) -> None:
    sub = instance("Sub", b=tensor(), c=tensor())
    root = instance("Net", other=tensor(), sub=sub, weight=tensor(), count=tensor(), n=instance("NotOne", n=tensor()))
    with open_checkpoint(archive(root)) as checkpoint:
        assert sorted(checkpoint.state_dict()) == ["count", "sub.b", "weight"]


def test_says_that_the_code_is_missing(archive: Callable[..., str]) -> None:
    for code in ("", CODE.replace("class Net", "class Other")):
        with pytest.raises(CheckpointError) as caught:
            open_checkpoint(archive(instance("Net", weight=tensor()), code))
        assert str(caught.value) == (
            "model.pt: the code of the TorchScript class `__torch__.Net` is missing\n"
            "  Save the state_dict instead: torch.save(model.state_dict(), path)"
        )


def test_refuses_a_module_that_contains_itself(archive: Callable[..., str]) -> None:
    from making.pickles import Code, get, put

    blank = put(Code(name("__torch__", "Net") + b")\x81"), 50)
    root = build(blank, ordered_dict({"sub": get(50)}))
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(archive(root))
    assert str(caught.value).startswith("model.pt: a TorchScript module contains itself")


def test_refuses_modules_that_are_nested_too_deep(archive: Callable[..., str]) -> None:
    root = instance("Net")
    for _ in range(210):
        root = instance("Net", sub=root)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(archive(root))
    assert "nested more than 200 levels deep" in str(caught.value)


def test_a_long_line_of_code_takes_no_long_time(archive: Callable[..., str]) -> None:
    """A pattern that tries again at every place would need hours."""
    for evil in (
        'class Net(Module):\n  __parameters__ = ["' + '", "' * 200_000 + "\n  __buffers__ = []\n",
        "class " * 200_000,
        "\n" * 500_000,
    ):
        with pytest.raises(CheckpointError, match=r"is missing|without any tensor"):
            open_checkpoint(archive(instance("Net", weight=tensor()), evil)).state_dict()


def test_an_archive_whose_root_is_no_module_comes_as_it_is(archive: Callable[..., str]) -> None:
    assert list(open_checkpoint(archive({"w": tensor()})).state_dict()) == ["w"]
