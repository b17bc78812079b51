"""Fills in what this distribution requires: the runtime beside it, of the same version."""

from __future__ import annotations

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Requirements(MetadataHookInterface):
    """The requirements of pyproject.toml, with the version in the place of `{version}`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set `dependencies`. Not called for an sdist, whose PKG-INFO already says them."""
        metadata["dependencies"] = [one.format(version=metadata["version"]) for one in self.config["dependencies"]]
