"""Make exported.pt2 and expected.json: a small program as torch.export.save writes it.

Run by hand where torch is installed; the tests read only the files.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent


class Net(nn.Module):
    """Tied and turned weights, several dtypes, a buffer that is not kept."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.turned = nn.Parameter(torch.arange(6.0).reshape(2, 3).t())
        self.bf16 = nn.Parameter(torch.rand(4).bfloat16())
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("forgotten", torch.ones(2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(self.first(x)) @ self.turned
        return x + self.count + self.mask.sum() + self.bf16.float().sum() + self.forgotten


def main() -> None:
    warnings.simplefilter("ignore")
    torch.manual_seed(7)
    program = torch.export.export(Net().eval(), (torch.rand(5, 3),))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it holds paths of the machine
    torch.export.save(program, HERE / "exported.pt2")
    expected = {
        "torch": torch.__version__.partition("+")[0],
        "state_dict": {
            key: {"dtype": str(tensor.dtype).removeprefix("torch."), "values": tensor.tolist()}
            for key, tensor in program.state_dict.items()
        },
    }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
