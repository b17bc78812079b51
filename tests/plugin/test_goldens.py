"""Golden records: what `convert` makes of an `.npz` beside the record, and what it refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wheelweights as ww
from hatch_wheelweights import CheckpointError, __version__, convert, open_checkpoint
from hatch_wheelweights.conversion import is_current, plan_record
from hatch_wheelweights.options.model import ConversionOptions
from looking.commands import stdout
from making.checkpoints import safetensors
from making.goldens import Convolutions, golden_arrays, write_npz
from making.projects import CONV2D

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCE = CONV2D / "conv2d.pt"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def arrays() -> dict[str, NDArray[Any]]:
    convert(SOURCE, "plain.mpk")
    return golden_arrays(ww.bind(Convolutions, ww.open_record("plain.mpk")))


def refused(arrays: dict[str, Any], **options: Any) -> str:
    write_npz(Path("golden.npz"), arrays)
    with pytest.raises(CheckpointError) as caught:
        convert(SOURCE, "model.mpk", golden="golden.npz", **options)
    assert not Path("model.mpk").exists()
    assert not Path("model.golden.mpk").exists()
    return str(caught.value)


def test_it_holds_the_arrays_in_their_order_and_says_what_it_belongs_to(arrays: dict[str, NDArray[Any]]) -> None:
    write_npz(Path("golden.npz"), arrays)
    done = convert(SOURCE, "model.mpk", golden=Path("golden.npz"))
    record, golden = ww.open_record("model.mpk"), ww.open_record("model.golden.mpk")
    assert done.golden == Path("model.golden.mpk")
    assert list(golden) == list(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(golden[key], array)
    golden.verify()
    assert golden.metadata == {
        "generator": f"hatch-wheelweights {__version__}",
        "source": record.metadata["source"],
        "golden": {
            "name": "golden.npz",
            "sha256": hashlib.sha256(Path("golden.npz").read_bytes()).hexdigest(),
            "tensors": record.tensors_digest,
        },
    }


def test_the_record_says_nothing_of_it(arrays: dict[str, NDArray[Any]]) -> None:
    write_npz(Path("golden.npz"), arrays)
    convert(SOURCE, "model.mpk", golden="golden.npz")
    assert Path("model.mpk").read_bytes() == Path("plain.mpk").read_bytes()


def test_without_it_there_is_no_golden_record() -> None:
    assert convert(SOURCE, "model.mpk").golden is None
    assert [path.name for path in Path().iterdir()] == ["model.mpk"]


def test_parts_follow_the_new_names_of_their_tensors(arrays: dict[str, NDArray[Any]]) -> None:
    write_npz(Path("golden.npz"), arrays)
    convert(SOURCE, "model.mpk", golden="golden.npz", key_remap=[(r"^conv(\d)\.", r"net.layers.$1.conv.")])
    golden = ww.open_record("model.golden.mpk")
    assert list(ww.open_record("model.mpk")) == [
        "net.layers.0.conv.weight", "net.layers.0.conv.bias", "net.layers.1.conv.weight",
    ]  # fmt: skip
    assert list(golden) == [
        "input", "output", "net.layers.0.conv/input", "net.layers.0.conv/output",
        "net.layers.1.conv/input", "net.layers.1.conv/output",
    ]  # fmt: skip
    assert golden.info("net.layers.1.conv/output").source == "conv2/output"


def test_the_command_line_takes_it_as_well(arrays: dict[str, NDArray[Any]]) -> None:
    write_npz(Path("golden.npz"), arrays)
    line = stdout("convert", str(SOURCE), "model.mpk", "--golden", "golden.npz").splitlines()[-1]
    assert line == "model.golden.mpk: golden outputs, from golden.npz"
    record = ww.open_record("model.mpk")
    assert ww.check(ww.bind(Convolutions, record), record).fits


def test_check_passes_for_half_precision_within_its_tolerance(arrays: dict[str, NDArray[Any]]) -> None:
    write_npz(Path("golden.npz"), arrays)
    convert(SOURCE, "model.mpk", golden="golden.npz", precision="half")
    record = ww.open_record("model.mpk")
    report = ww.check(ww.bind(Convolutions, record), record)
    assert 0 < max(one.relative for one in report.comparisons) < 1e-2
    with pytest.raises(ww.CheckError):
        ww.check(ww.bind(Convolutions, record), record, rtol=1e-6)


def test_the_golden_record_of_another_record_is_refused(arrays: dict[str, NDArray[Any]]) -> None:
    write_npz(Path("golden.npz"), arrays)
    convert(SOURCE, "model.mpk", golden="golden.npz")
    net = ww.bind(Convolutions, ww.open_record("model.mpk", mmap=False))
    convert(SOURCE, "model.mpk", precision="half")
    with pytest.raises(ww.CheckError) as caught:
        ww.check(net, ww.open_record("model.mpk"))
    assert str(caught.value).startswith(
        f"{Path('model.golden.mpk').resolve()}: expected the outputs of the model in `model.mpk`, "
        "found those of other weights\n"
    )


def test_whether_a_record_is_current_depends_on_it(arrays: dict[str, NDArray[Any]]) -> None:
    write_npz(Path("golden.npz"), arrays)
    convert(SOURCE, "model.mpk", golden="golden.npz")
    with open_checkpoint(SOURCE) as checkpoint:
        plan = plan_record(checkpoint, ConversionOptions())
        assert is_current(Path("model.mpk"), plan, "golden.npz")
        write_npz(Path("golden.npz"), {**arrays, "output": arrays["output"] + 1})
        assert not is_current(Path("model.mpk"), plan, "golden.npz")
        assert is_current(Path("model.mpk"), plan, None)
        convert(SOURCE, "model.mpk", golden="golden.npz")
        assert is_current(Path("model.mpk"), plan, "golden.npz")
        Path("model.golden.mpk").unlink()
        assert not is_current(Path("model.mpk"), plan, "golden.npz")


def test_a_checkpoint_is_never_overwritten_by_it() -> None:
    source = Path("model.golden.mpk")
    source.write_bytes(safetensors())
    write_npz(Path("golden.npz"), {"input": 1.0, "output": 1.0})
    with pytest.raises(CheckpointError) as caught:
        convert(source, "model.mpk", golden="golden.npz")
    assert str(caught.value) == (
        "model.golden.mpk: expected another file as output, found the checkpoint itself\n"
        "  Give the record a name of its own."
    )
    assert source.read_bytes() == safetensors()


MAKE_IT = "  Make it in torch: hatch_wheelweights.golden(model, *inputs, path=...)."


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        pytest.param({"output": None}, "no `output` among its arrays", id="no output"),
        pytest.param({"input": None}, "no `input` among its arrays", id="no input"),
        pytest.param({"conv2/input": None}, "no `conv2/input` among its arrays", id="no input of a part"),
        pytest.param({"conv1/output": None}, "no `conv1/output` among its arrays", id="no output of a part"),
        pytest.param(
            {"logits": 1, "x/y/input": 1},
            "expected arrays named `input`, `output`, `MODULE/input` and `MODULE/output`, with `.0` or `.NAME` behind "
            "where there are several; found `logits`, `x/y/input`",
            id="other names",
        ),
        pytest.param(
            {"output.0": 1}, "expected one array or several, found `output` and `output.0`", id="one and several"
        ),
        pytest.param(
            {"input": None, "input.5000": 1}, "expected places below 1,000, found `input.5000`", id="far away"
        ),
    ],
)
def test_names_that_do_not_fit_are_refused(arrays: dict[str, Any], change: dict[str, Any], fact: str) -> None:
    changed = {key: array for key, array in {**arrays, **change}.items() if array is not None}
    assert refused(changed) == f"golden.npz: {fact}\n{MAKE_IT}"


def test_a_part_of_which_nothing_is_in_the_record_is_refused(arrays: dict[str, NDArray[Any]]) -> None:
    assert refused(arrays, exclude=["^conv2"]) == (
        "golden.npz: part `conv2`: none of its tensors is in the record\n"
        "  Leave the part out of the golden outputs, or keep its tensors (see exclude)."
    )


def test_an_npz_that_is_not_there_is_refused() -> None:
    with pytest.raises(CheckpointError) as caught:
        convert(SOURCE, "model.mpk", golden="no.npz")
    assert str(caught.value).startswith("no.npz: cannot be opened: there is no such file\n")
    assert not Path("model.mpk").exists()
