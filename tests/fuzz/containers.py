"""What an input of the fuzzer stands for: a file as it is, or a pickle in a container that is well-formed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))  # the writers of the tests

from making.checkpoints import legacy_checkpoint, tar_checkpoint
from making.seeds import SEEDS, torchscript, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable

CONTAINERS: list[Callable[[bytes], bytes]] = [bytes, wrapped, legacy_checkpoint, tar_checkpoint, torchscript]


def corpus() -> dict[str, bytes]:
    """Return the seeds by name: each with the byte in front that chooses its container."""
    files = {f"{kind}-{number}": b"\0" + data for kind, seeds in SEEDS.items() for number, data in enumerate(seeds)}
    pickles = {
        f"pickle-{number}-in-{index}": bytes([index]) + data
        for number, data in enumerate(SEEDS["pickle"])
        for index in range(1, len(CONTAINERS))
    }
    return {name: data for name, data in files.items() if not name.startswith("pickle")} | pickles
