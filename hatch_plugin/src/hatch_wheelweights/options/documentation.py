"""The options as documentation: a table in Markdown, and a JSON schema of the hook's table for editors."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hatch_wheelweights.options.model import HookOptions, RecordOptions, Spec, specs
from hatch_wheelweights.options.toml import TOML, toml_name

__all__ = ["json_schema", "markdown_table"]


def markdown_table() -> str:
    """Return the options as a table in Markdown: the hook's, then a record's."""
    lines = ["| option | value | default | what it does |", "|---|---|---|---|"]
    for model in (HookOptions, RecordOptions):
        defaults = _defaults(model)
        for option, spec in specs(model).items():
            default = "required" if spec.required else _shown(option, defaults[option])
            cells = (f"`{toml_name(option)}`", spec.kind.says, default, spec.help)
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of `[tool.hatch.build.hooks.wheelweights]`."""
    record = _object(RecordOptions) | {"title": "One record"}
    table = _object(HookOptions)
    table["properties"]["records"] = {"type": "array", "minItems": 1, "items": record}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "hatch-wheelweights", **table}


def _object(model: type[Any]) -> dict[str, Any]:
    defaults = _defaults(model)
    properties = {toml_name(option): _property(spec, defaults.get(option)) for option, spec in specs(model).items()}
    required = [toml_name(option) for option, spec in specs(model).items() if spec.required]
    # Hatch's own options stand in the same table as the hook's
    return {"type": "object", "properties": properties, "required": required or ["records"]} | (
        {"additionalProperties": False} if required else {}
    )


def _property(spec: Spec, default: Any) -> dict[str, Any]:
    described = {"description": spec.help, **spec.kind.schema}
    return described | ({"default": default} if isinstance(default, bool | str) else {})


def _defaults(model: type[Any]) -> dict[str, Any]:
    return {field.name: field.default for field in fields(model)}


def _shown(option: str, default: Any) -> str:
    """Return a default as TOML has it; nothing where the option has no effect unless it is set."""
    if isinstance(default, bool | str):
        return f"`{TOML.setting(option, default).partition(' = ')[2]}`"
    return ""
