"""Writes omegaconf-*-protocol-*.pkl (a configuration with interpolations, pickled) and expected.json beside it.

What OmegaConf itself makes of each value is in expected.json: `{"fault": ...}` where it raises. The values that need a
resolver are listed there as faults too, because nothing of a file is run here.
Needs omegaconf 2.4; run: python export_configs.py
"""

from __future__ import annotations

import enum
import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import omegaconf
from omegaconf import MISSING, DictConfig, OmegaConf

HERE = Path(__file__).parent


class Mode(enum.Enum):
    TRAIN = "train"
    TEST = "test"


@dataclass
class Optimizer:
    name: str = "adam"
    lr: float = 0.001
    steps: int = "${data.batch}"  # type: ignore[assignment]
    label: str = "${data.batch}"
    nesterov: bool = False
    mode: Mode = Mode.TEST
    where: Path = Path("runs/1")
    warmup: float | None = None
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    seed: int = MISSING


def configuration() -> DictConfig:
    """Return a configuration with every kind of node and of interpolation."""
    tree: dict[Any, Any] = {
        "data": {"batch": 32, "root": "/data", "path": "${.root}/images", "twice": ["${..batch}", "${data.batch}"]},
        "model": {
            "dim": 8,
            "heads": "${model.dim}",
            "name": "net_${.dim}x${data.batch}",
            "inner": {"up": "${..dim}", "far": "${...data.root}"},
            "layers": [16, "${.0}", "${model.layers[0]}", {"dim": "${...dim}"}],
            "by_name": "${data.${which}}",
        },
        "which": "batch",
        "escaped": "\\${data.batch}",
        "slash": "\\\\${data.batch}",
        "all_data": "${data}",
        "chain": "${model.heads}",
        "nothing": None,
        "missing": "???",
        "dangling": "${data.bach}",
        "cyclic": "${other_cyclic}",
        "other_cyclic": "x${cyclic}",
        "home": "${oc.env:HOME}",
        3: "an int key",
    }
    config = OmegaConf.create(tree)
    config.optimizer = OmegaConf.structured(Optimizer)
    return config


def expected(node: Any) -> Any:
    """Return what OmegaConf gives for a node and all below it."""
    if isinstance(node, DictConfig):
        return {str(key): value(node, key) for key in node}
    return [value(node, i) for i in range(len(node))]


def value(config: Any, key: Any) -> Any:
    if str(OmegaConf.to_container(config)[key]).startswith("${oc.env"):
        return {"fault": "a resolver"}
    if OmegaConf.is_missing(config, key):
        return {"fault": "missing"}
    try:
        found = config[key]
    except omegaconf.errors.OmegaConfBaseException as error:
        return {"fault": type(error).__name__}
    if OmegaConf.is_config(found):
        return expected(found)
    return found.value if isinstance(found, Mode) else str(found) if isinstance(found, Path) else found


if __name__ == "__main__":
    made = configuration()
    for protocol in (2, 5):
        file = HERE / f"omegaconf-{omegaconf.__version__}-protocol-{protocol}.pkl"
        file.write_bytes(pickle.dumps({"cfg": made, "model_only": made.model}, protocol))
    (HERE / "expected.json").write_text(json.dumps(expected(made), indent=2) + "\n")
