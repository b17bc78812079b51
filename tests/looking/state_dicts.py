"""How a state_dict that we read is compared with the one that torch loads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hatch_wheelweights.checkpoint import LazyTensor


def assert_state_dict(found: Mapping[str, LazyTensor], expected: Mapping[str, Any]) -> None:
    """Check that keys, their order, dtypes, shapes and values are torch's."""
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].dtype == str(value.dtype).removeprefix("torch."), key
        np.testing.assert_array_equal(found[key].numpy(), value.detach().numpy(), err_msg=key, strict=True)
