"""The table of keys that `debug` prints."""

from __future__ import annotations

import pytest

from hatch_wheelweights.steps import report as report_module
from hatch_wheelweights.steps.report import Report, Row, debug_table


def test_prints_what_burn_prints():
    rows = [
        Row("conv.conv2.weight", "conv2.weight", True, (2, 2, 2, 2), "float32", "float32"),
        Row("conv.conv1.bias", "conv1.bias", True, (2,), "float32", "float32"),
        Row("step", "step", True, (), "int64", "int64"),
    ]
    assert debug_table(Report(rows)) == (
        "Debug information of keys and tensor shapes:\n"
        "---\n"
        "Original Key: conv.conv1.bias\n"
        "Remapped Key: conv1.bias\n"
        "Shape: [2]\n"
        "Dtype: F32\n"
        "---\n"
        "Original Key: conv.conv2.weight\n"
        "Remapped Key: conv2.weight\n"
        "Shape: [2, 2, 2, 2]\n"
        "Dtype: F32\n"
        "---\n"
        "Key: step\n"
        "Shape: []\n"
        "Dtype: I64\n"
        "---"
    )


def test_marks_what_is_left_out_cast_or_kept():
    rows = [
        Row("a", "a", False, (1,), "float32", "float32"),
        Row("b", "b", True, (1,), "float32", "float16"),
        Row("c", "c", True, (1,), "int64", "int64", notes=("kept int64: int16 cannot hold 40,000",)),
    ]
    assert debug_table(Report(rows)).split("---\n")[1:] == [
        "Key: a\nShape: [1]\nDtype: F32\nFiltered: left out\n",
        "Key: b\nShape: [1]\nDtype: F32\nCast: F16\n",
        "Key: c\nShape: [1]\nDtype: I64\nNote: kept int64: int16 cannot hold 40,000\n---",
    ]
    assert [row.new_key for row in rows] == [None, "b", "c"]


@pytest.mark.parametrize(
    ("dtype", "shown"),
    [
        ("bool", "Bool"),
        ("bfloat16", "BF16"),
        ("uint8", "U8"),
        ("complex64", "C64"),
        ("float8_e4m3fn", "F8_E4M3FN"),
        ("qint8", "Qint8"),
    ],
)
def test_names_dtypes_as_burn_does(dtype, shown):
    assert f"Dtype: {shown}" in debug_table(Report([Row("a", "a", True, (), dtype, dtype)]))


def test_shows_long_keys_whole_and_control_characters_escaped():
    key = "a" * 200 + "\x1b[31m\ud800"
    assert f"Key: {'a' * 200}\\x1b[31m\\ud800\n" in debug_table(Report([Row(key, key, True, (), "bool", "bool")]))


def test_collects_other_values_up_to_the_limit(monkeypatch):
    monkeypatch.setattr(report_module, "MAX_OTHERS", 2)
    report = Report()
    for key in "abc":
        report.add_other(key, "int 1")
    assert report.others == {"a": "int 1", "b": "int 1"}
