"""Which part of a checkpoint's tree is the state_dict.

Knows `top_level_key` and `whole_model`, what counts as a state_dict, and how to say what a checkpoint holds instead.
A key may lead into an object, because what an object holds is data; what a node has below it is counted by a `Survey`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.values import is_dict, type_name
from hatch_wheelweights.errors import TOP_LEVEL_KEY, WHOLE_MODEL, CheckpointError, Do, Set, Setting, Words
from hatch_wheelweights.steps.objects import carried, is_module
from hatch_wheelweights.steps.remap import MAX_COMPARED_KEYS
from hatch_wheelweights.steps.survey import Survey, by_part, children_of
from wheelweights.errors import SHOWN_CHARACTERS, SHOWN_ITEMS, backticked, counted, nearest
from wheelweights.plain import is_sequence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    from hatch_wheelweights.checkpoint import Account

__all__ = ["NO_CODE", "likely_parts", "select", "whole_model_error"]

MAX_WRAPPERS: Final = 6  # levels that are searched for what could be meant
MAX_SEARCHED: Final = 1_000  # nodes on each of them
MAX_OPENED: Final = 32  # objects

NO_CODE: Final = "No code from the file is run, so the class cannot be rebuilt here."
_SAVE_IN_A_DICT: Final = 'Save tensors in a dict: torch.save({"weight": tensor}, "model.pt")'
_SAVE_THE_MODEL: Final = 'Save the model itself where torch is installed: torch.save(model.state_dict(), "model.pt")'
_SAVE_AGAIN: Final = 'Save it again where torch is installed: torch.save(model.state_dict(), "model.pt")'


def select(tree: Any, top_level_key: str | Iterable[str] | None, account: Account, *, whole_model: bool) -> Survey:
    """Return the survey of the part of a tree that is the state_dict: the root, or what a (nested) key leads to.

    Without a key the root has to hold a tensor directly, or nothing but tensors below several names, and be no object
    but a module. `account` is charged for what is looked at. Raises CheckpointError with a list of what there is
    instead, and the line to add where exactly one part is a state_dict.
    """
    keys = [top_level_key] if isinstance(top_level_key, str) else [str(key) for key in top_level_key or ()]
    node = tree
    for i, key in enumerate(keys):
        below = by_part(node, account)
        if key not in below:
            raise _missing_key(Survey(node, whole_model, account), key, keys[:i])
        node = below[key]
    surveyed = Survey(node, whole_model, account)
    _require_tensors(surveyed, keys)
    if not keys:
        _require_state_dict(surveyed)
    return surveyed


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
        raise whole_model_error(node, where)
    if not keys and (training := _state_of_training(part)):
        raise CheckpointError(f"expected a state_dict, found {training}", remedy=_SAVE_THE_MODEL)
    content = part[node]
    if not keys and isinstance(node, Opaque) and children_of(node, whole_model=True) is None:
        raise _no_state_dict(part, keys)
    if content.tensors or (content.foreign and not keys and not isinstance(node, Opaque)):
        return
    if part.fault:
        raise part.fault
    if isinstance(node, (Global, Opaque)) and not is_module(node):
        raise _no_state_dict(part, keys)
    if is_dict(node) and _CONSTANTS in dict(carried(node)):
        raise CheckpointError(
            f"expected a state_dict{where}, found a frozen model, whose tensors are constants of its code",
            remedy="Save the model before torch.jit.freeze() or optimize_for_inference().",
        )
    children = part.parts(node)
    raise CheckpointError(
        f"expected a state_dict{where}, found {_kind(node, part)} without any tensor",
        found=_kind(node, part),
        details=[f"It holds {_listing(children, part)}."] if children else [],
        remedy=_remedy_below(part, keys) or (_NAME_THE_PART if keys else _SAVE_IN_A_DICT),
    )


_CONSTANTS: Final = "constants"  # as the reader of TorchScript calls them
_NAME_THE_PART: Final = Do("Set ", TOP_LEVEL_KEY, " to the part that holds the tensors.")


def _no_state_dict(part: Survey, keys: Sequence[str]) -> CheckpointError:
    children = part.parts(part.root)
    return CheckpointError(
        f"expected a state_dict{_under(keys, 'under')}, found {backticked(part.root)}",
        found=str(part.root),
        details=[f"It holds {_listing(children, part)}.", NO_CODE] if children else [NO_CODE],
        remedy=_remedy_below(part, keys) or _SAVE_AGAIN,
    )


def _remedy_below(part: Survey, above: Sequence[str]) -> Do | Set | None:
    """Return the remedy that names what could be meant deeper in the part; None where there is nothing."""
    candidates = _candidates(part)
    return _what_to_set(above, candidates, part) if candidates else None


def _require_state_dict(part: Survey) -> None:
    """Raise CheckpointError unless the root holds a tensor directly, or nothing but tensors below several names.

    What training keeps beside what could be meant is no such tensor; see `_are_of_training`.
    """
    children = part.parts(part.root)
    if is_module(part.root) or (
        _has_direct_tensor(part.root, part) and not (_are_of_training(children) and _candidates(part))
    ):
        return
    # One dict in another is a state_dict in its wrapper; a list of tensors has no other name than its key
    if _wrapped(part.root, part) is not None or not _all_tensors(part.root, part):
        raise CheckpointError(
            f"expected a state_dict, found {_listing(children, part)}",
            found=tuple(children),
            remedy=_what_to_set((), _candidates(part), part),
        )


# What training keeps besides the model


def is_optimizer_state(node: Any) -> bool:
    """Tell whether a node is what `state_dict()` of a torch optimizer gives: tensors, but not those of a model."""
    return is_dict(node) and "state" in node and isinstance(node.get("param_groups"), list)


def _is_scheduler_state(node: Any) -> bool:
    """Tell whether a node is what `state_dict()` of one of torch's schedulers of learning rates gives."""
    return is_dict(node) and "last_epoch" in node and not {"_last_lr", "base_lrs"}.isdisjoint(node)


def _state_of_training(part: Survey) -> str | None:
    """Return what a part is that holds an optimizer, or states of training, and no tensor besides; None for others."""
    if isinstance(part.root, Opaque) and not is_module(part.root) and part.root.module.startswith("torch.optim."):
        kind = "scheduler" if part.root.module == "torch.optim.lr_scheduler" else "optimizer"
        return f"a whole {kind} ({backticked(part.root)})"
    if alone := _called(part.root):
        return alone
    if _has_direct_tensor(part.root, part):
        return None
    children = part.parts(part.root)
    called = _of_training(children)
    others = (value for name, value in children.items() if name not in called)
    if not called or any(part[value].tensors or part[value].foreign or is_module(value) for value in others):
        return None
    shown = [f"{what} ({backticked(name)})" for name, what in islice(called.items(), SHOWN_ITEMS)]
    return f"{', '.join(shown)} and no model"


def _of_training(children: dict[str, Any]) -> dict[str, str]:
    """Return what a message calls those of the children that are states of training, or dicts of them, by name."""
    values = {id(value): value for value in children.values()}  # many names may share one
    called = {
        key: _called(value) or (_called([*value.values()]) if is_dict(value) else None) for key, value in values.items()
    }
    return {name: said for name, value in children.items() if (said := called[id(value)])}


def _called(value: Any) -> str | None:
    """Return what a message calls a state of training, or a list of such; None for anything else."""
    states: Sequence[Any] = value if is_sequence(value) and value else [value]
    if all(map(is_optimizer_state, states)):
        return "the state of an optimizer" if len(states) == 1 else "the states of optimizers"
    if all(map(_is_scheduler_state, states)):
        return "the state of a scheduler" if len(states) == 1 else "the states of schedulers"
    return None


def _wrapped(node: Any, part: Survey) -> tuple[str, Any] | None:
    """Return the name and the value of the only thing that a dict holds, if that is a dict too."""
    if not is_dict(node) or len(node) != 1:
        return None
    return next(((name, only) for name, only in part.parts(node).items() if is_dict(only)), None)


# What could be meant

_Path: TypeAlias = "tuple[str, ...]"


def likely_parts(tree: Any, account: Account) -> tuple[_Path, ...]:
    """Return the paths of the parts of a tree that could be meant as the state_dict, where it is none itself."""
    return tuple(_candidates(Survey(tree, whole_model=False, account=account)))


def _candidates(part: Survey) -> dict[_Path, Any]:
    """Return what could be meant, by its path.

    That is, of the first level that has any, the state_dicts, else the whole models, else what holds a tensor directly.
    What wraps a single dict stands for that dict.
    """
    surveys = _Surveys(part)
    level: dict[_Path, Any] = {(): part.root}
    for _ in range(MAX_WRAPPERS):
        level = _level_below(level, part)
        for likely in (_all_tensors, _is_whole_model, _holds_tensor):
            # Each value once: many names may share it
            verdicts = {
                id(value): likely(value, surveys.of(value))
                for value in {id(value): value for value in level.values()}.values()
            }
            if found := {path: value for path, value in level.items() if verdicts[id(value)]}:
                return dict(_unwrapped(path, value, part) for path, value in _weights_of(found, part).items())
    return {}


def _weights_of(candidates: dict[_Path, Any], part: Survey) -> dict[_Path, Any]:
    """Return the candidates without those that hold bytes alone, as states of generators do; all if none are left."""
    values = {id(value): value for value in candidates.values() if not is_module(value)}
    below = {key: part.parts(value).values() for key, value in values.items()}
    states = {key for key, children in below.items() if children and all(map(_is_bytes, children))}
    return {path: value for path, value in candidates.items() if id(value) not in states} or candidates


class _Surveys:
    """The survey that counts what is below a node: that of the part, or one of its own for an object."""

    def __init__(self, part: Survey) -> None:
        self.part = part
        self.opened: dict[int, Survey] = {}

    def of(self, node: Any) -> Survey:
        """Return the survey; at most `MAX_OPENED` objects are opened."""
        if not isinstance(node, Opaque) or (len(self.opened) == MAX_OPENED and id(node) not in self.opened):
            return self.part
        if id(node) not in self.opened:
            self.opened[id(node)] = Survey(node, self.part.whole_model, self.part.account)
        return self.opened[id(node)]


def _level_below(level: dict[_Path, Any], part: Survey) -> dict[_Path, Any]:
    """Return the containers below those of a level, the first of many; an optimizer's state is nobody's model."""
    first = {id(node): (path, node) for path, node in reversed(level.items())}  # many names may share a node
    opened = (
        ((*path, name), value)
        for path, node in reversed(first.values())
        if (is_dict(node) or is_sequence(node) or isinstance(node, Opaque))
        and not is_module(node)
        and not is_optimizer_state(node)
        for name, value in part.parts(node).items()
        if name and not is_optimizer_state(value)  # no option names an empty key
    )
    return dict(islice(opened, MAX_SEARCHED))


def _unwrapped(path: _Path, value: Any, part: Survey) -> tuple[_Path, Any]:
    for _ in range(MAX_WRAPPERS):
        inner = _wrapped(value, part)
        if inner is None or not inner[0] or is_module(value):
            break
        path, value = (*path, inner[0]), inner[1]
    return path, value


def _all_tensors(node: Any, part: Survey) -> bool:
    content = part[node]
    is_container = not is_module(node) and children_of(node, whole_model=part.whole_model) is not None
    return is_container and content.tensors > 0 and not content.foreign and not content.plain


def _is_whole_model(node: Any, _: Survey) -> bool:
    return is_module(node)


def _holds_tensor(node: Any, part: Survey) -> bool:
    return not is_module(node) and _has_direct_tensor(node, part)


def _are_of_training(children: dict[str, Any]) -> bool:
    """Tell whether the tensors among children are none of a model, but what training keeps.

    Those are bytes, the states of generators of random numbers, and, beside the state of an optimizer or a scheduler,
    single numbers such as the loss.
    """
    is_training = bool(_of_training(children))
    tensors = [value for value in children.values() if isinstance(value, LazyTensor)]
    return all(_is_bytes(tensor) or (is_training and all(size == 1 for size in tensor.shape)) for tensor in tensors)


def _is_bytes(value: Any) -> bool:
    """Tell whether a value is a row of bytes, as the state of a generator is; quantised weights have more axes."""
    return isinstance(value, LazyTensor) and value.dtype == "uint8" and len(value.shape) == 1


def _has_direct_tensor(node: Any, part: Survey) -> bool:
    return any(isinstance(value, LazyTensor) for value in part.parts(node).values())


def _what_to_set(above: Sequence[str], candidates: dict[_Path, Any], part: Survey) -> Do | Set:
    """Return the remedy where no part, one or several could be meant."""
    if not candidates:
        return Do("Set ", TOP_LEVEL_KEY, " to the key, or the list of nested keys, that holds the tensors.")
    if len(candidates) > 1:
        listing = ", ".join(backticked(".".join(path)) for path in islice(candidates, SHOWN_ITEMS))
        return Do("Set ", TOP_LEVEL_KEY, f" to one of {listing}.")
    ((path, value),) = candidates.items()
    if any(len(key) > SHOWN_CHARACTERS for key in path) or len(above) + len(path) > SHOWN_ITEMS:
        return Do("Set ", TOP_LEVEL_KEY, f" to {backticked('.'.join(path))}.")  # cut, so it is no key to add
    needs_option = is_module(value) and not part.whole_model
    return Set({TOP_LEVEL_KEY: _shortened([*above, *path])} | ({WHOLE_MODEL: True} if needs_option else {}))


def _missing_key(part: Survey, key: str, above: Sequence[str]) -> CheckpointError:
    """Return the error that lists what there is instead of a top-level key."""
    children = part.parts(part.root)
    remedy: Do | Set = _what_to_set(above, _candidates(part), part)
    if near := nearest(key, islice(children, MAX_COMPARED_KEYS)):
        remedy = Do("Did you mean ", Setting(TOP_LEVEL_KEY, _shortened([*above, near])), "?")
    if key.partition(".")[2] in part.parts(children.get(key.partition(".")[0])):
        remedy = Do("Did you mean ", Setting(TOP_LEVEL_KEY, _shortened([*above, *key.split(".", 1)])), "?")
    return CheckpointError(
        f"expected top-level key {backticked(key)}{_under(above, 'below')}, found {_listing(children, part)}",
        expected=key,
        found=tuple(children),
        remedy=remedy,
    )


def whole_model_error(module: Opaque, where: str) -> CheckpointError:
    """Return the error about a pickled module where a state_dict is expected, with the option that takes it."""
    return CheckpointError(
        f"expected a state_dict{where}, found a whole pickled model ({backticked(module)})",
        found=str(module),
        details=[
            NO_CODE,
            Words("Its parameters can be taken without running any: ", Setting(WHOLE_MODEL, True), "."),
        ],
        remedy=_SAVE_AGAIN,
    )


# How a part is shown


def _listing(children: dict[str, Any], part: Survey) -> str:
    """Return the keys, sorted, with what they hold: the first 8, then how many more; of a module, no private ones."""
    keys = sorted(key for key in children if not (is_module(part.root) and key.startswith("_")))
    shown = ", ".join(f"{backticked(key)} ({_kind(children[key], part)})" for key in keys[:SHOWN_ITEMS])
    more = len(keys) - SHOWN_ITEMS
    return f"{shown} and {more:,} more" if more > 0 else shown or _kind(part.root, part)


def _kind(value: Any, part: Survey) -> str:
    if isinstance(value, LazyTensor):
        return "tensor"
    if is_module(value):
        return f"whole model {backticked(value)}"
    if is_optimizer_state(value):
        return "state of an optimizer"
    if _is_scheduler_state(value):
        return "state of a scheduler"
    if _all_tensors(value, part):
        return counted(part[value].tensors, "tensor")
    return backticked(value) if isinstance(value, (Global, Opaque)) else type_name(value)


def _under(keys: Sequence[str], word: str) -> str:
    return f" {word} {backticked('.'.join(keys))}" if keys else ""


def _shortened(keys: Sequence[str]) -> str | list[str]:
    """Return a key as an option has it, or several, cut where a hostile file makes them long."""
    cut = [key[:SHOWN_CHARACTERS] for key in keys[:SHOWN_ITEMS]]
    return cut[0] if len(cut) == 1 else cut
