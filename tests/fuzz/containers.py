"""What an input of the fuzzer stands for: a file as it is, or a pickle in a container that is well-formed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the writers of the tests

from helpers import Member, legacy_checkpoint, pickled, tar_checkpoint, torch_members, zip_archive
from seeds import SEEDS, STORAGES, wrapped


def torchscript(data: bytes) -> bytes:
    """Put a pickle into a TorchScript archive."""
    sources = b'class Net(Module):\n  __parameters__ = ["weight", ]\n  __buffers__ = []\n  fc : Net\n'
    extra = [Member("archive/code/__torch__.py", sources), Member("archive/constants.pkl", pickled(()))]
    return zip_archive([*torch_members(data, STORAGES), *extra])


CONTAINERS = [bytes, wrapped, legacy_checkpoint, tar_checkpoint, torchscript]


def corpus() -> dict[str, bytes]:
    """Return the seeds by name: each with the byte in front that chooses its container."""
    files = {f"{kind}-{number}": b"\0" + data for kind, seeds in SEEDS.items() for number, data in enumerate(seeds)}
    pickles = {
        f"pickle-{number}-in-{index}": bytes([index]) + data
        for number, data in enumerate(SEEDS["pickle"])
        for index in range(1, len(CONTAINERS))
    }
    return {name: data for name, data in files.items() if not name.startswith("pickle")} | pickles
