# ruff: noqa: PTH100, PTH110, PTH118, PTH120, PTH123, RUF005, SIM115, UP008, UP010, UP031
"""Make the files of this folder: run it with each of these old versions of torch, under the Python it was made for.

    python2.7 -m pip install torch==1.4.0 numpy future typing enum34      # then python2.7 export_weights.py
    python3.6 -m pip install torch==1.5.1 numpy                           # then python3.6 export_weights.py
    python3.6 -m pip install torch==1.6.0 numpy

Run strip_debug.py, of the folder above, on the scripts afterwards.

It has to run under Python 2, and says so in every line. The tests read only the files.
"""

from __future__ import print_function

import json
import os
import sys
from collections import OrderedDict

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
VERSION = "torch-%s-python-%d.%d" % ((torch.__version__.split("+")[0],) + sys.version_info[:2])


class Net(torch.nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.fc = torch.nn.Linear(3, 2)
        self.tied = torch.nn.Linear(3, 2, bias=False)
        self.tied.weight = self.fc.weight
        self.register_buffer("mean", torch.arange(3.0))

    def forward(self, x):
        return self.tied(x) + self.fc(x + self.mean)


def described(tensors):
    return OrderedDict(
        (key, {"dtype": str(tensor.dtype).split(".")[1], "values": tensor.tolist()}) for key, tensor in tensors.items()
    )


def main():
    torch.manual_seed(0)
    net = Net()
    grid = torch.arange(12.0).reshape(3, 4)
    state = OrderedDict(net.state_dict())
    state["transposed"] = grid.t()
    state["strided"] = grid[1:, ::2]
    state["expanded"] = grid[0, :1].expand(2, 3)
    state["scalar"] = torch.tensor(2.5).double()
    state["half"] = torch.tensor([0.5, -1.0]).half()
    state["bool"] = torch.tensor([True, False])
    state["count"] = torch.tensor(7)
    expected = OrderedDict()
    for kind, new in (("legacy", False), ("zip", True)):
        name = "%s-%s.pt" % (VERSION, kind)
        torch.save({"state_dict": state, "epoch": 3}, os.path.join(HERE, name), _use_new_zipfile_serialization=new)
        expected[name] = described(state)
    name = VERSION + "-script.pt"
    torch.jit.script(net).save(os.path.join(HERE, name))
    expected[name] = described(net.state_dict())
    path = os.path.join(HERE, "expected.json")
    known = json.load(open(path)) if os.path.exists(path) else {}
    known.update(expected)
    with open(path, "w") as out:
        json.dump(known, out, indent=1, sort_keys=True, separators=(",", ": "))
        out.write("\n")


if __name__ == "__main__":
    main()
