"""Files that old versions of torch really wrote, under the Pythons of their time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hatch_wheelweights import open_checkpoint

FOLDER = Path(__file__).parents[2] / "checkpoints" / "old_torch"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())


@pytest.mark.parametrize("file", EXPECTED)
def test_reads_what_old_torch_wrote(file: str) -> None:
    with open_checkpoint(FOLDER / file) as checkpoint:
        script = checkpoint.kind == "torchscript"
        found = checkpoint.state_dict() if script else checkpoint.state_dict(top_level_key="state_dict")
    assert found.keys() == EXPECTED[file].keys()
    for key, tensor in EXPECTED[file].items():
        values = np.array(tensor["values"], tensor["dtype"])
        np.testing.assert_array_equal(found[key].numpy(), values, err_msg=key, strict=True)
    assert found["fc.weight"].tie == found["tied.weight"].tie
