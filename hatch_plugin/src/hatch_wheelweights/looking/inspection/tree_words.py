"""What a line says of a module or a tensor: shapes, classes and settings, statistics.

Knows sentences; knows no widths but those that it is given. Names and values come from files, so whatever a terminal
could obey is escaped here.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.looking.texts import human_count, key_text, shape_text, shortened
from hatch_wheelweights.looking.words import dtype_text, note
from wheelweights.errors import counted, printable
from wheelweights.plain import is_sequence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hatch_wheelweights.checkpoint.module_classes import ModuleClass
    from hatch_wheelweights.errors import Spelling
    from hatch_wheelweights.looking.inspection.statistics import Statistics
    from hatch_wheelweights.looking.inspection.tensors import TensorFacts
    from hatch_wheelweights.looking.inspection.tree import Node, TreeRow

__all__ = [
    "ASCII_BARS",
    "BARS",
    "class_text",
    "contents_text",
    "name_text",
    "node_note",
    "number_text",
    "share_text",
    "sparkline",
]

SHOWN_TENSORS: Final = 8  # of a module, on one line

# What the shapes of a layer's tensors say already
_IN_SHAPES: Final = {
    "bias", "embedding_dim", "in_channels", "in_features", "kernel_size", "normalized_shape", "num_embeddings",
    "num_features", "out_channels", "out_features",
}  # fmt: skip
# What torch's layers have unless they are told otherwise
_USUAL: Final[dict[str, tuple[object, ...]]] = {
    "affine": (True,),
    "batch_first": (False,),
    "bidirectional": (False,),
    "ceil_mode": (False,),
    "dilation": (1, (1,), (1, 1), (1, 1, 1)),
    "dropout": (0.0,),
    "elementwise_affine": (True,),
    "groups": (1,),
    "inplace": (False, True),
    "return_indices": (False,),
    "momentum": (0.1,),
    "norm_type": (2.0,),
    "num_layers": (1,),
    "output_padding": ((0,), (0, 0), (0, 0, 0)),
    "padding_mode": ("zeros",),
    "proj_size": (0,),
    "scale_grad_by_freq": (False,),
    "sparse": (False,),
    "track_running_stats": (True,),
    "transposed": (False, True),
}
BARS: Final = "▁▂▃▄▅▆▇█"  # of a histogram, the lowest first
ASCII_BARS: Final = "_.-:=+*#"  # where there is nothing else


def name_text(row: TreeRow) -> str:
    """Return a node's name, and how many it stands for."""
    many = f" ({row.node.count:,} x)" if row.node.count > 1 else ""
    return (key_text(row.name) or ("(the root)" if row.node.tensor and not row.node.key else "''")) + many


def contents_text(row: TreeRow) -> str:
    """Return what a node is: of a tensor, shape and dtype; of a module, its class, and what a closed one holds.

    Where parents are folded, `12 x` says how often it is there: sizes are of all of them.
    """
    node = row.node
    times = f"{node.times:,} x " if node.times > 1 else ""
    if node.tensor is not None:
        return f"{times}{shape_text(node.tensor.shape)} {dtype_text(node.tensor)}"
    said = [class_text(node.module)] if node.module is not None else []
    if not row.is_open and node.children:
        said += [times + (_tensors_text(node) if node.is_leaf_module else _modules_text(node))]
    each = [f"{human_count(node.each.values)} each"] if node.count > 1 and node.each.values else []
    return "; ".join(filter(None, [*said, *each]))


def class_text(module: ModuleClass) -> str:
    """Return the name of a class, without its modules, and the settings that neither it, shapes nor custom say."""
    kind = module.name.rpartition(".")[2]
    settings = {name: value for name, value in module.settings.items() if not _is_known(name, value, kind)}
    shown = [f"{name} {_setting(value)}" for name, value in settings.items()]
    return printable(" ".join(filter(None, [shortened(kind), ", ".join(shown)])))


def _is_known(name: str, value: object, kind: str) -> bool:
    """Tell whether a setting of a class says nothing new; the `mode` of an LSTM is "LSTM"."""
    usual = (None, kind, *_USUAL.get(name, ()))
    return name in _IN_SHAPES or any(value == one for one in usual)


def _setting(value: object) -> str:
    """Return a value; of a tuple of equal ones, such as a stride, that one."""
    if is_sequence(value) and len(value) > 1 and len(set(map(repr, value))) == 1:
        return repr(value[0])
    return shortened(repr(value))


def _modules_text(node: Node) -> str:
    modules = sum(child.count for child in node.children if child.tensor is None)
    per_module = node.each.tensors
    return f"{counted(modules, 'module')}, {counted(per_module, 'tensor')}"


def _tensors_text(node: Node) -> str:
    """Return the tensors of a module, those that follow each other with one shape together."""
    groups: list[tuple[list[str], str]] = []
    for child in islice(node.children, SHOWN_TENSORS):
        shape = "" if child.tensor is None else shape_text(child.tensor.shape)
        if groups and groups[-1][1] == shape:
            groups[-1][0].append(child.name)
        else:
            groups.append(([child.name], shape))
    more = [f"and {len(node.children) - SHOWN_TENSORS:,} more"] if len(node.children) > SHOWN_TENSORS else []
    return ", ".join([*(f"{', '.join(map(_short_name, names))} {shape}" for names, shape in groups), *more])


def _short_name(name: str) -> str:
    return printable(shortened(name, 60))


def node_note(row: TreeRow, spelling: Spelling, state_dicts: frozenset[str] = frozenset()) -> str:
    """Return what is particular about a node: what is wrong with its values, where it comes from, what is noted."""
    return "; ".join(_notes(row, spelling, state_dicts))


def _notes(row: TreeRow, spelling: Spelling, state_dicts: frozenset[str]) -> Iterator[str]:
    node = row.node
    if node.key in state_dicts:
        yield "<- a state_dict"
    if node.statistics is not None:
        yield from _oddities(node.statistics)
    if row.source is not None:
        others = " and others" if node.source is not None and node.count > 1 else ""
        yield f"from {printable(shortened(row.source)) or 'the root'}{others}"
    elif node.renamed:
        yield f"{node.renamed:,} renamed"
    if node.tensor is not None and (said := note(node.tensor, spelling)):
        yield said
    if not row.is_open:
        yield from _notes_within(node)


def _notes_within(node: Node) -> Iterator[str]:
    """Yield how many of the tensors in a closed module have which note."""
    below = list(node.below())
    tensors = [(each.tensor, len(each.keys)) for each in below if each.tensor is not None]
    if left_out := sum(number for tensor, number in tensors if not tensor.kept):
        yield f"{left_out:,} left out"
    if unread := sum(number for tensor, number in tensors if tensor.fault is not None):
        yield f"{unread:,} cannot be read"
    if tied := [(tensor, number) for tensor, number in tensors if tensor.tied_to is not None]:
        yield _ties(node, tied)
    if any(each.renamed for each in below):
        yield "renamed in it"


def _ties(node: Node, tied: Sequence[tuple[TensorFacts, int]]) -> str:
    (first, _), count = tied[0], sum(number for _, number in tied)
    if count > 1 or first.tied_to is None:
        return f"{count:,} tied"
    name = _short_name(first.key[len(node.key) + 1 :])
    shown = f"`{name}`" if name.isdecimal() else name  # no count
    return f"{shown} tied to {printable(shortened(first.tied_to))}"


def _oddities(statistics: Statistics) -> Iterator[str]:
    if statistics.nans:
        yield f"{statistics.nans:,} NaN"
    if statistics.infinities:
        yield f"{statistics.infinities:,} infinite"
    if statistics.dead_rows and not statistics.is_all_zero:
        yield f"{statistics.dead_rows:,} dead of {counted(statistics.rows, 'row')}"


# Statistics


def number_text(number: float | None) -> str:
    """Return a number with three digits; an integer of at most six as it is."""
    if number is None:
        return "-"
    if isinstance(number, int) and abs(number) < 1_000_000:
        return str(number)
    return f"{number:.3g}"


def share_text(part: int, whole: int) -> str:
    """Return what share of values something is; nothing only where there are none, everything only where all are."""
    if not part or not whole:
        return "0"
    share = 100 * part / whole
    if part == whole:
        return "all"
    return "<.1%" if share < 0.1 else ">99%" if share > 99 else f"{share:.1f}%" if share < 10 else f"{share:.0f}%"


def sparkline(histogram: tuple[int, ...], width: int, bars: str = BARS) -> str:
    """Return a histogram in so many characters of these eight; a bin with any value is never blank."""
    if not histogram:
        return ""
    step = len(histogram) // width
    bins = [sum(histogram[i : i + step]) for i in range(0, step * width, step)]
    highest = max(bins)
    return "".join(" " if not each else bars[(8 * each - 1) // highest] for each in bins)
