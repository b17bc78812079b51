"""Precision: which dtype every tensor gets, by a word or by rules, and what is said of it; nothing is read for that."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from hatch_wheelweights.options.model import Precision
from hatch_wheelweights.steps.precision import cast_tensors
from hatch_wheelweights.steps.report import Report
from making.tensors import faulty, lazy, sealed
from wheelweights.dtypes import DTYPES, numpy_dtype


def _cast(tensor, precision):
    cast, notes = cast_tensors({"w": tensor.named("w")}, precision, Report())
    return cast["w"], notes.get("w")


def _dtypes(tensors, precision):
    """Return the dtype of each tensor and the warnings."""
    report = Report()
    cast, _ = cast_tensors(tensors, precision, report)
    return [tensor.dtype for tensor in cast.values()], [str(warning) for warning in report.warnings]


def _expected(dtype: str, precision: str) -> str:
    table = {
        "full": ("float32", "complex64"),
        "half": ("float16", None),
        "double": ("float64", "complex128"),
        "bfloat16": ("bfloat16", None),
        "keep": (None, None),
    }
    floats, complexes = table[precision]
    if (dtype, precision) == ("float8_e8m0fnu", "half") or dtype == "bool":
        return dtype
    return {"f": floats, "b": floats, "c": complexes}.get(dtype[0]) or dtype


@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("dtype", DTYPES)
def test_casts_every_dtype_as_the_precision_says(dtype, precision):
    array = np.array([[0, 1], [1, 2]]).astype(numpy_dtype(dtype))
    tensor, _ = _cast(lazy(array), precision)
    assert tensor.dtype == _expected(dtype, precision)
    assert tensor.shape == (2, 2)
    assert tensor.numpy().dtype == numpy_dtype(tensor.dtype)
    np.testing.assert_array_equal(tensor.numpy().astype(complex), array.astype(complex))


def test_keeps_every_tensor_as_it_is_without_a_precision():
    tensor = sealed()
    assert cast_tensors({"w": tensor}, "keep", Report())[0]["w"] is tensor


@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("dtype", [name for name in DTYPES if "int" in name or name == "bool"])
def test_leaves_integers_and_bools_to_themselves(dtype, precision):
    tensor = sealed(dtype).named("w")
    for asked in (precision, [("", precision)]):
        cast, note = _cast(tensor, asked)
        assert (cast.tie, cast.dtype, cast.read, note) == (tensor.tie, dtype, tensor.read, None)


@pytest.mark.parametrize("precision", [*get_args(Precision), [("", "int8")], [("", "float64")], [("", "bool")]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_reads_nothing_before_it_is_asked_for(dtype, precision):
    _cast(sealed(dtype), precision)


def test_says_why_a_dtype_without_a_counterpart_is_kept():
    assert _cast(sealed("complex64"), "half")[1] == "kept complex64: there is no complex dtype of this precision"
    assert _cast(sealed("float8_e8m0fnu"), "half")[1] == "kept float8_e8m0fnu: float16 does not have its range"


def test_warns_once_of_all_tensors_that_keep_a_dtype_for_one_reason():
    tensors = {"a": sealed("complex64"), "b": sealed("complex64"), "c": sealed("float8_e8m0fnu"), "d": sealed()}
    assert _dtypes(tensors, "half")[1] == [
        "`a`, `b`: kept complex64: there is no complex dtype of this precision",
        "`c`: kept float8_e8m0fnu: float16 does not have its range",
    ]
    assert _dtypes(tensors, "keep")[1] == _dtypes(tensors, [("", "keep")])[1] == []


def test_passes_tensors_that_cannot_be_read_through_untouched():
    for precision in ("half", [("", "int8")]):
        for tensor in (faulty("float32"), faulty("int64"), faulty("qint8")):
            cast, notes = cast_tensors({"w": tensor}, precision, Report())
            assert cast["w"] is tensor
            assert notes == {}


def test_leaves_tied_tensors_tied_and_others_not():
    tied = lazy([1.0])
    cast, _ = cast_tensors({"a": tied, "b": tied.named("b"), "c": lazy([1.0])}, "half", Report())
    assert cast["a"].tie == cast["b"].tie
    assert cast["a"].tie not in (cast["c"].tie, tied.tie)


# Running statistics


def test_keeps_running_statistics_under_half_and_notes_it():
    tensors = {
        "bn.running_mean": sealed(),
        "bn.running_var": sealed("float64"),
        "running_var": sealed(),
        "bn.weight": sealed(),
        "running_var.weight": sealed(),
        "running_vars": sealed(),
    }
    report = Report()
    cast, notes = cast_tensors(tensors, "half", report)
    kept = ["float32", "float64", "float32"]
    assert [tensor.dtype for tensor in cast.values()] == [*kept, *["float16"] * 3]
    assert list(notes) == ["bn.running_mean", "bn.running_var", "running_var"]
    assert notes["bn.running_var"] == "kept float64: float16 is too coarse for running statistics"
    assert (report.warnings, report.notes) == ([], [])


def test_knows_running_statistics_by_their_old_name_too():
    assert _cast(sealed().named("bn.running_var"), "half")[0].dtype == "float16", "`named` names the source"
    cast, _ = cast_tensors({"norm.variance": sealed().named("bn.running_var")}, "half", Report())
    assert cast["norm.variance"].dtype == "float32"


def test_casts_running_statistics_to_every_other_precision_and_by_name():
    asked: list[tuple[Any, str]] = [
        ("bfloat16", "bfloat16"),
        ("double", "float64"),
        ([("", "float16")], "float16"),
    ]
    for precision, dtype in asked:
        cast, notes = cast_tensors({"running_var": sealed()}, precision, Report())
        assert (cast["running_var"].dtype, notes) == (dtype, {})
    assert cast_tensors({"running_var": sealed("float16")}, "half", Report())[1] == {}, "nothing was kept from it"
    assert _dtypes({"running_var": sealed()}, [("var", "half")]) == (["float32"], [])


# Rules


def test_the_first_rule_that_matches_counts_and_none_keeps():
    tensors = {"head.w": sealed(), "body.w": sealed(), "body.ids": sealed("int64"), "other": sealed()}
    rules: list[Any] = [("^head", "keep"), ("ids$", "int32"), {"pattern": "^(head|body)", "dtype": "bfloat16"}]
    assert _dtypes(tensors, rules) == (["float32", "bfloat16", "int32", "float32"], [])


def test_patterns_are_searched_anywhere_in_the_final_key():
    renamed = sealed().named("old.w")
    assert _dtypes({"new.w": renamed}, [("old", "half"), ("w", "double")])[0] == ["float64"]
    assert _dtypes({"a.b.c": sealed()}, [(r"\.b\.", "half")])[0] == ["float16"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rule_that_names_a_dtype_casts_every_tensor_to_it(dtype):
    array = np.array([1.0, 2.0]).astype(numpy_dtype("float8_e8m0fnu" if dtype == "float8_e8m0fnu" else "float32"))
    if dtype == "bool":
        array = np.array([1.0, 0.0])
    rules = [("", dtype)] if dtype != "bfloat16" else [("", "bfloat16")]  # a precision, for floats
    tensor, _ = _cast(lazy(array), rules)
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(tensor.numpy().astype(complex), array.astype(complex))


def test_no_rule_is_keep():
    tensor = sealed()
    assert cast_tensors({"w": tensor}, [], Report())[0]["w"] is tensor


def test_warns_of_a_rule_that_matches_nothing_with_the_nearest_keys():
    tensors = {"head.weight": sealed(), "body.weight": sealed()}
    assert _dtypes(tensors, [(r"^haed\.", "half")])[1] == [
        r"precision[0] matches nothing: `^haed\.` -> `half`; the nearest keys are `head.weight`, `body.weight`"
    ]


def test_warns_of_a_rule_whose_keys_have_all_met_another_before():
    tensors = {"head.w": sealed(), "body.w": sealed()}
    assert _dtypes(tensors, [("", "half"), ("^head", "keep")])[1] == [
        "precision[1] has no effect, as rules before it match the same keys: `^head` -> `keep`"
    ]
    assert _dtypes(tensors, [("^head", "keep"), ("^body", "half"), ("", "double")])[1] == [], "for whatever is left"


def test_warns_where_tied_tensors_get_several_dtypes():
    tied = sealed()
    tensors = {"embed": tied, "head": tied.named("head"), "other": sealed()}
    assert _dtypes(tensors, [("head", "half")]) == (
        ["float32", "float16", "float32"],
        ["precision gives several dtypes to tensors that share memory, which the record holds apart: `embed`, `head`"],
    )
    assert _dtypes(tensors, [("h|e", "half")])[1] == []


def test_many_tensors_share_one_warning_and_one_note():
    report = Report()
    tensors: dict[str, Any] = {f"small{i}": lazy(np.full(3, 1.1e-5, np.float32)) for i in range(10)}
    tensors |= {f"zero{i}": lazy(np.array([1, 1e-9], np.float32)) for i in range(3)}
    cast, _ = cast_tensors(tensors, "half", report)
    assert (report.warnings, report.notes) == ([], []), "nothing is known before it is read"
    for _ in range(2):
        for tensor in cast.values():
            list(tensor.blocks())
    (warning,), (note,) = report.warnings, report.notes
    shown = ", ".join(f"`small{i}` (0.244% of 1.1e-05 in `float16`)" for i in range(8))
    assert str(warning) == (
        f"tensors too small for their new dtype lose more than rounding: {shown} and 2 more; "
        "a rule of precision can keep them"
    )
    assert str(note) == ("rounded to 0, being too small for their new dtype: 3 values of `zero0`, `zero1`, `zero2`")
