"""Values of the standard library and their text."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import pathlib
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelweights.scalars import duration_text, from_text, has_text


@given(duration=st.timedeltas())
def test_durations_come_back_from_their_text(duration: dt.timedelta) -> None:
    assert from_text(dt.timedelta, duration_text(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (dt.timedelta(), "PT0S"),
        (dt.timedelta(days=1), "P1D"),
        (dt.timedelta(days=1, seconds=3, microseconds=50), "P1DT3.00005S"),
        (dt.timedelta(seconds=-0.5), "-PT0.5S"),
        (dt.timedelta(seconds=100), "PT100S"),
    ],
)
def test_a_duration_reads_as_iso_8601_writes_it(duration: dt.timedelta, text: str) -> None:
    assert duration_text(duration) == text


@given(value=st.datetimes(timezones=st.none() | st.just(dt.UTC)) | st.dates() | st.times())
def test_dates_and_times_come_back_from_their_text(value: Any) -> None:
    assert from_text(type(value), value.isoformat()) == value


@given(value=st.decimals() | st.fractions() | st.uuids())
def test_numbers_and_identifiers_come_back_from_their_text(value: Any) -> None:
    found = from_text(type(value), str(value))
    assert str(found) == str(value)  # NaN equals nothing


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (dt.timedelta, "P"),
        (dt.timedelta, "P1DT"),
        (dt.timedelta, "1:00"),
        (dt.timedelta, "PT1.1234567S"),
        (dt.date, "yesterday"),
        (decimal.Decimal, "1,5"),
        (decimal.Decimal, "1" * 1001),
        (fractions.Fraction, "1/0"),
        (fractions.Fraction, "1e999999999"),
        (fractions.Fraction, "9" * 1001),
        (uuid.UUID, "abc"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_text_that_stands_for_no_value_is_an_error(cls: type, text: str) -> None:
    with pytest.raises(ValueError, match=f"^no text of a {cls.__name__}$"):
        from_text(cls, text)


def test_knows_which_classes_have_a_text() -> None:
    assert [has_text(cls) for cls in (dt.date, pathlib.Path, pathlib.PureWindowsPath, int, str, dict)] == [
        *[True] * 3,
        *[False] * 3,
    ]
    assert from_text(pathlib.Path, "a/b") == pathlib.Path("a/b")
