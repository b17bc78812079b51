"""Fuzz the checkpoint readers: whatever the bytes, only WheelweightsError may come out.

    python -m pip install atheris
    python tests/fuzz/make_corpus.py
    python tests/fuzz/fuzz_checkpoint.py [seconds]      # what it finds goes into the corpus, and becomes a test

The first byte chooses: the rest is a whole file, or a pickle that is put into a well-formed container (in a whole file
a mutated pickle would die of its CRC).
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))  # the writers of the tests

with atheris.instrument_imports(include=["hatch_wheelweights", "wheelweights"]):
    import hatch_wheelweights.steps.pipeline  # noqa: F401  (imported late otherwise, and not instrumented)
    from hatch_wheelweights import open_checkpoint
    from hatch_wheelweights.options.model import TensorOptions
    from wheelweights.errors import WheelweightsError

from containers import CONTAINERS

from looking.opening import watched

MAX_TENSOR_BYTES = 1 << 22
HERE = Path(__file__).parent
FILE = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)) / "model.pt"


def read_everything(path: Path) -> None:
    """Open a file and read its tensors, under every way to ask for them; large ones are only described."""
    with open_checkpoint(path) as checkpoint:
        for whole_model in (False, True):
            with contextlib.suppress(WheelweightsError):
                for tensor in checkpoint.state_dict(whole_model=whole_model).values():
                    if tensor.nbytes <= MAX_TENSOR_BYTES:
                        with contextlib.suppress(WheelweightsError):
                            assert tensor.numpy().shape == tensor.shape
        with contextlib.suppress(WheelweightsError):
            checkpoint.module_classes(TensorOptions())
        repr(checkpoint.tree)


def test_one_input(data: bytes) -> None:
    """Read one input."""
    if not data:
        return
    FILE.write_bytes(CONTAINERS[data[0] % len(CONTAINERS)](data[1:]))
    try:
        with watched():
            read_everything(FILE)
    except WheelweightsError as error:
        str(error)


def main() -> None:
    """Run for the seconds of the first argument, an hour without one."""
    seconds = sys.argv[1] if len(sys.argv) > 1 else "3600"
    found = HERE / "found"
    found.mkdir(exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        "-max_len=8192",
        "-timeout=20",
        "-rss_limit_mb=2048",
        f"-dict={HERE / 'pickle.dict'}",
    ]
    atheris.Setup(
        [sys.argv[0], *options, f"-artifact_prefix={found}/", str(found), str(HERE / "corpus")], test_one_input
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
