"""The model that type checkers check (`tests/typing/user_model.py`) works as well as it is typed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wheelweights as ww

if TYPE_CHECKING:
    from types import ModuleType

FILE = Path(__file__).parents[1] / "typing" / "user_model.py"


@pytest.fixture
def user_model(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("user_model", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "user_model", module)
    spec.loader.exec_module(module)
    return module


def test_binds_and_runs(user_model: ModuleType, tmp_path: Path) -> None:
    block = user_model.Block.init(3, 8)
    arrays: dict[str, Any] = {f"blocks.0.norm.{name}": getattr(block.norm, name) for name in ("weight", "bias")}
    arrays |= {
        "blocks.0.norm.running_mean": block.norm.running_mean,
        "blocks.0.norm.running_var": block.norm.running_var,
    }
    arrays |= {"blocks.0.conv.weight": block.conv.weight, "head.weight": np.ones((4, 8), np.float32)}
    arrays |= {"head.bias": np.zeros(4, np.float32), "scale": np.full(4, 2, np.float32)}
    arrays |= {"names.first.weight": np.eye(2, dtype=np.float32)}
    assert user_model.write(tmp_path / "model.mpk", arrays) == (tmp_path / "model.mpk").stat().st_size
    with ww.open_record(tmp_path / "model.mpk") as record:
        assert record.config(user_model.Config) == user_model.Config(hidden=8)
        assert ww.bind(user_model.Net.init, record).stride == 1
        net = ww.bind(user_model.Net, record)
        assert net(np.ones((2, 3, 4, 4), np.float32)).shape == (2, 4)
        assert user_model.why(record) == []
        arrays.pop("scale")
    ww.write_record(tmp_path / "less.mpk", arrays)
    assert user_model.why(ww.open_record(tmp_path / "less.mpk")) == ["scale"]
