"""Source that was generated: run as a module, and bound in the way that its docstring says."""

from __future__ import annotations

import re
import sys
import types
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import wheelweights as ww

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "generated_by_scaffold"


@contextmanager
def running(source: str) -> Iterator[types.ModuleType]:
    """Run source as a module, which annotations are looked up in while the block runs."""
    module = sys.modules[NAME] = types.ModuleType(NAME)
    try:
        exec(compile(source, NAME, "exec"), module.__dict__)
        yield module
    finally:
        del sys.modules[NAME]


def target(source: str) -> str:
    """Return what the docstring binds: `Net`, or `Net.init`."""
    (found,) = re.findall(r"net = ww\.bind\((\S+), record\)", source)
    return str(found)


def bound(source: str, record: Mapping[str, Any]) -> Any:
    """Return the model of generated source with the arrays of a record; the record must have no others."""
    with running(source) as module:
        made: Any = module
        for name in target(source).split("."):
            made = getattr(made, name)
        net = ww.bind(made, record)
    arrays = ww.state_dict(net)
    assert record.keys() <= arrays.keys()
    # Every norm has a count of batches, which a record may lack
    assert all(key.endswith("num_batches_tracked") for key in arrays.keys() - record.keys())
    return net
