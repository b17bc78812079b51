"""The example project's model and command, on its trained weights, without building a wheel."""

from __future__ import annotations

import importlib
import shutil
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hatch_wheelweights import convert

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    shutil.copy(converted, package / "digits.mpk")
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
    digits.main(["17", "--check"])
    *picture, image, accuracy, times = capsys.readouterr().out.splitlines()
    images, labels, _ = digits.held_out()
    assert picture == digits.picture(images[17]).splitlines()
    assert [len(line) for line in picture] == [16] * 8
    assert image.startswith(f"image 17: {labels[17]}, with probability ")
    assert accuracy.startswith("all 360 held-out images: 99.44% correct, logits within ")
    assert times.startswith("loaded in ")


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
    images, labels, logits = digits.held_out()
    logits[3, 4] += 1e-3
    np.savez(package / "held_out.npz", images=images, labels=labels, logits=logits)
    with pytest.raises(SystemExit) as exit_:
        digits.main(["--check"])
    assert exit_.value.code == 1
    assert capsys.readouterr().err == "digits: expected logits within 1e-05 of torch's, found 1.0e-03\n"


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
