"""The options: each is one field, with its type, its kind of value, its default and its help.

Everything else is made from these fields: the reader of the table in pyproject.toml, the flags of the command line, the
signatures of `convert` and `Checkpoint.state_dict`, the table in the documentation and the JSON schema. To add an
option, add a field here and obey it in the step that it concerns.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

from hatch_wheelweights.errors import Option
from hatch_wheelweights.options.distribution import DISTRIBUTION, Distribution
from hatch_wheelweights.options.precisions import Precision
from hatch_wheelweights.options.values import BOOLEAN, KEYS, PATH, PATTERNS, PRECISIONS, RULES, TEXTS, Kind, choice
from wheelweights.plain import is_dict

__all__ = [
    "Compression",
    "ConversionOptions",
    "ExportOptions",
    "HookOptions",
    "Precision",
    "RecordOptions",
    "SdistHolds",
    "Spec",
    "TensorOptions",
    "specs",
]

T = TypeVar("T")

Compression: TypeAlias = Literal["deflated", "stored"]
SdistHolds: TypeAlias = Literal["records", "sources"]


@dataclass(frozen=True)
class Spec:
    """What is known of an option beside its name and type: the kind of its value, its help, an example in TOML."""

    kind: Kind[Any]
    help: str
    example: str = ""
    required: bool = False


def _option(default: T, kind: Kind[Any], help: str, example: str = "") -> T:  # noqa: A002 (the word that click uses)
    metadata = {"spec": Spec(kind, help, example)}
    made: Any = dataclasses.field(default=default, metadata=metadata)
    if is_dict(default):
        made = dataclasses.field(default_factory=default.copy, metadata=metadata)
    return cast("T", made)


def _spec_of(kind: Kind[Any], help: str, example: str) -> dict[str, Spec]:  # noqa: A002
    """Return the metadata of a required option: type checkers take no function but `field` for one without default."""
    return {"spec": Spec(kind, help, example, required=True)}


_REINDEX: Final = "Close gaps in layer numbers, such as that between layers.0 and layers.2."


@dataclass(frozen=True, kw_only=True)
class TensorOptions:
    """Which tensors of a checkpoint are wanted, under which names and in which precision."""

    top_level_key: str | Sequence[str] = _option(
        (), KEYS, "The key of the state_dict in the checkpoint; several lead to a nested one.", '"model_state"'
    )
    key_remap: Sequence[tuple[str, str] | Mapping[str, str]] = _option(
        (),
        RULES,
        "Rename keys: every match of a regular expression is replaced ($1, ${name}), rule after rule.",
        r"[{ pattern = 'conv\.(.*)', replacement = '$1' }]",
    )
    reindex: bool = _option(True, BOOLEAN, _REINDEX)
    precision: Precision | Sequence[tuple[str, str] | Mapping[str, str]] = _option(
        "keep",
        PRECISIONS,
        "Cast floats to a precision; by rules also tensors one by one, to any dtype: the first that matches counts.",
        '"half"',
    )
    include: Sequence[str] = _option(
        (), PATTERNS, "Take only the tensors whose new key has a match of one of these.", r"['^encoder\.']"
    )
    exclude: Sequence[str] = _option(
        (),
        PATTERNS,
        "Leave out the tensors and objects whose new key has a match of one of these.",
        r"['\.num_batches_tracked$']",
    )
    whole_model: bool = _option(
        False, BOOLEAN, "Take the parameters out of a pickled module, torch.save(model), running nothing."
    )


@dataclass(frozen=True, kw_only=True)
class ExportOptions(TensorOptions):
    """The same for other programs: those look tensors up under the names, and the numbers, that the model gave them."""

    reindex: bool = _option(False, BOOLEAN, _REINDEX)


@dataclass(frozen=True, kw_only=True)
class ConversionOptions(TensorOptions):
    """What a record is made of: its tensors, and what it says besides."""

    config_key: str | Sequence[str] = _option(
        (), KEYS, "The key of the configuration to bake into the record; several lead to a nested one.", '"my_config"'
    )
    golden: str | os.PathLike[str] | None = _option(
        None, PATH, "Inputs and torch's outputs (.npz), shipped beside the record for ww.check.", '"weights/golden.npz"'
    )
    metadata: Mapping[str, str] = _option({}, TEXTS, "Free text for the record's metadata.", '{ license = "MIT" }')
    debug: bool = _option(False, BOOLEAN, "Print the table of keys.")


@dataclass(frozen=True)
class RecordOptions(ConversionOptions):
    """One record: which checkpoint it is made from, where it goes, and what is done on the way."""

    source: str | os.PathLike[str] = dataclasses.field(
        metadata=_spec_of(
            PATH, "The checkpoint, relative to the project; a glob needs {stem} in the output.", '"weights/model.pt"'
        )
    )
    output: str | os.PathLike[str] = dataclasses.field(
        metadata=_spec_of(
            PATH,
            "Where the record goes in the project; it lands where Hatch puts that path.",
            '"src/my_package/model.mpk"',
        )
    )


@dataclass(frozen=True)
class HookOptions:
    """The whole table of the hook: which records there are, and what becomes of them in wheels and sdists."""

    compression: Compression = _option("deflated", choice(Compression), "How the wheel stores its records.")
    sdist: SdistHolds = _option(
        "records", choice(SdistHolds), "What an sdist holds: the records that wheels are made from, or the checkpoints."
    )
    distribution: Distribution | None = _option(
        None,
        DISTRIBUTION,
        "Put the records into distributions of their own, which `hatch build -t weights` makes.",
        '{ name = "big-weights", version = "3", max-size = "95MB" }',
    )
    records: tuple[RecordOptions, ...] = ()


def specs(model: type[Any]) -> dict[Option, Spec]:
    """Return the options of a model by name: required ones first, then in the order of the fields."""
    found = {
        Option(field.name): field.metadata["spec"] for field in dataclasses.fields(model) if "spec" in field.metadata
    }
    return dict(sorted(found.items(), key=lambda item: not item[1].required))
