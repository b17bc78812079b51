"""What Hatch calls: the build hook and the build target `weights`, and their registration.

Only the modules in here know hatchling. pluggy loads this one in every hatchling build of the environment, also for
projects without weights, so the others are imported where they are used.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING

from hatchling.plugin import hookimpl

if TYPE_CHECKING:
    from hatch_wheelweights.hooks.hook import WheelweightsBuildHook
    from hatch_wheelweights.hooks.weights import WeightsBuilder

__all__ = ["hatch_register_build_hook", "hatch_register_builder"]


@hookimpl
def hatch_register_build_hook() -> type[WheelweightsBuildHook]:
    """Tell Hatch of the hook."""
    from hatch_wheelweights.hooks.hook import WheelweightsBuildHook

    return WheelweightsBuildHook


@hookimpl
def hatch_register_builder() -> type[WeightsBuilder]:
    """Tell Hatch of the target `weights`."""
    from hatch_wheelweights.hooks.weights import WeightsBuilder

    return WeightsBuilder
