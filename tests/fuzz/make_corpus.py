"""Write the corpus that the fuzzer starts from: the seeds of the mutation tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from containers import corpus

if __name__ == "__main__":
    folder = Path(__file__).parent / "corpus"
    folder.mkdir(exist_ok=True)
    for name, data in corpus().items():
        (folder / name).write_bytes(data)
    print(f"{len(corpus())} seeds in {folder}")
