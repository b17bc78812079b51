"""The table `distribution`: a name, a version, a size, and what is wrong with others."""

from __future__ import annotations

from typing import Any

import pytest

from hatch_wheelweights.errors import ConfigError
from hatch_wheelweights.options.distribution import Distribution
from hatch_wheelweights.options.table import load

RECORDS = [{"source": "m.pt", "output": "p/m.mpk"}]
AT = "hooks.wheelweights.distribution"
EXAMPLE = 'Write, say: distribution = { name = "my-weights", version = "1", max-size = "95MB" }'
IN_QUOTES = 'Write, say: version = "3"'
SIZES = 'Write, say: max-size = "95MB"'
NO_SIZE = f"{AT}.max-size: expected a number of bytes, or text in kB, MB or GB, found {{}}\n  {SIZES}"
NOTHING = (
    f"configuration: 2 faults: {AT}.name, {AT}.version\n"
    f"  {AT}.name: expected the name of a distribution, found nothing\n"
    f"  {AT}.version: expected a version as text, found nothing"
)
IN_TEXT = f'{AT}.version: expected a version as text, found an integer (3)\n  Write it as text: version = "3"'
LETTERS = "Begin it with a letter; letters, digits and hyphens may follow."


def read(**table: Any) -> Distribution | None:
    return load(
        {"records": RECORDS, "distribution": {key.replace("_", "-"): value for key, value in table.items()}}
    ).distribution


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1, 1),
        (95_000_000, 95_000_000),
        ("95MB", 95_000_000),
        ("95 MB", 95_000_000),
        ("1.5GB", 1_500_000_000),
        ("250kB", 250_000),
        ("9" * 28 + "GB", int("9" * 28) * 10**9),
    ],
)
def test_a_size_is_bytes_or_text_in_powers_of_1000(size: object, expected: int) -> None:
    assert read(name="w", version="1", max_size=size) == Distribution("w", "1", expected)


def test_no_size_is_too_large_to_be_read() -> None:
    distribution = read(name="w", version="1", max_size="9" * 400 + "GB")
    assert distribution is not None
    assert (distribution.max_size or 0) > 10**400


def test_name_and_version_are_taken_in_their_normal_form() -> None:
    assert read(name="Big_Model.Weights", version="v1.0-rc1") == Distribution("big-model-weights", "1.0rc1", None)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, NOTHING),
        ({"name": "w", "version": 3}, IN_TEXT),
        ({"name": "w", "version": "new"},
         f"{AT}.version: expected a version as in PEP 440, found `new`\n  {IN_QUOTES}"),
        ({"name": "3w", "version": "1"},
         f"{AT}.name: expected a distribution's name that can be imported, found `3w`\n  {LETTERS}"),
        ({"name": "a b", "version": "1"},
         f"{AT}.name: expected a distribution's name that can be imported, found `a b`\n  {LETTERS}"),
        ({"name": "w", "version": "1", "max_size": 0},
         f"{AT}.max-size: expected a number of bytes, or text in kB, MB or GB, found an integer (0)\n  {SIZES}"),
        ({"name": "w", "version": "1", "max_size": True},
         f"{AT}.max-size: expected a number of bytes, or text in kB, MB or GB, found a boolean (true)\n  {SIZES}"),
        ({"name": "w", "version": "1", "max_size": "95MiB"},
         f"{AT}.max-size: expected a number of bytes, or text in kB, MB or GB, found a string (`95MiB`)\n  {SIZES}"),
        ({"name": "w", "version": "1", "max_size": "\u0665MB"}, NO_SIZE.format("a string (`\u0665MB`)")),
        ({"name": "w", "version": "1", "maxsize": 1}, f"{AT}.maxsize: unknown option\n  Did you mean `max-size`?"),
    ],
)  # fmt: skip
def test_says_what_is_wrong(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**table)
    assert str(caught.value) == message


def test_it_is_a_table() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"records": RECORDS, "distribution": "w"})
    found = "expected a table of `name`, `version`, `max-size`, found a string (`w`)"
    assert str(caught.value) == f"{AT}: {found}\n  {EXAMPLE}"


def test_parts_are_numbered_where_there_are_several() -> None:
    distribution = Distribution("big-weights", "3")
    assert [distribution.part_name(1, 1), distribution.part_name(2, 3)] == ["big-weights", "big-weights-2"]
    for name, version, has in [
        ("big-weights", "3", True), ("big-weights-12", "3", True), ("big-weights-0", "3", False),
        ("big-weights-x", "3", False), ("big-weights-1", "4", False), ("other", "3", False), ("-1", "3", False),
    ]:  # fmt: skip
        assert distribution.has(name, version) == has
