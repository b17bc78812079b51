"""Make scripted.pt, traced.pt, lite.ptl and expected.json: one small model in the three ways that torch.jit saves it.

Run by hand where torch is installed, and strip_debug.py on the files afterwards; the tests read only the files.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent


class Block(nn.Module):
    """A layer with a buffer that is kept, one that is not, and a tensor that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.register_buffer("scale", torch.tensor([0.5, 2.0]))
        self.plain = torch.tensor([9.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) * self.scale + self.plain


class Net(nn.Module):
    """Blocks in a list, a tied weight, a view of a storage, half precision, a normalisation with its count."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.norm = nn.BatchNorm1d(2)
        self.head = nn.Linear(2, 3, bias=False)
        self.tied = self.blocks[0].fc.weight
        self.low = nn.Parameter(torch.rand(4).half())
        self.turned = nn.Parameter(torch.arange(6.0).reshape(2, 3).t())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = self.head(self.norm(block(x)))
        return x + self.tied.sum() + self.low.float().sum() + self.turned.sum()


def main() -> None:
    warnings.simplefilter("ignore")
    torch.manual_seed(7)
    net = Net().eval()
    scripted = torch.jit.script(net)
    scripted.save(str(HERE / "scripted.pt"))
    traced = torch.jit.trace(net, torch.rand(5, 3))
    traced.save(str(HERE / "traced.pt"))
    scripted._save_for_lite_interpreter(str(HERE / "lite.ptl"))
    expected = {
        "torch": torch.__version__.partition("+")[0],
        **{
            file: {
                key: {"dtype": str(tensor.dtype).removeprefix("torch."), "values": tensor.tolist()}
                for key, tensor in module.state_dict().items()
            }
            for file, module in (("scripted.pt", scripted), ("traced.pt", traced), ("lite.ptl", scripted))
        },
    }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
