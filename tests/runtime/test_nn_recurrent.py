"""Recurrent layers: the values of the plain formulas, step by step, and what a call leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looking.closeness import assert_close
from wheelweights import nn

Array = np.ndarray[Any, Any]
Recurrent = nn.LSTM | nn.GRU


def random(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    """An array that refuses to be written to, as those of a record do."""
    array = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    array.flags.writeable = False
    return array


def sigmoid(x: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-x))
    return result


def lstm_step(x: Array, state: list[Array], own: dict[str, Array]) -> list[Array]:
    """The formulas of torch.nn.LSTM for one element of a sequence, (N, features)."""
    hidden, cell = state
    gates = x @ own["weight_ih"].T + own["bias_ih"] + hidden @ own["weight_hh"].T + own["bias_hh"]
    enter, keep, fresh, leave = np.split(gates, 4, axis=-1)
    cell = sigmoid(keep) * cell + sigmoid(enter) * np.tanh(fresh)
    hidden = sigmoid(leave) * np.tanh(cell)
    return [hidden @ own["weight_hr"].T if "weight_hr" in own else hidden, cell]


def gru_step(x: Array, state: list[Array], own: dict[str, Array]) -> list[Array]:
    """The formulas of torch.nn.GRU for one element of a sequence, (N, features)."""
    (hidden,) = state
    reset, update, fresh = np.split(x @ own["weight_ih"].T + own["bias_ih"], 3, axis=-1)
    back_reset, back_update, back_fresh = np.split(hidden @ own["weight_hh"].T + own["bias_hh"], 3, axis=-1)
    blend = sigmoid(update + back_update)
    return [(1 - blend) * np.tanh(fresh + sigmoid(reset + back_reset) * back_fresh) + blend * hidden]


def plain(layer: Recurrent, x: Array, states: list[Array]) -> tuple[Array, list[Array]]:
    """Layer by layer, direction by direction, element by element, in float64; `x` is (L, N, features)."""
    step = lstm_step if isinstance(layer, nn.LSTM) else gru_step
    wide = {name: array.astype(np.float64) for name, array in layer.parameters.items()}
    sequence: Array = x.astype(np.float64)
    ends: list[list[Array]] = []
    for number in range(layer.num_layers):
        outputs: list[Array] = []
        for suffix in ("", "_reverse")[: 1 + layer.bidirectional]:
            ending = f"_l{number}{suffix}"
            own = {name.removesuffix(ending): array for name, array in wide.items() if name.endswith(ending)}
            rows = len(own["weight_ih"])
            own = {"bias_ih": np.zeros(rows), "bias_hh": np.zeros(rows)} | own
            state = [part[len(ends)].astype(np.float64) for part in states]
            seen: list[Array] = []
            for element in sequence[::-1] if suffix else sequence:
                state = step(element, state, own)
                seen.append(state[0])
            outputs.append(np.stack(seen[::-1] if suffix else seen))
            ends.append(state)
        sequence = np.concatenate(outputs, axis=-1)
    return sequence, [np.stack(parts) for parts in zip(*ends, strict=True)]


@st.composite
def calls(draw: st.DrawFn) -> tuple[Recurrent, Array, list[Array], bool]:
    """A layer, its input, states for its start, and whether they are given."""
    kind: Any = draw(st.sampled_from([nn.LSTM, nn.GRU]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    features, hidden = draw(st.integers(1, 5)), draw(st.integers(2, 5))
    projected = draw(st.integers(0, hidden - 1)) if kind is nn.LSTM else 0
    layer = kind.init(
        features,
        hidden,
        draw(st.integers(1, 3)),
        bias=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
        rng=np.random.default_rng(draw(st.integers(0, 9))),
        **({"proj_size": projected} if projected else {}),
    )
    layer.parameters = {name: array * np.float32(2) for name, array in layer.parameters.items()}
    for array in layer.parameters.values():
        array.flags.writeable = False
    batch, length, given = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.booleans())
    shape = (batch, length, features) if layer.batch_first else (length, batch, features)
    sizes = (projected or hidden, hidden) if kind is nn.LSTM else (hidden,)
    count = layer.num_layers * (1 + layer.bidirectional)
    states = [random(count, batch, size, seed=seed, dtype=dtype) * given for seed, size in enumerate(sizes)]
    return layer, random(*shape, seed=7, dtype=dtype), states, given


@given(calls())
@settings(max_examples=200, deadline=None)
def test_recurrent_layer_is_the_plain_formula(case: tuple[Recurrent, Array, list[Array], bool]) -> None:
    layer, x, states, given = case
    state: Any = tuple(states) if isinstance(layer, nn.LSTM) else states[0]
    found: Any = layer(x, state) if given else layer(x)
    expected, ends = plain(layer, x.swapaxes(0, 1) if layer.batch_first else x, states)
    assert_close(found[0], (expected.swapaxes(0, 1) if layer.batch_first else expected).astype(x.dtype), case)
    for one, other in zip(found[1] if isinstance(layer, nn.LSTM) else [found[1]], ends, strict=True):
        assert_close(one, other.astype(x.dtype), case)


@pytest.mark.parametrize("batch", [1, 2, 16, 33])
@pytest.mark.parametrize("layer", [nn.LSTM.init(20, 40, 2, bidirectional=True), nn.GRU.init(20, 40, 2)], ids=repr)
def test_wide_layer_gives_each_element_of_a_batch_what_it_gets_alone(layer: Recurrent, batch: int) -> None:
    x = random(9, batch, 20)
    whole = layer(x)[0]
    np.testing.assert_allclose(np.stack([layer(x[:, n])[0] for n in range(batch)], axis=1), whole, atol=1e-6)


@pytest.mark.parametrize("scale", [-1e4, 1e4, 3e38])
@pytest.mark.parametrize("layer", [nn.LSTM.init(3, 4, 2), nn.GRU.init(3, 4, 2)], ids=repr)
def test_saturated_gates_raise_no_warning(layer: Recurrent, scale: float) -> None:
    x = np.full((5, 2, 3), scale, np.float32) * np.array([1, 0, 0], np.float32)
    output = layer(x)[0]
    assert (np.abs(output) <= 1).all()


@pytest.mark.parametrize("layer", [nn.LSTM.init(3, 4), nn.GRU.init(3, 4)], ids=repr)
def test_returned_state_shares_no_memory_with_what_was_given_or_returned(layer: Recurrent) -> None:
    x, start = random(5, 2, 3), random(1, 2, 4)
    state: Any = (start, start) if isinstance(layer, nn.LSTM) else start
    output, last = layer(x, state)
    parts = last if isinstance(last, tuple) else (last,)
    for part in parts:
        assert not np.shares_memory(part, output)
        assert not np.shares_memory(part, start)
        assert part.flags.writeable


@pytest.mark.parametrize("layer", [nn.LSTM.init(3, 4), nn.GRU.init(3, 4)], ids=repr)
def test_output_and_state_lie_in_memory_in_their_own_order(layer: Recurrent) -> None:
    for x in (random(5, 2, 3), random(5, 3)):
        output, last = layer(x)
        for array in (output, *(last if isinstance(last, tuple) else (last,))):
            assert array.flags.c_contiguous
