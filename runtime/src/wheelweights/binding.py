"""Binding: a record becomes the arrays of a dataclass tree.

Knows models and keys; knows no file format. Any mapping of keys to arrays binds. A walk over the model looks up the key
of each array, checks its shape and dtype, and gathers every fault; only a walk without faults is built. So nothing is
ever half-bound.

A **type** as target is read by its annotations: arrays (`np.ndarray`, `NDArray[...]`), dataclasses, `list[T]`,
`tuple[T, ...]`, fixed and named tuples, `dict[str, T]`, `Sequence[T]`, `Mapping[str, T]`, subclasses of list and dict,
`T | None` (None if there is no key) and `A | B` (the one variant that fits exactly). Other fields need a default. An
**instance** is read by its values: it has its variants, its lengths, its biases and its shapes already, so only an
instance is as strict as torch. A default that is a module, or holds some, is such an instance. A **factory** makes an
instance of placeholders, which has all that and costs nothing.

The length of a list is declared by an instance, or by `Annotated[list[Block], Length(12)]`. Where items without keys
are possible (`list[Linear | Identity]`), gaps in the numbers are such items.

Shapes and dtypes are declared in one of three ways:
- by an instance (its shapes must agree; dtypes may differ, so that a half-precision record binds to a model that was
  made in float32);
- by a hint for the shape, `Annotated[np.ndarray, Shape(8, 3, None, 3)]`, where None is any length;
- by a hint for the dtype, `NDArray[np.float32]`, or for a whole kind of dtypes, `NDArray[np.floating]` (float16 and
  bfloat16 included).

Beyond that, a class can say how the shapes of its arrays depend on each other: its class method
`__check_shapes__(shapes)`, if there is one, gets the shapes of the arrays below it by their names and yields a name,
the shape expected and the shape found for each that does not fit. Nothing else is checked.

The metadata of a field can say `{"static": True}` (an array that is never in records), `{"optional": True}` (an array
that a record may lack: the instance then keeps its own) and, for a `dict[str, Array]`, `{"flatten": True}` (its arrays
are named as if they were fields beside it).
"""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Any, TypeVar, get_origin, overload

from wheelweights.annotations import is_module
from wheelweights.declarations import Length, Shape
from wheelweights.errors import backticked, counted
from wheelweights.instances import placeholders_in
from wheelweights.planning import plan, target_name
from wheelweights.report import BindError, BindReport, Mismatch, first, misfit
from wheelweights.skeleton import skeleton
from wheelweights.suggestions import suggested

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _typeshed import DataclassInstance
    from numpy.typing import DTypeLike

__all__ = ["BindReport", "Length", "Mismatch", "Shape", "bind", "bind_report"]

T = TypeVar("T")
Model = TypeVar("Model", bound="DataclassInstance")


@overload
def bind(
    target: type[T],
    record: Mapping[str, Any],
    prefix: str = "",
    partial: bool = False,
    *,
    dtype: DTypeLike | None = None,
) -> T: ...
@overload
def bind(
    target: Model,
    record: Mapping[str, Any],
    prefix: str = "",
    partial: bool = False,
    *,
    dtype: DTypeLike | None = None,
) -> Model: ...
@overload
def bind(
    target: Callable[[], T],
    record: Mapping[str, Any],
    prefix: str = "",
    partial: bool = False,
    *,
    dtype: DTypeLike | None = None,
) -> T: ...
def bind(
    target: Any,
    record: Mapping[str, Any],
    prefix: str = "",
    partial: bool = False,
    *,
    dtype: DTypeLike | None = None,
) -> Any:
    """Return the model with the record's arrays in it: a new instance of a dataclass, or a copy of an instance.

    `target` is an instance, a class, or a function that makes an instance and takes no arguments, such as `Net.init`:
    it is called inside `nn.skeleton()`, so that making the instance costs no memory, and the instance is the target.

    Arrays are not copied: views of the mapped file stay views, tied tensors stay the same memory. An instance is not
    modified; its copy keeps everything that is not an array, and `__post_init__` does not run again. The numbers of a
    list are the places of its items, or 0 to n-1 for the items with arrays; anything else is an error, because a hole
    is a lost layer.

    With `dtype`, such as `np.float32`, arrays of floats of another dtype are copied in that one, once. Without it, a
    model in half precision takes half the memory, and its layers convert their weights to float32 at every call: for
    one row, `Linear.init(768, 3072)` takes 5.5 ms in float16 and 0.7 ms in float32.

    To pickle the model copies every array. A worker process best loads its record itself, by package and name, and
    binds it: then all processes share the memory of the file.

    Only keys below `prefix` ("encoder" or "encoder.") are looked at, and are bound without it. Model and record must
    have the same keys; with `partial`, arrays whose keys are missing keep the value of the instance (or the default of
    a type), and unexpected keys are ignored. `bind_report` says which they are. A wrong shape is always an error, and
    so is a placeholder that would be left.

    Raises BindError, with every fault in its message and in its `report`.
    """
    target = _made(target)
    build, report, unfillable = plan(target, record, prefix, dtype)
    nothing_fits = bool(report.missing and not report.bound and record)  # a partial load of nothing is a mistake
    if report.mismatches or unfillable or nothing_fits or not (partial or report.fits):
        path: str | os.PathLike[str] | None = getattr(record, "path", None)
        source = os.fspath(path) if isinstance(path, str | os.PathLike) else "the state_dict"
        below = f" below {backticked(prefix)}" if prefix else ""
        subject = f"{target_name(target)} does not fit {source}{below}"
        details, remedy = suggested(report, prefix)
        raise misfit(report, subject, partial=partial, unfillable=bool(unfillable), more=details, remedy=remedy)
    net = build()
    if is_module(target) and (left := placeholders_in(net, target_name(net))):
        raise _left(net, left)
    return net


def bind_report(target: object, record: Mapping[str, Any], prefix: str = "") -> BindReport:
    """Return which keys would bind, and which are missing, unexpected or mismatching; nothing is bound.

    Raises BindError only for a target that no record can fit, such as a type with a required field that is not an
    array.
    """
    return plan(_made(target), record, prefix).report


def _made(target: Any) -> Any:
    """Return a class or an instance as it is, and what a factory makes."""
    if is_module(target) or isinstance(get_origin(target) or target, type) or not callable(target):
        return target
    name = getattr(target, "__qualname__", None) or type(target).__name__
    try:
        inspect.signature(target).bind()
    except TypeError as error:
        raise BindError(
            f"expected a function that takes no arguments, found {backticked(name)}: {error}",
            found=target,
            remedy=f"Give them: ww.bind(lambda: {name}(...), record)",
        ) from error
    except ValueError:  # one that does not tell its arguments
        pass
    with skeleton():
        made = target()
    if not is_module(made):
        raise BindError(
            f"expected an instance of a dataclass from {backticked(name)}, found {backticked(type(made).__name__)}",
            found=made,
        )
    return made


def _left(net: object, left: list[str]) -> BindError:
    return BindError(
        f"{target_name(net)}: {counted(len(left), 'placeholder')} that no record fills",
        details=first(left),
        found=left,
        remedy="Make these arrays with numpy: layers made by a factory start without values.",
    )
