"""What a project has to require, because its wheel is nothing without it.

The hook adds neither: what reads pyproject.toml instead of building (uv, lock files, scanners) would not see it.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hatch_wheelweights.errors import Fault

__all__ = ["check_runtime", "extra_warning"]

_RUNTIME: Final = "wheelweights"
_EXTRA: Final = "ml-dtypes"
_PLACE: Final = "project.dependencies"


def check_runtime(core: Any) -> None:
    """Raise ConfigError if the project, by its core metadata, does not require the runtime, or requires another one."""
    from hatch_wheelweights.errors import ConfigError, Fault
    from wheelweights import __version__
    from wheelweights.errors import backticked

    found = list(_named(core, _RUNTIME))
    if not found:
        raise ConfigError(Fault(None, f"{_PLACE}: expected `{_RUNTIME}`, found none", remedy=_line_to_add(core)))
    faults: list[Fault] = []
    for requirement in found:
        if not requirement.specifier.contains(__version__, prereleases=True):
            fact = f"{_PLACE}: expected a range with {_RUNTIME} {__version__}, which this hook writes for, found "
            remedy = f'Write "{_RUNTIME}>={__version__}", or build with the hook of an older release.'
            faults.append(Fault(None, fact + backticked(requirement), remedy=remedy))
    if faults:
        raise ConfigError(*faults)


def extra_warning(core: Any, needed: Iterable[tuple[str, str]]) -> str | None:
    """Return what to tell of a project whose records need the extra `ml-dtypes`, which it does not require.

    `needed` are the places of the records and the dtypes that need it.
    """
    place, dtype = next(iter(needed), (None, None))
    listed = any(_EXTRA in map(_normal, requirement.extras) for requirement in _named(core, _RUNTIME))
    if place is None or listed or any(_named(core, _EXTRA)):
        return None
    return (
        f"{_PLACE}: expected `{_RUNTIME}[{_EXTRA}]`, because {place} holds {dtype}, found `{_RUNTIME}`\n"
        f'  Write "{_RUNTIME}[{_EXTRA}]" there; without it a program can read the record only with widen=True.'
    )


def _named(core: Any, name: str) -> Iterator[Any]:
    """Yield what a project requires of this name, extras and markers too."""
    return (one for one in core.dependencies_complex.values() if _normal(one.name) == name)


def _normal(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def _line_to_add(core: Any) -> str:
    if "dependencies" in core.dynamic:
        return f'They are dynamic: let what makes them add "{_RUNTIME}".'
    listed = ", ".join(f'"{one}"' if '"' not in one else f"'{one}'" for one in [*core.dependencies, _RUNTIME])
    return f"Write in [project] of pyproject.toml: dependencies = [{listed}]"
