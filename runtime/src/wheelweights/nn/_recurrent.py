"""Recurrent layers: LSTM and GRU.

The names and shapes of the parameters give everything that torch's constructors ask for, so a layer here is its
parameters and `batch_first`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from wheelweights.errors import SHOWN_ITEMS, listed
from wheelweights.nn._arrays import Array, LayerError, narrowed, unfit, widened
from wheelweights.nn._layer import Layer
from wheelweights.nn._starts import uniform

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.random import Generator

    from wheelweights.nn._layer import Fault, Shapes

KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


@dataclass(eq=False, repr=False)
class _Recurrent(Layer):
    """Fields and calls that LSTM and GRU share."""

    parameters: dict[str, Array] = field(metadata={"flatten": True})
    """Every parameter under torch's own name: `weight_ih_l0`, `weight_hh_l0`, ..., `weight_ih_l1_reverse`."""
    batch_first: bool = False

    gates: ClassVar[int]

    @property
    def input_size(self) -> int:
        """Features of an input element."""
        return int(self._first.shape[1])

    @property
    def hidden_size(self) -> int:
        """Features of the state (of an LSTM with projections: of the cell)."""
        return len(self._first) // self.gates

    @property
    def num_layers(self) -> int:
        """Number of stacked layers."""
        return sum(name.startswith("weight_ih_") and not name.endswith("_reverse") for name in self.parameters)

    @property
    def bidirectional(self) -> bool:
        """Whether each layer also reads from the end."""
        return any(name.endswith("_reverse") for name in self.parameters)

    @property
    def bias(self) -> bool:
        """Whether there are biases."""
        return any(name.startswith("bias_") for name in self.parameters)

    @property
    def proj_size(self) -> int:
        """Features of an output element where an LSTM projects it, else 0."""
        projection = self.parameters.get("weight_hr_l0")
        return 0 if projection is None else len(projection)

    @classmethod
    def __check_shapes__(cls, shapes: Shapes) -> Iterator[Fault]:
        if len(shapes.get("weight_ih_l0", ())) != 2:
            if shapes:
                yield "weight_ih_l0", "2 axes", shapes.get("weight_ih_l0", "none")
            return
        for name, (expected, found) in _misfits(cls.gates, shapes).items():
            yield name, expected, found

    @property
    def _first(self) -> Array:
        if "weight_ih_l0" not in self.parameters:
            raise unfit(type(self).__name__, "a parameter `weight_ih_l0`", listed(self.parameters))
        return self.parameters["weight_ih_l0"]

    def _run(self, x: Array, state: Sequence[Array] | None, sizes: tuple[int, ...]) -> tuple[Array, list[Array]]:
        """Run all layers and directions; `sizes` are the features of each part of the state."""
        _check(self, x)
        unbatched, swapped = x.ndim == 2, x.ndim == 3 and self.batch_first
        batch = () if unbatched else (x.shape[1 - swapped],)
        suffixes = ("", "_reverse") if self.bidirectional else ("",)
        count = self.num_layers * len(suffixes)
        starts = _starts(self, state, [(count, *batch, size) for size in sizes])

        wide, *arrays = widened(x, *starts, *self.parameters.values())
        states, parameters = arrays[: len(sizes)], dict(zip(self.parameters, arrays[len(sizes) :], strict=True))
        sequence = wide[:, None] if unbatched else wide.swapaxes(0, 1) if swapped else wide
        states = [part[:, None] if unbatched else part for part in states]
        sequence, ends = self._stacked(sequence, parameters, states, suffixes)
        output = sequence[:, 0] if unbatched else sequence.swapaxes(0, 1) if swapped else sequence
        last = [np.stack(parts)[:, 0] if unbatched else np.stack(parts) for parts in zip(*ends, strict=True)]
        return narrowed(np.ascontiguousarray(output), x), [narrowed(part, x) for part in last]

    def _stacked(
        self, sequence: Array, parameters: dict[str, Array], states: list[Array], suffixes: tuple[str, ...]
    ) -> tuple[Array, list[list[Array]]]:
        """Run each layer on the output of the one before; return the last output, and all states at the end."""
        ends: list[list[Array]] = []
        (length, batch, _), size = sequence.shape, states[0].shape[-1]
        for number in range(self.num_layers):
            output = np.empty((length, len(suffixes) * size, batch), sequence.dtype)
            for place, suffix in enumerate(suffixes):
                names = {kind: f"{kind}_l{number}{suffix}" for kind in KINDS}
                own = {kind: parameters[name] for kind, name in names.items() if name in parameters}
                start = [part[len(ends)].T for part in states]
                filled, direction = output[:, place * size : (place + 1) * size], -1 if suffix else 1
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                    end = self._scan(sequence[::direction], own, start, filled[::direction])
                ends.append([part.T.copy() for part in end])
            sequence = output.swapaxes(1, 2)
        return sequence, ends

    @staticmethod
    def _scan(x: Array, parameters: dict[str, Array], state: list[Array], output: Array) -> list[Array]:
        """Read `x` (L, N, features) in order with the parameters of one layer, fill `output`; return the last state.

        Outputs (L, size, N), states (size, N) and gates have the batch last. Each gate is then one piece of memory, and
        the weights meet a narrow matrix as they are stored: the product at which BLAS is quickest. Gates are computed
        with the opposite sign, since sigmoid(x) is 1 / (1 + exp(-x)) and tanh is odd; 1 + exp(-x) divides at once.
        """
        raise NotImplementedError


class LSTM(_Recurrent):
    """Long short-term memory, as torch.nn.LSTM: any number of layers, both directions, projections; no dropout.

    `lstm(x)` or `lstm(x, (h_0, c_0))` returns `(output, (h_n, c_n))`. `x` is (L, N, features), with `batch_first` (N,
    L, features), or (L, features) without a batch; the output likewise. The states are (layers * directions, N, size),
    or without N.
    """

    gates = 4

    @classmethod
    def init(
        cls,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        *,
        bidirectional: bool = False,
        proj_size: int = 0,
        rng: Generator | None = None,
    ) -> Self:
        """Return random parameters as torch starts them: all uniform within 1 / sqrt(hidden_size)."""
        shapes = _shapes(
            (cls.gates, input_size, hidden_size, proj_size),
            num_layers=num_layers,
            bias=bias,
            bidirectional=bidirectional,
        )
        return cls(_random(rng, shapes, hidden_size), batch_first)

    def __call__(self, x: Array, state: tuple[Array, Array] | None = None) -> tuple[Array, tuple[Array, Array]]:
        output, (hidden, cell) = self._run(np.asarray(x), state, (self.proj_size or self.hidden_size, self.hidden_size))
        return output, (hidden, cell)

    @staticmethod
    def _scan(x: Array, parameters: dict[str, Array], state: list[Array], output: Array) -> list[Array]:
        recur, project = parameters["weight_hh"], parameters.get("weight_hr")
        bias = parameters["bias_ih"] + parameters["bias_hh"] if "bias_ih" in parameters else None
        hidden, start = state
        size, one = len(start), np.ones((), x.dtype)
        gates = np.empty((len(recur), x.shape[1]), x.dtype)
        enter_and_keep, fresh, leave = np.split(gates, [2 * size, 3 * size])
        change_and_cell = np.empty_like(enter_and_keep)
        change, cell = np.split(change_and_cell, 2)
        cell[...] = start
        for entering, filled in zip(_entering(x, parameters["weight_ih"], bias), output, strict=True):
            np.dot(recur, hidden, out=gates)
            np.subtract(entering, gates, out=gates)
            np.tanh(fresh, out=change)
            np.exp(gates, out=gates)
            gates += one
            change_and_cell /= enter_and_keep
            cell -= change
            shown = np.tanh(cell)
            if project is None:
                hidden = np.divide(shown, leave, out=filled)
            else:
                shown /= leave
                hidden = np.dot(project, shown, out=filled)
        return [hidden, cell]


class GRU(_Recurrent):
    """Gated recurrent unit, as torch.nn.GRU: any number of layers, both directions; no dropout.

    `gru(x)` or `gru(x, h_0)` returns `(output, h_n)`; shapes as `LSTM` has them.
    """

    gates = 3

    @classmethod
    def init(
        cls,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        *,
        bidirectional: bool = False,
        rng: Generator | None = None,
    ) -> Self:
        """Return random parameters as torch starts them: all uniform within 1 / sqrt(hidden_size)."""
        shapes = _shapes(
            (cls.gates, input_size, hidden_size, 0), num_layers=num_layers, bias=bias, bidirectional=bidirectional
        )
        return cls(_random(rng, shapes, hidden_size), batch_first)

    def __call__(self, x: Array, state: Array | None = None) -> tuple[Array, Array]:
        output, (hidden,) = self._run(np.asarray(x), None if state is None else (state,), (self.hidden_size,))
        return output, hidden

    @staticmethod
    def _scan(x: Array, parameters: dict[str, Array], state: list[Array], output: Array) -> list[Array]:
        recur, bias = parameters["weight_hh"], parameters.get("bias_hh")
        (hidden,) = state
        size, one = len(hidden), np.ones((), x.dtype)
        gates = np.empty((len(recur), x.shape[1]), x.dtype)
        reset_and_update, fresh = np.split(gates, [2 * size])
        reset, update = np.split(reset_and_update, 2)
        if bias is not None:
            bias = np.repeat(bias[:, None], x.shape[1], axis=1)
        steps = _entering(x, parameters["weight_ih"], parameters.get("bias_ih"))
        for entering, filled in zip(steps, output, strict=True):
            np.dot(recur, hidden, out=gates)
            if bias is not None:
                gates += bias
            np.subtract(entering[: 2 * size], reset_and_update, out=reset_and_update)
            np.exp(reset_and_update, out=reset_and_update)
            reset_and_update += one
            fresh /= reset
            np.subtract(entering[2 * size :], fresh, out=fresh)
            np.tanh(fresh, out=fresh)
            hidden = np.add(hidden, fresh, out=filled)
            hidden /= update
            hidden -= fresh
        return [hidden]


def _starts(layer: _Recurrent, state: Sequence[Array] | None, shapes: list[tuple[int, ...]]) -> list[Array]:
    """Return the parts of the state at the start: those given, which must have the shapes, or zeros."""
    if state is None:
        return [np.zeros(shape, np.float32) for shape in shapes]
    name = type(layer).__name__
    if len(state) != len(shapes):
        raise unfit(name, f"a state of {len(shapes)} arrays", len(state))
    parts = [np.asarray(part) for part in state]
    for part, shape in zip(parts, shapes, strict=True):
        if part.shape != shape:
            raise unfit(name, f"a state of shape {shape}", part.shape)
    return parts


def _entering(x: Array, weight: Array, bias: Array | None) -> Array:
    """Return what the input takes off the gates, for all steps in one product: (L, N, F) -> (L, gates * hidden, N)."""
    length, batch, features = x.shape
    rows = np.negative(x, order="C").reshape(length * batch, features)
    if batch == 1:  # so that each step is one piece of memory
        result: Array = (rows @ weight.T)[..., None]
    else:
        result = (weight @ rows.T).reshape(len(weight), length, batch).swapaxes(0, 1)
    if bias is not None:
        result -= bias[:, None]
    return result


def _shapes(
    sizes: tuple[int, int, int, int], *, num_layers: int, bias: bool, bidirectional: bool
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters in torch's order; `sizes`: gates, input, hidden, projection."""
    gates, input_size, hidden_size, proj_size = sizes
    shapes: dict[str, tuple[int, ...]] = {}
    output_size, rows = proj_size or hidden_size, gates * hidden_size
    for number in range(num_layers):
        entering = output_size * (1 + bidirectional) if number else input_size
        for suffix in ("", "_reverse")[: 1 + bidirectional]:
            kinds: dict[str, tuple[int, ...]] = {"weight_ih": (rows, entering), "weight_hh": (rows, output_size)}
            if bias:
                kinds |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if proj_size:
                kinds["weight_hr"] = (proj_size, hidden_size)
            shapes |= {f"{kind}_l{number}{suffix}": shape for kind, shape in kinds.items()}
    return shapes


def _random(rng: Generator | None, shapes: dict[str, tuple[int, ...]], hidden_size: int) -> dict[str, Array]:
    rng = np.random.default_rng() if rng is None else rng
    return {name: uniform(rng, shape, hidden_size**-0.5) for name, shape in shapes.items()}


def _check(layer: _Recurrent, x: Array) -> None:
    name = type(layer).__name__
    if x.ndim not in {2, 3} or x.shape[-1] != layer.input_size:
        layout = "N, L" if layer.batch_first else "L, N"
        raise unfit(name, f"an input of shape ({layout}, {layer.input_size}) or (L, {layer.input_size})", x.shape)
    if x.shape[0 if x.ndim == 2 else int(layer.batch_first)] == 0:
        raise unfit(name, "a sequence of at least one element", x.shape)
    found_shapes = {key: array.shape for key, array in layer.parameters.items()}
    misfits = _misfits(layer.gates, found_shapes)
    if misfits:
        raise LayerError(
            f"{name}: the parameters do not fit together",
            details=[f"`{key}`: expected shape {one}, found {other}" for key, (one, other) in misfits.items()][
                :SHOWN_ITEMS
            ],
            expected=_fitting(layer.gates, found_shapes),
            found=found_shapes,
        )


def _fitting(gates: int, found: Shapes) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes that fit those found: to the first weight, as many layers and directions."""
    rows, columns = found["weight_ih_l0"]
    projection = (*found.get("weight_hr_l0", ()), 0)[0] if gates == LSTM.gates else 0
    return _shapes(
        (gates, columns, rows // gates, projection),
        num_layers=sum(name.startswith("weight_ih_") and not name.endswith("_reverse") for name in found),
        bias=any(name.startswith("bias_") for name in found),
        bidirectional=any(name.endswith("_reverse") for name in found),
    )


def _misfits(gates: int, found: Shapes) -> dict[str, tuple[object, object]]:
    """Return, by name, the shape expected and the shape found of each parameter that does not fit the others."""
    expected = _fitting(gates, found)
    return {
        name: (expected.get(name, "none"), found.get(name, "none"))
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    }
