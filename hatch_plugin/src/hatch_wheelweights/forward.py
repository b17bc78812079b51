"""What torch computes, as a file: inputs of a model and of its parts, and the outputs that it gives for them.

Torch is the caller's: nothing of it is imported here, and of the model only what every `torch.nn.Module` has is used.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from hatch_wheelweights.errors import ConfigError, Fault, Place
from wheelweights.atomic import appearing_whole
from wheelweights.dtypes import dtype_name
from wheelweights.errors import DtypeError, WheelweightsError, backticked, did_you_mean
from wheelweights.golden import MODEL, Name, input_place, leaves, names_fault
from wheelweights.plain import is_mapping, is_sequence

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["golden"]

# Torch's dtypes that numpy lacks and float32 holds exactly
_WIDENED: Final = (
    "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip


class Model(Protocol):
    """As much of a `torch.nn.Module` as is needed here."""

    def eval(self) -> Any:
        """Set the evaluation mode, of all modules in it."""
        ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the forward pass."""
        ...


def golden(
    model: Model,
    *inputs: Any,
    path: str | os.PathLike[str],
    modules: Iterable[str] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Run a torch model, and write its inputs and outputs to an `.npz`: the file that the option `golden` names.

    The model is called once, as `model(*inputs, **kwargs)`, in evaluation mode and without gradients; afterwards each
    of its modules is in the mode that it had. `modules` are the names of parts, as `named_modules` has them, whose own
    inputs and outputs are written as well: of the first call, if a part is called several times. Needs torch 2.0.

    Inputs and outputs can be tensors, numbers, and tuples, lists, dicts and dataclasses of these; None is left out.
    They are copied before the model or a part can change them. bfloat16 and float8 are written as float32, which holds
    each of their values exactly.

    Raises ConfigError for a part that there is not, or that is not called, and for what no array can hold; RecordError
    where the file cannot be written; and whatever the model raises. The file appears whole or not at all.
    """
    kwargs = dict(kwargs or {})
    parts = [_Part(name, module) for name, module in _modules(model, modules).items()]
    arrays = _inputs(MODEL, inputs, kwargs)
    returned: list[_Part] = []
    with _evaluating(model), _without_gradients(), contextlib.ExitStack() as hooks:
        for part in parts:
            hooks.enter_context(part.listening(returned))
        arrays |= _arrays(leaves(model(*inputs, **kwargs), Name(MODEL, "output")))
    if len(returned) < len(parts):
        raise ConfigError(*(_uncalled(part.name) for part in parts if part not in returned))
    for part in returned:
        arrays |= part.arrays
    if fault := names_fault(arrays):
        raise _fault("model", f"cannot be compared later: {fault}", "Leave the part out of `modules`.")
    _write(path, arrays)


def _fault(argument: str, fact: str, remedy: str | None = None) -> ConfigError:
    return ConfigError(Fault(Place((argument,)), fact, remedy=remedy))


# Parts


def _modules(model: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the modules with these names; raise ConfigError with all that are not there."""
    if not hasattr(model, "named_modules"):
        raise _fault("model", f"expected a torch.nn.Module, found {backticked(type(model).__name__)}")
    known = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    names = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            *(
                Fault(Place(("modules",)), f"no module {backticked(name)}", remedy=did_you_mean(name, known))
                for name in unknown
            )
        )
    return {name: known[name] for name in names}


def _uncalled(name: str) -> Fault:
    return Fault(
        Place(("modules",)),
        f"module {backticked(name)} was not called by the forward pass",
        remedy="Name one that is called; of nn.MultiheadAttention, name the whole module.",
    )


class _Part:
    """A part that is listened to: what it was given at its first call, and returned."""

    def __init__(self, name: str, module: Any) -> None:
        self.name = name
        self.given: dict[str, NDArray[Any]] = {}
        self.arrays: dict[str, NDArray[Any]] = {}
        self._module = module
        self._depth = 0  # of calls inside calls

    @contextlib.contextmanager
    def listening(self, returned: list[_Part]) -> Generator[None]:
        """Note the first call that is made meanwhile; add the part to `returned` when it returns."""

        def before(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self not in returned and self._depth == 0:
                self.given = _inputs(self.name, args, kwargs)
            self._depth += 1

        def after(*call: Any) -> None:
            self._depth -= 1
            if self not in returned and self._depth == 0:
                self.arrays = self.given | _arrays(leaves(call[-1], Name(self.name, "output")))
                returned.append(self)

        with contextlib.ExitStack() as hooks:
            hooks.callback(self._module.register_forward_pre_hook(before, with_kwargs=True).remove)
            hooks.callback(self._module.register_forward_hook(after, with_kwargs=True).remove)
            yield


# The mode


@contextlib.contextmanager
def _evaluating(model: Any) -> Generator[None]:
    """Set the evaluation mode; afterwards give each module the mode that it had."""
    before = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in before:
            module.training = training


def _without_gradients() -> contextlib.AbstractContextManager[object]:
    # Not inference_mode: tensors that a model keeps (a cache of angles) could not be trained with afterwards
    torch: Any = sys.modules.get("torch")
    return contextlib.nullcontext() if torch is None else torch.no_grad()


# Arrays


def _inputs(part: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the arguments of a call as arrays: `input` alone, or each with its place."""
    whole = Name(part, "input")
    if len(args) == 1 and not kwargs and not (is_sequence(args[0]) or is_mapping(args[0])):
        return _arrays(leaves(args[0], whole))
    _check_places(part, [kwargs, *args])
    numbered = {str(place): value for place, value in enumerate(args)}
    return _arrays(leaves({**numbered, **kwargs}, whole))


def _check_places(part: str, value: Any) -> None:
    """Raise ConfigError for keys of arguments that could not be told apart in a name."""
    if is_mapping(value):
        for key, item in value.items():
            try:
                input_place(key)
            except ValueError as error:
                raise _fault("inputs", f"{error}, as a key in the inputs of {_described(part)}") from error
            _check_places(part, item)
    elif is_sequence(value):
        for item in value:
            _check_places(part, item)


def _arrays(found: Iterator[tuple[Name, object]]) -> dict[str, NDArray[Any]]:
    arrays = [(str(name), _array(value, name)) for name, value in found]
    if twice := [key for key, count in Counter(key for key, _ in arrays).items() if count > 1]:
        raise _fault("model", f"two values have the name {backticked(twice[0])}")
    return dict(arrays)


def _array(value: Any, name: Name) -> NDArray[Any]:
    """Return a copy of a tensor or a number as an array; raise ConfigError for anything else."""
    argument = f"{name.side}s"
    try:
        array = np.array(_of_tensor(value) if hasattr(value, "detach") else value)
        dtype_name(array.dtype)
    except (DtypeError, TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        reason = str(error.fact if isinstance(error, WheelweightsError) else error).partition("\n")[0]
        expected = f"expected a tensor or a number at {backticked(name)}"
        remedy = f"Leave {backticked(name.part)} out of `modules`." if name.part else None
        raise _fault(argument, f"{expected}, found {backticked(type(value).__name__)} ({reason})", remedy) from error
    return array


def _of_tensor(tensor: Any) -> Any:
    tensor = tensor.detach().cpu()
    if str(tensor.dtype).removeprefix("torch.") in _WIDENED:
        tensor = tensor.float()
    return tensor.resolve_conj().resolve_neg().numpy()


def _described(part: str) -> str:
    return backticked(part) if part else "the model"


# The file


def _write(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    with appearing_whole(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # no name is one of its parameters
