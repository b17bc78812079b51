"""`check`: the forward pass of a model and its parts against golden outputs, which a test writes by hand here."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wheelweights as ww
from wheelweights import nn
from wheelweights.golden import arguments, by_part, golden_path, name_of, names_fault
from wheelweights.record import read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray


@dataclass
class Block:
    fc: nn.Linear

    def __call__(self, x: nn.Array) -> nn.Array:
        return nn.relu(self.fc(x))


@dataclass
class Net:
    layers: list[Any]
    heads: dict[str, nn.Linear]

    def __call__(self, x: nn.Array, scale: Any = 1) -> dict[str, nn.Array]:
        for layer in self.layers:
            x = layer(x)
        return {name: head(x) * scale for name, head in self.heads.items()}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def net_of(seed: int = 0) -> Net:
    rng = np.random.default_rng(seed)
    layers = [Block(nn.Linear.init(3, 4, rng=rng)), nn.relu, Block(nn.Linear.init(4, 4, rng=rng))]
    return Net(layers, {"a": nn.Linear.init(4, 2, rng=rng), "b": nn.Linear.init(4, 5, rng=rng)})


def tensors(net: Net, dtype: Any = np.float32) -> dict[str, NDArray[Any]]:
    """Return the arrays as a record has them whose layer numbers have no gaps."""
    named = {"layers.0.fc": net.layers[0].fc, "layers.1.fc": net.layers[2].fc}
    named |= {f"heads.{name}": head for name, head in net.heads.items()}
    found = {f"{key}.weight": layer.weight for key, layer in named.items()}
    found |= {f"{key}.bias": layer.bias for key, layer in named.items()}
    return {key: array.astype(dtype) for key, array in found.items()}


X = np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)


def golden_of(net: Net) -> dict[str, Any]:
    first = net.layers[0](X)
    second = net.layers[2](first)
    outputs = net(X)
    return {
        "input": X, "output.a": outputs["a"], "output.b": outputs["b"],
        "layers.0.fc/input": X, "layers.0.fc/output": net.layers[0].fc(X),
        "layers.0/input": X, "layers.0/output": first,
        "layers.1/input": first, "layers.1/output": second,
        "heads.b/input": second, "heads.b/output": outputs["b"],
    }  # fmt: skip


def written(arrays: Mapping[str, Any], golden: Mapping[str, Any] | None = None, **metadata: Any) -> ww.Record:
    """Write a record and its golden record; return the record."""
    ww.write_record("model.mpk", arrays)
    record = ww.open_record("model.mpk")
    if golden is not None:
        about = {"golden": {"tensors": record.tensors_digest}, **metadata}
        ww.write_record("model.golden.mpk", {key: np.asarray(one) for key, one in golden.items()}, metadata=about)
    return record


def failed(net: Any, record: Any, **tolerances: float) -> ww.CheckError:
    with pytest.raises(ww.CheckError) as caught:
        ww.check(net, record, **tolerances)
    return caught.value


@pytest.fixture
def net() -> Net:
    return net_of()


@pytest.fixture
def record(net: Net) -> ww.Record:
    return written(tensors(net), golden_of(net))


# -------------------------------------------------------------------------------------------------------------- passing


def test_a_model_that_computes_the_same_passes(net: Net, record: ww.Record) -> None:
    report = ww.check(ww.bind(net_of(7), record), record)
    assert report.fits
    assert report.faults == ()
    assert [(one.part, one.output, one.kind) for one in report.comparisons] == [
        ("layers.0.fc", "output", "fits"),
        ("layers.0", "output", "fits"),
        ("layers.1", "output", "fits"),
        ("heads.b", "output", "fits"),
        ("", "output.a", "fits"),
        ("", "output.b", "fits"),
    ]
    assert {one.absolute for one in report.comparisons} == {0.0}


def test_the_report_is_a_table(net: Net, record: ww.Record) -> None:
    net.layers[2].fc = replace(net.layers[2].fc, bias=net.layers[2].fc.bias + 100)
    report = failed(net, record).report
    assert report is not None
    assert repr(report) == str(report)
    lines = str(report).splitlines()
    assert lines[0] == "CheckReport: 3 of 6 outputs not as torch computed them"
    assert lines[1] == "part         output    absolute  relative  allowed"
    assert lines[2].startswith("layers.0.fc  output     0.0e+00   0.0e+00  ")
    assert [line.split()[-1] for line in lines[2:]] == ["fits", "fits", "differs", "fits", "differs", "differs"]
    assert [line.split()[0] for line in lines[2:]][-2:] == ["(model)", "(model)"]


def test_the_report_is_a_value(net: Net, record: ww.Record) -> None:
    report = ww.check(net, record)
    assert report == ww.check(net, record)
    assert pickle.loads(pickle.dumps(report)) == report
    with pytest.raises(AttributeError):
        report.comparisons = ()  # type: ignore[misc]


def test_inputs_may_be_changed_by_the_model() -> None:
    @dataclass
    class Rude:
        fc: nn.Linear

        def __call__(self, x: nn.Array) -> nn.Array:
            x /= 2
            return self.fc(x)

    fc = nn.Linear.init(3, 2)
    record = written({"fc.weight": fc.weight, "fc.bias": fc.bias}, {"input": X, "output": fc(X / 2)})
    assert ww.check(Rude(fc), record).fits
    assert ww.check(Rude(fc), record).fits


# ---------------------------------------------------------------------------------------------- what differs, and where


def test_the_first_part_that_differs_is_named(net: Net, record: ww.Record) -> None:
    net.layers[0].fc = replace(net.layers[0].fc, weight=net.layers[0].fc.weight * 2)
    error = failed(net, record)
    assert isinstance(error, ww.WheelweightsError)
    assert error.path == "model.mpk"
    assert error.report is not None
    lines = str(error).splitlines()
    assert lines[0].startswith("model.mpk: `layers.0.fc`: differs by up to ")
    assert lines[0].endswith(" of torch's largest magnitude")
    assert [line.partition(": ")[0] for line in lines[1:-1]] == [
        "  `layers.0`",
        "  the model, output.a",
        "  the model, output.b",
    ]
    assert lines[-1] == (
        "  Compare its settings (stride, padding, eps, batch_first, ...) and its forward pass with those of "
        "`layers.0.fc` in torch."
    )


def test_the_model_is_named_where_its_parts_are_right(net: Net, record: ww.Record) -> None:
    net.layers[1] = nn.gelu
    error = failed(net, record)
    assert str(error).startswith("model.mpk: the model, output.a: differs by up to ")
    assert error.remedy == "Compare the model's own forward pass with torch's: each of its parts gives what torch gave."


def test_without_parts_the_remedy_is_to_name_some(net: Net) -> None:
    golden = {key: array for key, array in golden_of(net).items() if "/" not in key}
    record = written(tensors(net), golden)
    net.layers.pop()
    assert failed(net, record).remedy == (
        "Name `modules` where the golden outputs are made, to learn which part it is."
    )


@pytest.mark.parametrize(
    ("change", "fault", "kind"),
    [
        pytest.param(
            lambda net: net.heads.pop("b"), "`heads.b`: there is no such part in `Net`", "part", id="no such part"
        ),
        pytest.param(
            lambda net: net.heads.update(b=replace(net.heads["b"], weight=net.heads["b"].weight[:3], bias=None)),
            "`heads.b`: expected shape (2, 5), found (2, 3)", "shape", id="shape",
        ),
        pytest.param(
            lambda net: net.heads.update(b=replace(net.heads["b"], weight=np.ones((5, 3), np.float32))),
            "`heads.b`: raised LayerError: linear: expected an input of shape (*, 3) for a weight of shape (5, 3), "
            "found (2, 4)", "raised", id="raised",
        ),
        pytest.param(
            lambda net: net.heads.update(b=replace(net.heads["b"], bias=np.full(5, np.nan, np.float32))),
            "`heads.b`: NaN where torch has none: 10 of 10 values", "nan", id="nan",
        ),
    ],
)  # fmt: skip
def test_each_way_to_be_wrong_has_a_message_of_its_own(
    net: Net, record: ww.Record, change: Callable[[Net], object], fault: str, kind: str
) -> None:
    change(net)
    error = failed(net, record)
    assert error.fact == fault
    assert error.report is not None
    assert error.report.faults[0].kind == kind


def test_other_outputs_than_torchs_are_named(net: Net, record: ww.Record) -> None:
    @dataclass
    class More(Net):
        def __call__(self, x: nn.Array, scale: Any = 1) -> dict[str, Any]:
            return {**super().__call__(x), "c": (X, [X, None])}

    error = failed(More(net.layers, net.heads), record)
    assert error.fact == (
        "the model: expected `output.a`, `output.b` as torch gave, found `output.a`, `output.b`, `output.c.0`, "
        "`output.c.1.0`"
    )


@pytest.mark.parametrize("found", ["text", object(), [object()], {1, 2}])
def test_an_output_that_is_no_array_is_named(found: object) -> None:
    @dataclass
    class Odd:
        def __call__(self, x: nn.Array) -> object:
            return found if not isinstance(found, list) else found[0]

    assert "expected an array, found `" in str(failed(Odd(), written({}, {"input": X, "output": X})))


def test_nothing_at_all_is_no_output() -> None:
    @dataclass
    class Nothing:
        def __call__(self, x: nn.Array) -> None:
            return None

    error = failed(Nothing(), written({}, {"input": X, "output": X}))
    assert error.fact == "the model: expected `output` as torch gave, found nothing"


def test_a_part_that_is_a_list_cannot_be_called(net: Net) -> None:
    golden = {**golden_of(net), "layers/input": X, "layers/output": X}
    error = failed(net, written(tensors(net), golden))
    assert error.fact == "`layers`: expected a part that can be called, found `list`"
    assert error.remedy == (
        "Leave it out of `modules` where the golden outputs are made, or make it a dataclass with a `__call__`."
    )


@pytest.mark.parametrize("name", ["__class__", "layers.0.__class__", "layers.0.fc.init", "layers.append", "heads.pop"])
def test_a_name_leads_to_nothing_but_parts_of_the_model(net: Net, name: str) -> None:
    error = failed(net, written(tensors(net), {**golden_of(net), f"{name}/input": X, f"{name}/output": X}))
    assert error.fact == f"`{name}`: there is no such part in `Net`"


def test_a_part_is_found_in_a_named_tuple() -> None:
    class Pair(NamedTuple):
        first: nn.Linear
        second: nn.Linear

    @dataclass
    class Two:
        pair: Pair

        def __call__(self, x: nn.Array) -> nn.Array:
            return self.pair.second(self.pair.first(x))

    net = Two(Pair(nn.Linear.init(3, 3), nn.Linear.init(3, 2)))
    golden = {"input": X, "output": net(X), "pair.first/input": X, "pair.first/output": net.pair.first(X)}
    assert ww.check(net, written({"w": X}, golden)).fits


# ------------------------------------------------------------------------------------------------------------ tolerance


@dataclass
class Constant:
    value: Any

    def __call__(self, x: Any) -> Any:
        return self.value


def outcome(found: Any, expected: Any, weights: Any = np.float32, **tolerances: float) -> str:
    record = written({"w": np.zeros(1, weights)}, {"input": X, "output": np.asarray(expected)})
    try:
        report = ww.check(Constant(found), record, **tolerances)
    except ww.CheckError as error:
        return error.report.comparisons[0].kind if error.report else "no report"
    return report.comparisons[0].kind


@pytest.mark.parametrize("weights", [np.float32, np.float64, np.int8, np.float16])
@pytest.mark.parametrize(("part", "kind"), [(0.9, "fits"), (1.1, "differs")])
def test_the_tolerance_is_a_part_of_the_largest_magnitude(weights: Any, part: float, kind: str) -> None:
    expected = np.array([0.001, -10.0, np.inf])
    rtol = 1e-2 if weights is np.float16 else 1e-4
    assert outcome(expected + np.array([part * 10 * rtol, 0, 0]), expected, weights) == kind


def test_a_part_has_the_tolerance_of_its_own_weights() -> None:
    @dataclass
    class Mixed:
        a: Constant
        b: Constant

        def __call__(self, x: nn.Array) -> nn.Array:
            return self.a(x)

    one = np.ones(2)
    golden = {"input": X, "output": one, "a/input": X, "a/output": one, "b/input": X, "b/output": one}
    record = written({"a.w": np.zeros(1, np.float32), "b.w": np.zeros(1, np.float16)}, golden)
    report = failed(Mixed(Constant(one * 1.005), Constant(one * 1.005)), record).report
    assert report is not None
    assert [(each.part, each.kind) for each in report.comparisons] == [("a", "differs"), ("b", "fits"), ("", "fits")]


@pytest.mark.parametrize(
    ("tolerances", "kind"),
    [
        ({}, "differs"),
        ({"rtol": 0.1}, "fits"),
        ({"rtol": 0.01}, "differs"),
        ({"atol": 1.0}, "fits"),
        ({"atol": 0.1}, "differs"),
        ({"rtol": 0.02, "atol": 0.3}, "fits"),
        ({"rtol": 0.02, "atol": 0.2}, "differs"),
    ],
)
def test_tolerances_that_are_given_take_the_place_of_the_others(tolerances: dict[str, float], kind: str) -> None:
    assert outcome(np.array([10.0, 0.45]), np.array([10.0, 0.0]), **tolerances) == kind


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_integers_and_bools_are_equal(dtype: Any) -> None:
    expected = np.array([1, 0, 1], dtype)
    assert outcome(expected.astype(np.int32), expected) == "fits"
    assert outcome(1 - expected.astype(np.int32), expected) == "differs"
    assert outcome(1 - expected.astype(np.int32), expected, atol=1) == "fits"


@pytest.mark.parametrize(
    ("found", "expected", "kind"),
    [
        ([np.nan, 1], [np.nan, 1], "fits"),
        ([np.nan, 1], [0, 1], "nan"),
        ([0, 1], [np.nan, 1], "nan"),
        ([np.inf, -np.inf], [np.inf, -np.inf], "fits"),
        ([np.inf, 1], [-np.inf, 1], "differs"),
        ([np.inf, 1], [1, 1], "differs"),
        ([1, 1], [-np.inf, 1], "differs"),
        ([0.0, -0.0], [0.0, 0.0], "fits"),
        ([1e-30], [0.0], "differs"),
        ([], [], "fits"),
        ([[]], [], "shape"),
        ([1 + 1j], [1 + 1j], "fits"),
        ([1 + 1j], [1 - 1j], "differs"),
        (2.5, 2.5, "fits"),
    ],
)
def test_which_values_are_torchs(found: Any, expected: Any, kind: str) -> None:
    assert outcome(np.array(found), expected) == kind


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ((np.ones(2),), "fits"),
        ((np.ones(2), None), "fits"),
        ({"logits": np.ones(2)}, "fits"),
        (Constant(np.ones(2)), "fits"),
        ((np.ones(2), np.ones(2)), "outputs"),
        ([1.0, 1.0], "outputs"),
    ],
)
def test_one_array_is_the_same_output_whatever_it_is_in(found: Any, kind: str) -> None:
    assert outcome(found, np.ones(2)) == kind


@given(
    values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=6),
    noise=st.lists(st.floats(-1, 1), min_size=6, max_size=6),
)
def test_the_formula_holds(values: list[float], noise: list[float], tmp_path_factory: pytest.TempPathFactory) -> None:
    expected = np.array(values)
    found = expected + np.array(noise[: len(values)])
    within = np.all(np.abs(found - expected) <= 0.25 + 0.5 * np.abs(expected).max())
    assert outcome(found, expected, rtol=0.5, atol=0.25) == ("fits" if within else "differs")


# ------------------------------------------------------------------------------------------------- the golden record


def test_a_missing_golden_record_is_an_error_that_says_how_to_make_one(net: Net) -> None:
    assert str(failed(net, written(tensors(net)))) == (
        "model.mpk: no golden outputs beside this record\n"
        "  In torch: hatch_wheelweights.golden(model, *inputs, path='weights/golden.npz', modules=['encoder'])\n"
        '  In the record\'s table in pyproject.toml: golden = "weights/golden.npz"\n'
        "  Make them in torch, name them where the record is built, and build it again."
    )


def test_it_is_found_from_another_folder(net: Net, record: ww.Record, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert ww.check(net, record).fits


@pytest.mark.parametrize("options", [{"mmap": False}, {"verify": True}, {"widen": True}])
def test_it_is_opened_as_the_record_was(net: Net, record: ww.Record, options: dict[str, bool]) -> None:
    assert ww.check(net, ww.open_record("model.mpk", **options)).fits


def test_one_of_other_weights_is_refused(net: Net, record: ww.Record) -> None:
    ww.write_record("model.mpk", tensors(net_of(3)))
    error = failed(net, ww.open_record("model.mpk"))
    assert error.report is None
    assert error.fact == "expected the outputs of the model in `model.mpk`, found those of other weights"


@pytest.mark.parametrize("metadata", [{}, {"golden": None}, {"golden": {}}, {"golden": {"tensors": 3}}])
def test_one_that_does_not_say_what_it_belongs_to_is_refused(
    net: Net, record: ww.Record, metadata: dict[str, Any]
) -> None:
    ww.write_record("model.golden.mpk", golden_of(net), metadata=metadata)
    assert "found those of other weights" in str(failed(net, record))


def test_a_damaged_one_is_the_error_of_a_record(net: Net, record: ww.Record) -> None:
    Path("model.golden.mpk").write_bytes(b"something else")
    with pytest.raises(ww.RecordError, match=r"model\.golden\.mpk: expected a record"):
        ww.check(net, record)


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        (["output"], "no `input` among its arrays"),
        (["input"], "no `output` among its arrays"),
        (["input", "output", "a/input"], "no `a/output` among its arrays"),
        (["input", "output", "a"], "expected arrays named `input`, `output`, `MODULE/input` and `MODULE/output`"),
        (["input", "output", "/input"], "expected arrays named"),
        (["input", "output", "output.0"], "expected one array or several, found `output` and `output.0`"),
        (["input.1", "input.1.a", "output"], "expected one array or several, found `input.1` and `input.1.a`"),
        (["input.999999999", "output"], "expected places below 1,000, found `input.999999999`"),
    ],
)
def test_arrays_with_other_names_are_refused(net: Net, record: ww.Record, keys: list[str], fault: str) -> None:
    found = names_fault(keys)
    assert found is not None
    assert found.startswith(fault)
    ww.write_record("model.golden.mpk", dict.fromkeys(keys, X))
    with pytest.raises(ww.RecordError) as caught:
        ww.check(net, record)
    assert caught.value.fact == found


def test_a_record_that_is_no_file_has_none_beside_it(net: Net, record: ww.Record) -> None:
    alone = read_record(np.fromfile("model.mpk", np.uint8), path="model.mpk in memory")
    with pytest.raises(ww.RecordError) as caught:
        ww.check(net, alone)
    assert str(caught.value) == "model.mpk in memory: a record that is not a file of its own has none beside it"


def test_what_is_no_record_is_refused(net: Net) -> None:
    assert failed(net, {"w": X}).fact == "expected a record that was loaded or opened, found `dict`"


def test_what_cannot_be_called_is_refused(record: ww.Record) -> None:
    assert failed(record, record).fact == "expected a model that can be called, found `Record`"
    assert failed(Net, record).fact == "expected a model that can be called, found the class `Net`"


def test_the_digest_is_of_the_tensors_alone() -> None:
    def digest(arrays: dict[str, Any], **options: Any) -> str:
        ww.write_record("a.mpk", arrays, **options)
        with ww.open_record("a.mpk") as opened:
            return opened.tensors_digest

    first = digest({"a": X, "b": X + 1})
    assert digest({"b": X + 1, "a": X}, metadata={"x": 1}, source_keys={"a": "c"}) == first
    others: list[dict[str, Any]] = [
        {"a": X + 1, "b": X},
        {"a": X, "c": X + 1},
        {"a": X, "b": (X + 1).T},
        {"a": X},
        {"a": X.view(np.int32)},
    ]
    assert len({first, *map(digest, others)}) == 6


# ---------------------------------------------------------------------------------------------- inputs, by their names


@pytest.mark.parametrize(
    ("keys", "args", "kwargs"),
    [
        (["input"], ["input"], {}),
        (["input.0"], ["input.0"], {}),
        (["input.0", "input.1"], ["input.0", "input.1"], {}),
        (["input.0", "input.2"], ["input.0", None, "input.2"], {}),
        (["input.mask"], [], {"mask": "input.mask"}),
        (["input.0", "input.mask"], ["input.0"], {"mask": "input.mask"}),
        (["input.1.0", "input.1.1", "input.0"], ["input.0", ("input.1.0", "input.1.1")], {}),
        (["input.0.x", "input.0.y.1"], [{"x": "input.0.x", "y": (None, "input.0.y.1")}], {}),
        (["input.state.0", "input.state.1"], [], {"state": ("input.state.0", "input.state.1")}),
        (["input.10", "input.01"], [*[None] * 10, "input.10"], {"01": "input.01"}),
    ],
)
def test_names_make_the_arguments_of_a_call(keys: list[str], args: list[Any], kwargs: dict[str, Any]) -> None:
    (inputs,) = by_part(dict(zip(keys, keys, strict=True))).values()
    assert arguments(inputs) == (args, kwargs)


def test_a_number_is_given_as_one() -> None:
    seen: list[Any] = []

    @dataclass
    class Seeing:
        def __call__(self, x: Any, *, deep: Any, count: Any) -> Any:
            seen.extend((deep, count))
            return x

    golden = {"input.0": X, "input.deep": np.bool_(False), "input.count": np.int64(3), "output": X}
    ww.check(Seeing(), written({}, golden))
    assert [type(one) for one in seen] == [np.bool_, np.int64]
    assert list(range(seen[1])) == [0, 1, 2]


@pytest.mark.parametrize("key", ["input", "output.0.x", "a.b/input", "a/output.1"])
def test_a_name_is_the_key_it_was_read_from(key: str) -> None:
    assert str(name_of(key)) == key


@pytest.mark.parametrize(("path", "expected"), [("a.mpk", "a.golden.mpk"), ("b/a.x.mpk", "b/a.x.golden.mpk")])
def test_the_golden_record_has_the_name_of_the_record(path: str, expected: str) -> None:
    assert golden_path(path) == expected
