"""From the tree of a checkpoint to a flat state_dict: the part that is asked for, with dotted keys.

Knows `top_level_key` and `whole_model`, what counts as a state_dict, and how to say what a checkpoint holds instead.
What a node has below it is counted by `_survey`; the walk here enters only nodes that have tensors below them.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hatch_wheelweights.checkpoint import Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.values import type_name
from hatch_wheelweights.errors import TOP_LEVEL_KEY, WHOLE_MODEL, CheckpointError, Do, Set, Setting, Words
from hatch_wheelweights.steps.remap import MAX_COMPARED_KEYS, MAX_KEY_CHARACTERS
from hatch_wheelweights.steps.survey import MAX_DEPTH, Survey, children_of, is_foreign, is_module, part_of_key
from wheelweights.errors import SHOWN_CHARACTERS, SHOWN_ITEMS, backticked, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hatch_wheelweights.checkpoint import Account

__all__ = ["flatten", "select"]

MAX_TENSORS: Final = 1_000_000
MAX_KEYS_PER_NAME: Final = 16  # where dicts are shared, a name in the file stands for several keys
MAX_SHOWN_PLACE: Final = 200

# What the name of a tensor costs in all of the steps together, with its row in the report
STEPS_PER_NAME: Final = 6
STEPS_PER_PART: Final = 2
CHARACTERS_PER_STEP: Final = 64
BYTES_PER_NAME: Final = 400
BYTES_PER_PART: Final = 100

_NO_CODE: Final = "No code from the file is run, so the class cannot be rebuilt here."
_SAVE_IN_A_DICT: Final = 'Save tensors in a dict: torch.save({"weight": tensor}, "model.pt")'
_SAVE_AGAIN: Final = 'Save it again where torch is installed: torch.save(model.state_dict(), "model.pt")'


def select(tree: Any, top_level_key: str | Iterable[str] | None, *, whole_model: bool) -> Survey:
    """Return the survey of the part of a tree that is the state_dict: the root, or what a (nested) key leads to.

    Without a key the root has to hold a tensor directly, or nothing but tensors below several names. Raises
    CheckpointError with a list of what there is instead, and the line to add where exactly one child is a state_dict.
    """
    keys = [top_level_key] if isinstance(top_level_key, str) else [str(key) for key in top_level_key or ()]
    node = tree
    for i, key in enumerate(keys):
        below = _by_part(node, whole_model)
        if key not in below:
            raise _missing_key(node, key, keys[:i], whole_model)
        node = below[key]
    surveyed = Survey(node, whole_model)
    _require_tensors(surveyed, keys)
    if not keys:
        _require_state_dict(surveyed)
    return surveyed


def flatten(part: Survey, add_other: Callable[[str, str], object], account: Account) -> dict[str, LazyTensor]:
    """Return the tensors of the selected part under their dotted keys, in the checkpoint's order.

    `add_other` is given the key and a description of every plain value; `account` is charged for every name. Raises
    CheckpointError for objects of unknown classes in the part, for two tensors of one key, and for a part beyond the
    limits.
    """
    if part.fault:
        raise part.fault
    most = min(MAX_TENSORS, max(10_000, MAX_KEYS_PER_NAME * part.named_tensors))
    if part[part.root].tensors > most:
        raise CheckpointError(f"expected at most {most:,} tensors, found {part[part.root].tensors:,}")
    if part[part.root].foreign:
        raise _foreign(part)
    tensors: dict[str, LazyTensor] = {}
    places: dict[str, _Place] = {}
    for key, place, value in _walk(part):
        account.charge(1 + len(key) // CHARACTERS_PER_STEP)
        if not isinstance(value, LazyTensor):
            add_other(key, _described(value))
            continue
        if key in tensors:
            raise CheckpointError(
                f"two tensors have the key {backticked(key)}: {_shown_place(places[key])} and {_shown_place(place)}",
                remedy=Do("Rename one of them in torch, or set ", TOP_LEVEL_KEY, " to a part that holds one only."),
            )
        parts = key.count(".") + 1
        account.charge(STEPS_PER_NAME + STEPS_PER_PART * parts, BYTES_PER_NAME + BYTES_PER_PART * parts + 2 * len(key))
        tensors[key], places[key] = value.named(key), place
    return tensors


# A place is where a value stands: the place of its container, and its name there.
_Place = tuple[Any, ...]


def _walk(part: Survey) -> Iterator[tuple[str, _Place, Any]]:
    """Yield key, place and value of all that is below, in order; enter what has tensors or unknown classes below it."""
    frames: list[tuple[str, Any, Iterator[tuple[Any, Any]]]] = [("", (), iter(_entered(part, part.root, "") or ()))]
    while frames:
        prefix, parent, children = frames[-1]
        for name, value in children:
            content, place = part[value], (parent, name)
            worthwhile = bool(content.tensors or content.foreign)
            key = prefix + _key_text(name, place, required=worthwhile)
            if len(frames) > MAX_DEPTH or len(key) > MAX_KEY_CHARACTERS:
                raise _beyond_limits(key, len(frames))
            entered = _entered(part, value, key) if worthwhile else None
            if entered is not None:
                frames.append((f"{key}.", place, iter(entered)))
                break
            yield key, place, value
        else:
            frames.pop()


def _beyond_limits(key: str, depth: int) -> CheckpointError:
    if depth > MAX_DEPTH:
        return CheckpointError(f"the key {backticked(key)} is more than {MAX_DEPTH:,} levels deep")
    return CheckpointError(f"the key {backticked(key)} has more than {MAX_KEY_CHARACTERS:,} characters")


def _entered(part: Survey, node: Any, key: str) -> Iterable[tuple[Any, Any]] | None:
    if isinstance(node, (set, frozenset)):
        raise CheckpointError(
            f"expected tensors in a dict, list or tuple, found a set of them at {backticked(key)}",
            remedy="Save them as a list: a set has no order to number them by.",
        )
    return children_of(node, whole_model=part.whole_model)


def _key_text(name: Any, place: _Place, *, required: bool) -> str:
    text = part_of_key(name)
    if text is not None:
        return text
    if required:
        raise CheckpointError(
            f"expected text or numbers as keys of tensors, found a {type_name(name)} at {_shown_place(place)}"
        )
    return _shown_name(name)


def _shown_name(name: Any) -> str:
    text = part_of_key(name)
    return f"<{type_name(name)}>" if text is None else text


def _shown_place(place: _Place) -> str:
    names: list[str] = []
    while place:
        place, name = place
        names.append(f"[{name}]" if isinstance(name, int) else f"[{quoted(_shown_name(name))}]")
    shown = "".join(reversed(names))
    return shown if len(shown) <= MAX_SHOWN_PLACE else f"{shown[:MAX_SHOWN_PLACE]}..."


# What is wrong with the part


def _require_tensors(part: Survey, keys: Sequence[str]) -> None:
    """Raise CheckpointError unless the part is a container with a tensor in it."""
    node, where = part.root, _under(keys, "under")
    if isinstance(node, LazyTensor):
        raise CheckpointError(
            f"expected a state_dict{where}, found a single tensor",
            found="tensor",
            details=[] if keys else ["The tensor itself is `open_checkpoint(...).tree`."],
            remedy=Do("Set ", TOP_LEVEL_KEY, " to the dict that holds it.") if keys else _SAVE_IN_A_DICT,
        )
    if is_module(node) and not part.whole_model:
        raise _whole_model(node, where)
    if isinstance(node, (Global, Opaque)) and not is_module(node):
        raise CheckpointError(
            f"expected a state_dict{where}, found {backticked(node)}",
            found=str(node),
            details=[_NO_CODE],
            remedy=_SAVE_AGAIN,
        )
    if not part[node].tensors and not part[node].foreign:
        if part.fault:
            raise part.fault
        children = _by_part(node, part.whole_model)
        raise CheckpointError(
            f"expected a state_dict{where}, found {_kind(node, part)} without any tensor",
            found=_kind(node, part),
            details=[f"It holds {_listing(children, part)}."] if children else [],
            remedy=Do("Set ", TOP_LEVEL_KEY, " to the part that holds the tensors.") if keys else _SAVE_IN_A_DICT,
        )


def _require_state_dict(part: Survey) -> None:
    """Raise CheckpointError unless the root holds a tensor directly, or nothing but tensors below several names."""
    children = _by_part(part.root, part.whole_model)
    if _has_direct_tensor(children) or is_module(part.root):
        return
    # One dict in another is a state_dict in its wrapper; a list of tensors has no other name than its key
    wrapper = isinstance(part.root, dict) and [type_name(child) for child in part.root.values()] == ["dict"]
    if wrapper or not _all_tensors(part.root, part):
        raise CheckpointError(
            f"expected a state_dict, found {_listing(children, part)}",
            found=tuple(children),
            remedy=_what_to_set((), _candidates(children, part), part),
        )


def _candidates(children: dict[str, Any], part: Survey) -> dict[str, Any]:
    """Return the children that could be meant: state_dicts, else whole models, else what holds a tensor directly."""
    for likely in (_all_tensors, _is_whole_model, _holds_tensor):
        # Each value once: many names may share it
        verdicts = {
            id(value): likely(value, part) for value in {id(value): value for value in children.values()}.values()
        }
        found = {key: value for key, value in children.items() if verdicts[id(value)]}
        if found:
            return found
    return {}


def _all_tensors(node: Any, part: Survey) -> bool:
    content = part[node]
    plain_container = isinstance(node, (dict, list, tuple))
    return plain_container and content.tensors > 0 and not content.foreign and not content.plain


def _is_whole_model(node: Any, _: Survey) -> bool:
    return is_module(node)


def _holds_tensor(node: Any, part: Survey) -> bool:
    return not is_module(node) and _has_direct_tensor(_by_part(node, part.whole_model))


def _has_direct_tensor(children: dict[str, Any]) -> bool:
    return any(isinstance(value, LazyTensor) for value in children.values())


def _what_to_set(above: Sequence[str], candidates: dict[str, Any], part: Survey) -> Do | Set:
    """Return the remedy where no child, one or several could be meant."""
    if not candidates:
        return Do("Set ", TOP_LEVEL_KEY, " to the key, or the list of nested keys, that holds the tensors.")
    if len(candidates) > 1:
        listing = ", ".join(map(backticked, islice(candidates, SHOWN_ITEMS)))
        return Do("Set ", TOP_LEVEL_KEY, f" to one of {listing}.")
    ((key, value),) = candidates.items()
    needs_option = is_module(value) and not part.whole_model
    return Set({TOP_LEVEL_KEY: _shortened([*above, key])} | ({WHOLE_MODEL: True} if needs_option else {}))


def _missing_key(node: Any, key: str, above: Sequence[str], whole_model: bool) -> CheckpointError:
    """Return the error that lists what there is instead of a top-level key."""
    part = Survey(node, whole_model)
    children = _by_part(node, whole_model)
    remedy: Do | Set = _what_to_set(above, _candidates(children, part), part)
    if near := nearest(key, islice(children, MAX_COMPARED_KEYS)):
        remedy = Do("Did you mean ", Setting(TOP_LEVEL_KEY, _shortened([*above, near])), "?")
    if key.partition(".")[2] in _by_part(children.get(key.partition(".")[0]), whole_model):
        remedy = Do("Did you mean ", Setting(TOP_LEVEL_KEY, _shortened([*above, *key.split(".", 1)])), "?")
    return CheckpointError(
        f"expected top-level key {backticked(key)}{_under(above, 'below')}, found {_listing(children, part)}",
        expected=key,
        found=tuple(children),
        remedy=remedy,
    )


def _foreign(part: Survey) -> CheckpointError:
    """Return the error about the objects of unknown classes in the part."""
    found = ((key, value) for key, _, value in _walk(part) if is_foreign(value))
    shown = list(islice(found, SHOWN_ITEMS))
    for key, value in shown:
        if isinstance(value, Opaque) and is_module(value):
            return _whole_model(value, f" at {backticked(key)}")
    more = part[part.root].foreign - len(shown)
    names = ", ".join(f"{backticked(key)} ({backticked(value)})" for key, value in shown)
    return CheckpointError(
        f"expected tensors and plain values, found {names}{f' and {more:,} more' if more else ''}",
        found=tuple(key for key, _ in shown),
        details=[_NO_CODE],
        remedy=Do("Set ", TOP_LEVEL_KEY, " to a part without them, or save the file again without them."),
    )


def _whole_model(module: Opaque, where: str) -> CheckpointError:
    return CheckpointError(
        f"expected a state_dict{where}, found a whole pickled model ({backticked(module)})",
        found=str(module),
        details=[
            _NO_CODE,
            Words("Its parameters can be taken without running any: ", Setting(WHOLE_MODEL, True), "."),
        ],
        remedy=_SAVE_AGAIN,
    )


# How a part is shown


def _by_part(node: Any, whole_model: bool) -> dict[str, Any]:
    """Return what a node holds by part of key; nothing for a leaf."""
    named = ((part_of_key(name), value) for name, value in children_of(node, whole_model=whole_model) or ())
    return {name: value for name, value in named if name is not None}


def _listing(children: dict[str, Any], part: Survey) -> str:
    """Return the keys, sorted, with what they hold: the first 8, then how many more."""
    shown = ", ".join(f"{backticked(key)} ({_kind(children[key], part)})" for key in sorted(children)[:SHOWN_ITEMS])
    more = len(children) - SHOWN_ITEMS
    return f"{shown} and {more:,} more" if more > 0 else shown or _kind(part.root, part)


def _kind(value: Any, part: Survey) -> str:
    if isinstance(value, LazyTensor):
        return "tensor"
    if is_module(value):
        return f"whole model {backticked(value)}"
    if isinstance(value, (Global, Opaque)):
        return backticked(value)
    if _all_tensors(value, part):
        count = part[value].tensors
        return f"{count:,} tensor{'s' if count != 1 else ''}"
    return type_name(value)


def _described(value: Any) -> str:
    """Describe a value that is no tensor in a few words: its type and, where it is one number or text, itself."""
    kind = type_name(value)
    if isinstance(value, (str, bytes)):
        return f"{kind} {quoted(value[:SHOWN_CHARACTERS])}"
    if isinstance(value, (int, float, complex, np.generic)):
        return f"{kind} {backticked(value)[1:-1]}"
    return "None" if value is None else f"{kind} of {len(value):,}" if hasattr(value, "__len__") else kind


def _under(keys: Sequence[str], word: str) -> str:
    return f" {word} {backticked('.'.join(keys))}" if keys else ""


def _shortened(keys: Sequence[str]) -> str | list[str]:
    """Return a key as an option has it, or several, cut where a hostile file makes them long."""
    cut = [key[:SHOWN_CHARACTERS] for key in keys[:SHOWN_ITEMS]]
    return cut[0] if len(cut) == 1 else cut
