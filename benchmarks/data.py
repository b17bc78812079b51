"""The files that are measured: written once, from seeds, in a folder of the caller's."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

TENSORS = 148  # as GPT-2 has


def state_dict(megabytes: float, tensors: int = TENSORS) -> dict[str, np.ndarray]:
    """Return float32 weights as trained ones are distributed, all of one size."""
    generator = np.random.default_rng(0)
    count = max(1, int(megabytes * 2**20) // 4 // tensors)
    return {
        f"layers.{number}.weight": generator.standard_normal(count, np.float32) * np.float32(0.02)
        for number in range(tensors)
    }


def write_pt(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    import torch

    torch.save({key: torch.from_numpy(array) for key, array in arrays.items()}, path)
    return path


def write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    import safetensors.numpy

    safetensors.numpy.save_file(arrays, path)
    return path


def write_onnx(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write a model that does nothing but hold the weights: each is an output."""
    import onnx
    from onnx import helper, numpy_helper

    initialisers = [numpy_helper.from_array(array, key) for key, array in arrays.items()]
    nodes = [helper.make_node("Identity", [key], [f"{key}.out"]) for key in arrays]
    outputs = [helper.make_tensor_value_info(f"{key}.out", 1, array.shape) for key, array in arrays.items()]
    graph = helper.make_graph(nodes, "weights", [], outputs, initialisers)
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def write_sparse(path: Path, gigabytes: int) -> Path:
    """Write a safetensors file of which the disk holds the header alone: the rest is zeros that were never written."""
    size = gigabytes << 30
    header = f'{{"w":{{"dtype":"F32","shape":[{size // 4}],"data_offsets":[0,{size}]}}}}'.encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    return path


def write_sparse_pt(path: Path, gigabytes: int, tensors: int = 16) -> Path:
    """Write a file of torch.save of which the disk holds all but the weights: `torch.serialization.skip_data` leaves
    holes for them.
    """
    import torch

    count = (gigabytes << 30) // 4 // tensors
    with torch.serialization.skip_data():
        torch.save({f"layers.{number}.weight": torch.empty(count) for number in range(tensors)}, path)
    return path
