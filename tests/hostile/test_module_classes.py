"""Classes and settings from mutants: whatever a file says, plain values within bounds, or one of our errors."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hatch_wheelweights import open_checkpoint
from hatch_wheelweights.checkpoint import Account
from hatch_wheelweights.checkpoint.literals import MAX_DEPTH, MAX_LINE, arguments, literal
from hatch_wheelweights.checkpoint.module_classes import MAX_SETTINGS, MAX_TEXT, MAX_VALUES, ModuleClass
from hatch_wheelweights.checkpoint.pt2_program import classes_of_program
from hatch_wheelweights.options.model import TensorOptions
from looking.opening import unless_it_hangs
from making.checkpoints import torch_members
from making.costly_classes import node, program
from making.mutants import mutated_bytes
from making.pickles import Code, build, name, pickled
from making.zips import Member, zip_archive
from wheelweights.errors import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def assert_plain(value: Any) -> int:
    """Check that a value is one that a setting may be; return how many values are in it."""
    if isinstance(value, tuple):
        return 1 + sum(map(assert_plain, value))
    assert value is None or isinstance(value, bool | int | float | str)
    assert not isinstance(value, str) or (len(value) <= MAX_TEXT and value.isprintable())
    assert not isinstance(value, int) or abs(value) < 1 << 64
    return 1


def assert_within_bounds(classes: Mapping[str, ModuleClass]) -> None:
    for key, its in classes.items():
        assert type(key) is type(its.name) is str
        assert len(its.settings) <= MAX_SETTINGS
        for setting, value in its.settings.items():
            assert setting.isprintable()
            assert assert_plain(value) <= MAX_VALUES


# ------------------------------------------------------------------------------------- exported programs

PROGRAM = json.loads(program(node(), node(",,N;,c,torch.nn.modules.rnn.LSTM"), node("", [])))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every container in a JSON value, with each key into it."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *places(value[key])]]


@settings(max_examples=400)
@given(data=st.data())
def test_a_program_with_another_value_anywhere_is_understood_or_refused(data: st.DataObject) -> None:
    mutant = copy.deepcopy(PROGRAM)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(mutant)))
        container[key] = data.draw(JSON)
    # Those that the reader of the archive tells as one of ours
    with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError, WheelweightsError):
        assert_within_bounds(classes_of_program(mutant, Account(1 << 20)))


# ------------------------------------------------------------------------------------- TorchScript

SOURCE = b"""class Conv2d(Module):
  __parameters__ = ["weight", "bias", ]
  __buffers__ = []
  weight : Tensor
  bias : NoneType
  stride : Final[Tuple[int, int]] = (2, 2)
  eps : Final[float] = 1.0000000000000001e-05
  mode : Final[str] = "zeros"
class ConvTranspose2d(Module):
  __parameters__ = ["weight", ]
  __buffers__ = []
  def forward(self: __torch__.torch.nn.modules.conv.ConvTranspose2d,
    input: Tensor) -> Tensor:
    weight = self.weight
    _0 = torch._convolution(input, weight, None, [2, 2], [1, 1], [1, 1], True, [0, 0], 4, False, False, True, True)
    return torch.conv_transpose2d(_0, torch.pad(weight, [1, 1], "reflect"), groups=4)
"""


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_code_with_other_bytes_says_plain_settings_or_none(tmp_path: Path, count: int) -> None:
    def layer(kind: str, **state: object) -> Code:
        return build(Code(name("__torch__.torch.nn.modules.conv", kind) + b")\x81"), state)

    root = layer("Conv2d", up=layer("ConvTranspose2d"), transposed=False)
    path = tmp_path / "model.pt"
    for number in range(count):
        source = SOURCE if number == 0 else mutated_bytes(SOURCE, random.Random(number))
        member = Member("archive/code/__torch__/torch/nn/modules/conv.py", source)
        rest = Member("archive/constants.pkl", pickled(()))
        path.write_bytes(zip_archive([*torch_members(pickled(root)), member, rest]))
        try:
            with unless_it_hangs(), open_checkpoint(path) as checkpoint:
                found = checkpoint.module_classes(TensorOptions())
        except WheelweightsError:
            continue
        assert_within_bounds(found)
        assert number or set(found["up"].settings) == {"output_padding", "dilation", "groups"}


PIECES = ["(", ")", "[", "]", ",", " ", '"', "a", "=", "1", "-", ".", "e", "True", "None", "inf", "\\", "torch.f("]


@settings(max_examples=1000)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_text_is_a_plain_literal_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert_plain(literal(text))
    with contextlib.suppress(ValueError):
        for argument in arguments(text, 0):
            assert_plain(argument.value)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), 1 << 63)
    | st.floats()
    | st.from_regex(r'[^"\\]*', fullmatch=True)
)


@given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=8))
def test_a_literal_that_python_writes_is_read_as_it_was(value: Any) -> None:
    def written(one: Any) -> str:
        if isinstance(one, tuple):
            return f"({''.join(f'{written(item)}, ' for item in one)})"
        return f'"{one}"' if isinstance(one, str) else repr(one)

    text = written(value)
    assume(len(text) <= MAX_LINE and depth(value) <= MAX_DEPTH)
    assert repr(literal(text)) == repr(value)


def depth(value: Any) -> int:
    """Return how deep tuples are nested."""
    return 1 + max(map(depth, value), default=0) if isinstance(value, tuple) else 0
