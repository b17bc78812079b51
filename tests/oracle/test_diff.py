"""What `diff` says of checkpoints that torch wrote, against what torch says of their tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from hatch_wheelweights import convert, diff

if TYPE_CHECKING:
    from pathlib import Path


class Block(torch.nn.Module):
    """A linear layer and a norm, most of whose values are 0 or 1."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(size, size)
        self.norm = torch.nn.BatchNorm1d(size)


def model(blocks: int = 12, size: int = 16) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.ModuleDict({"blocks": torch.nn.ModuleList(Block(size) for _ in range(blocks))})


def lightning(state: dict[str, Any]) -> dict[str, Any]:
    """Return what Lightning saves, in kind."""
    return {
        "epoch": 3, "global_step": 100, "pytorch-lightning_version": "2.4.0",
        "state_dict": {f"model.{key}": tensor for key, tensor in state.items()},
        "loops": {}, "callbacks": {}, "lr_schedulers": [],
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(16, 16)}}, "param_groups": [{"lr": 0.1}]}],
    }  # fmt: skip


def test_a_training_checkpoint_and_one_of_lightning_hold_the_same_model(tmp_path: Path) -> None:
    state = dict(model().state_dict())
    torch.save({"epoch": 1, "model_state_dict": state, "optimizer": {"lr": 0.1}}, tmp_path / "train.pt")
    torch.save(lightning(state), tmp_path / "lightning.ckpt")
    found = diff(tmp_path / "train.pt", tmp_path / "lightning.ckpt")
    assert found.equal_but_for_names
    assert [(*rule.patterns, rule.keys) for rule in found.pairs.rules] == [("*", "model.*", len(state))]
    assert found.pairs.single == frozenset()


def test_a_model_that_was_wrapped_and_trained_on_is_compared_tensor_by_tensor(tmp_path: Path) -> None:
    before = dict(model().state_dict())
    after = {
        key: tensor + 0.01 * torch.randn(tensor.shape) if "linear" in key else tensor for key, tensor in before.items()
    }
    torch.save({f"module.{key}": tensor for key, tensor in before.items()}, tmp_path / "a.pt")
    torch.save(after, tmp_path / "b.pt")
    found = diff(tmp_path / "a.pt", tmp_path / "b.pt")
    assert [(*rule.patterns, rule.keys) for rule in found.pairs.rules] == [("module.*", "*", len(before))]
    for tensor in found.both:
        ours, theirs = before[tensor.new_key].double().flatten(), after[tensor.new_key].double().flatten()
        assert tensor.key == f"module.{tensor.new_key}"
        assert (tensor.state == "equal") == torch.equal(ours, theirs)
        if tensor.state == "different":
            values = tensor.values
            assert values is not None
            assert values.unequal == int((ours != theirs).sum())
            assert values.largest == (ours - theirs).abs().max().item()
            assert values.largest_relative == ((ours - theirs).abs() / theirs.abs()).max().item()
            assert values.cosine == pytest.approx(torch.cosine_similarity(ours, theirs, dim=0).item(), abs=1e-12)


@pytest.mark.parametrize(("precision", "rtol", "atol"), [("half", 1e-3, 1e-6), ("bfloat16", 1e-2, 0.0)])
def test_a_record_of_half_the_bytes_is_within_the_tolerances_that_torch_finds(
    tmp_path: Path, precision: Any, rtol: float, atol: float
) -> None:
    state = dict(model().state_dict())
    torch.save(state, tmp_path / "a.pt")
    convert(tmp_path / "a.pt", tmp_path / "a.mpk", precision=precision)
    dtype = torch.float16 if precision == "half" else torch.bfloat16
    floats = [tensor for key, tensor in state.items() if tensor.is_floating_point() and "running" not in key]
    assert all(torch.allclose(tensor.double(), tensor.to(dtype).double(), rtol, atol) for tensor in floats)
    assert diff(tmp_path / "a.pt", tmp_path / "a.mpk", rtol=rtol, atol=atol).equal
    exact = diff(tmp_path / "a.pt", tmp_path / "a.mpk")
    assert exact.counts["different"] == sum(tensor.forms[0] != tensor.forms[1] for tensor in exact.both)
    assert not diff(tmp_path / "a.pt", tmp_path / "a.mpk", rtol=rtol / 100).equal
