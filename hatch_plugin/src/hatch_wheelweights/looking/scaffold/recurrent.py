"""LSTM and GRU by the names and shapes of their parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hatch_wheelweights.looking.scaffold.calls import SIZE, Argument, Call, Layer

if TYPE_CHECKING:
    from hatch_wheelweights.looking.scaffold.settings import Settings

__all__ = ["gates_of", "recurrent"]

Shapes = dict[str, tuple[int, ...]]

_GATES: Final = {"nn.LSTM": 4, "nn.GRU": 3}
MAX_LAYERS: Final = 1000


def gates_of(shapes: Shapes) -> int | None:
    """Return how many gates the first layer has: 4 for an LSTM, 3 for a GRU; None where its shapes do not say."""
    rows = shapes.get("weight_ih_l0", ())
    hidden = shapes.get("weight_hr_l0", shapes.get("weight_hh_l0", ()))
    if len(rows) != 2 or len(hidden) != 2 or not hidden[1] or rows[0] % hidden[1]:
        return None
    return rows[0] // hidden[1]


def recurrent(type_: str, shapes: Shapes, settings: Settings) -> Layer | None:
    """Return the layer of a type, "nn.LSTM" or "nn.GRU"; None where the parameters are not exactly its own."""
    gates = _GATES[type_]
    if gates_of(shapes) != gates:
        return None
    rows, inputs = shapes["weight_ih_l0"]
    hidden = rows // gates
    layers = sum(name.startswith("weight_ih_") and not name.endswith("_reverse") for name in shapes)
    biased, both = "bias_ih_l0" in shapes, "weight_ih_l0_reverse" in shapes
    projected = shapes.get("weight_hr_l0", (0,))[0]
    if layers > MAX_LAYERS or shapes != _shapes(gates, (inputs, hidden, projected), layers, biased=biased, both=both):
        return None
    if projected and type_ != "nn.LSTM":
        return None
    arguments = (
        Argument("input_size", inputs, group=SIZE),
        Argument("hidden_size", hidden, group=SIZE),
        Argument("num_layers", layers, 1, "num_layers"),
        Argument("bias", biased, True, "bias"),
        settings.switch("batch_first"),
        Argument("bidirectional", both, False, "bidirectional"),
        *((Argument("proj_size", projected, 0, "proj_size"),) if type_ == "nn.LSTM" else ()),
    )
    return Layer(type_, Call(f"{type_}.init", arguments), tuple(settings.unknown))


def _shapes(gates: int, sizes: tuple[int, int, int], layers: int, *, biased: bool, both: bool) -> Shapes:
    """Return the shapes that torch's parameters have; `sizes` are those of input, hidden state and projection."""
    inputs, hidden, projected = sizes
    shapes: Shapes = {}
    outputs, rows = projected or hidden, gates * hidden
    for number in range(layers):
        entering = outputs * (1 + both) if number else inputs
        for end in ("", "_reverse")[: 1 + both]:
            kinds: dict[str, tuple[int, ...]] = {"weight_ih": (rows, entering), "weight_hh": (rows, outputs)}
            kinds |= {"bias_ih": (rows,), "bias_hh": (rows,)} if biased else {}
            kinds |= {"weight_hr": (projected, hidden)} if projected else {}
            shapes |= {f"{kind}_l{number}{end}": shape for kind, shape in kinds.items()}
    return shapes
