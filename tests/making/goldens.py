"""Golden outputs for the two convolutions of `conv2d.pt`, without torch: the runtime's own layers compute them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wheelweights import nn  # noqa: TC001 (`bind` reads the annotations)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Convolutions", "golden_arrays", "write_npz"]


@dataclass
class Convolutions:
    """The model of `conv2d.pt`, in one piece."""

    conv1: nn.Conv2d
    conv2: nn.Conv2d

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        return self.conv2(self.conv1(x))


def golden_arrays(net: Convolutions) -> dict[str, NDArray[Any]]:
    """Return what `golden(net, x, modules=["conv1", "conv2"])` would write in torch."""
    x = np.random.default_rng(0).normal(size=(1, 2, 6, 6)).astype(np.float32)
    hidden = net.conv1(x)
    return {
        "input": x,
        "output": net(x),
        "conv1/input": x,
        "conv1/output": hidden,
        "conv2/input": hidden,
        "conv2/output": net.conv2(hidden),
    }


def write_npz(path: Path, arrays: Mapping[str, Any]) -> Path:
    """Write arrays by any names."""
    named: dict[str, Any] = dict(arrays)
    np.savez(path, **named)
    return path
