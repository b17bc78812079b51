"""The example project's model and command, on its trained weights, without building a wheel."""

from __future__ import annotations

import importlib
import shutil
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wheelweights as ww
from hatch_wheelweights import convert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

EXAMPLE = Path(__file__).parents[2] / "example_project"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the record that the example's hook table describes."""
    pyproject = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))
    (options,) = pyproject["tool"]["hatch"]["build"]["hooks"]["wheelweights"]["records"]
    output = tmp_path_factory.mktemp("converted") / "digits.mpk"
    assert options.pop("output") == "src/digits/digits.mpk"
    source = EXAMPLE / options.pop("source")
    options["golden"] = EXAMPLE / options["golden"]
    convert(source, output, **{name.replace("-", "_"): value for name, value in options.items()})
    return output


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a copy of the example's package, without its record, that `import digits` finds."""
    ignored = shutil.ignore_patterns("*.mpk", "__pycache__")
    shutil.copytree(EXAMPLE / "src" / "digits", tmp_path / "digits", ignore=ignored)
    monkeypatch.syspath_prepend(tmp_path)
    forget_digits()
    yield tmp_path / "digits"
    forget_digits()


@pytest.fixture
def digits(package: Path, converted: Path) -> ModuleType:
    """Return the imported package with its record in place."""
    for name in ("digits.mpk", "digits.golden.mpk"):
        shutil.copy(converted.with_name(name), package / name)
    return importlib.import_module("digits.cli")


def forget_digits() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "digits"]:
        del sys.modules[name]


def test_gives_the_logits_that_torch_gave(digits: ModuleType) -> None:
    images, labels, logits = digits.held_out()
    found = digits.load()(images)
    assert images.shape == (360, 8, 8)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, logits, rtol=0, atol=1e-5)
    assert np.mean(found.argmax(axis=1) == labels) >= 0.97


def test_takes_every_value_from_the_record(digits: ModuleType) -> None:
    """A layer left at its random start would differ from one load to the next."""
    images, _, _ = digits.held_out()
    np.testing.assert_array_equal(digits.load()(images), digits.load()(images))


def test_command_shows_the_image_and_what_it_reads(digits: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    digits.main(["17"])
    *picture, image, accuracy, times = capsys.readouterr().out.splitlines()
    images, labels, _ = digits.held_out()
    assert picture == digits.picture(images[17]).splitlines()
    assert [len(line) for line in picture] == [16] * 8
    assert image.startswith(f"image 17: {labels[17]}, with probability ")
    assert accuracy.startswith("all 360 held-out images: 99.44% correct, logits within ")
    assert times.startswith("loaded in ")


def test_check_compares_the_network_and_its_parts_with_torch(
    digits: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    digits.main(["17", "--check"])
    *_, times, head, columns, first, second, third, fourth, whole = capsys.readouterr().out.splitlines()
    assert times.startswith("loaded in ")
    assert head == "CheckReport: 5 outputs as torch computed them"
    assert columns.split() == ["part", "output", "absolute", "relative", "allowed"]
    rows = [row.split() for row in (first, second, third, fourth, whole)]
    assert [row[0] for row in rows] == ["encoder.0", "encoder.1", "head.0", "head.1", "(model)"]
    assert [row[-1] for row in rows] == ["fits"] * 5
    assert max(float(row[3]) for row in rows) < 1e-5


@pytest.mark.parametrize("number", ["360", "-1"])
def test_command_rejects_an_image_out_of_range(
    digits: ModuleType, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        digits.main([number])
    assert exit_.value.code == 2
    assert capsys.readouterr() == ("", f"digits: image: expected 0 to 359, found {number}\n")


def test_check_fails_when_the_logits_are_not_those_of_torch(
    digits: ModuleType, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ww.open_record(package / "digits.golden.mpk", mmap=False) as golden:
        logits = golden["output"].copy()
        logits[3, 4] += 1e-3
        ww.write_record(package / "digits.golden.mpk", {**golden, "output": logits}, metadata=golden.metadata)
    with pytest.raises(SystemExit) as exit_:
        digits.main(["--check"])
    assert exit_.value.code == 1
    first, remedy = capsys.readouterr().err.splitlines()
    assert first.startswith("digits: ")
    assert first.endswith(
        "digits.mpk: the model: differs by up to 1.0e-03 (allowed: 5.3e-04), 1.9e-04 of torch's largest magnitude"
    )
    assert remedy == ("  Compare the model's own forward pass with torch's: each of its parts gives what torch gave.")


def test_check_fails_when_nothing_of_torchs_is_there(
    digits: ModuleType, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (package / "digits.golden.mpk").unlink()
    with pytest.raises(SystemExit) as exit_:
        digits.main(["--check"])
    assert exit_.value.code == 1
    assert "digits.mpk: no golden outputs beside this record\n" in capsys.readouterr().err


MUTATIONS: list[tuple[str, Callable[[Any], None], str, str]] = [
    ("padding", lambda net: setattr(net.encoder[1].conv, "padding", 0), "encoder.1", "shape"),
    ("stride", lambda net: setattr(net.encoder[0].conv, "stride", 2), "encoder.0", "shape"),
    ("eps", lambda net: setattr(net.encoder[1].norm, "eps", 1e-2), "encoder.1", "differs"),
    ("bias", lambda net: setattr(net.head[0], "bias", None), "head.0", "differs"),
    ("layer", lambda net: net.encoder.pop(0), "encoder.0", "raised"),
    ("rows", lambda net: setattr(net.head[1], "weight", net.head[1].weight[::-1]), "head.1", "differs"),
]


@pytest.mark.parametrize(("change", "part", "kind"), [row[1:] for row in MUTATIONS], ids=[row[0] for row in MUTATIONS])
def test_a_mistake_in_the_network_is_located(
    digits: ModuleType, change: Callable[[Any], None], part: str, kind: str
) -> None:
    net = digits.load()
    change(net)
    with pytest.raises(ww.CheckError) as caught:
        ww.check(net, digits.record())
    assert caught.value.report is not None
    first = caught.value.report.faults[0]
    assert (first.part, first.kind) == (part, kind)


def test_command_without_its_record_fails_without_a_traceback(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        importlib.import_module("digits.cli").main([])
    assert exit_.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("digits: ")
    assert "digits.mpk" in err.splitlines()[0]
    assert package.is_dir()
