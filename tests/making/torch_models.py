"""Models and containers for the comparisons with torch. Needs torch: only tests/oracle imports it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

CONTAINERS = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}
both_containers = pytest.mark.parametrize("how", CONTAINERS.values(), ids=CONTAINERS)
every_protocol = pytest.mark.parametrize("protocol", [2, 3, 4, 5])


class Net(torch.nn.Module):
    """A model with everything a module can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 2, bias=False)])
        self.named = torch.nn.ModuleDict({"a": torch.nn.PReLU(), "b": torch.nn.Identity()})
        self.scales = torch.nn.ParameterList([torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.zeros(1))])
        self.lstm = torch.nn.LSTM(4, 3, bidirectional=True)
        self.register_buffer("kept", torch.arange(3))
        self.register_buffer("passing", torch.arange(4), persistent=False)
        self.register_buffer("nothing", None)
        self.register_parameter("absent", None)
        self.tied = torch.nn.Linear(4, 4)
        self.tied.weight = self.blocks[0].weight

    def forward(self, x: Any) -> Any:
        """Use some of it."""
        return self.blocks[1](self.blocks[0](self.norm(self.conv(x)).mean((2, 3))))


class Plain(torch.nn.Module):
    """A model that can be scripted."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        self.norm = torch.nn.BatchNorm1d(3)
        self.embedding = torch.nn.Parameter(torch.randn(3))
        self.register_buffer("mean", torch.arange(3.0))
        self.register_buffer("passing", torch.arange(3.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Use all of it."""
        return self.layers(self.norm(x) + self.embedding + self.mean + self.passing)
