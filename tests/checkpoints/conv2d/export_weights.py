"""Make conv2d.pt and expected.json: two Conv2d layers, as PyTorch's documentation would save them.

Run by hand where torch is installed; the tests read only the files.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent


class Net(nn.Module):
    """Two convolutions, one of them without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 2, kernel_size=2)
        self.conv2 = nn.Conv2d(2, 2, kernel_size=2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv2(torch.relu(self.conv1(x)))


def main() -> None:
    torch.manual_seed(42)
    net = Net().eval()
    torch.save(net.state_dict(), HERE / "conv2d.pt")
    image = torch.rand(1, 2, 5, 5)
    expected = {
        "torch": torch.__version__.partition("+")[0],
        "state_dict": {
            key: {"dtype": str(tensor.dtype).removeprefix("torch."), "values": tensor.tolist()}
            for key, tensor in net.state_dict().items()
        },
        "input": image.tolist(),
        "output": net(image).tolist(),
    }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
