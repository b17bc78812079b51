"""What stops a build: the user reads one message, in the words of the configuration, and there is no wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from making.projects import RECORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from making.projects import Project

    Refused = Callable[[Callable[[], object]], str]

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * b"0" + b"\nsize 12345\n"


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_names_the_option_that_does_not_exist(new_project: Callable[..., Project], refused: Refused, kind: str) -> None:
    project = new_project(record=RECORD + "precison = 'half'\n")
    assert refused(getattr(project, kind)) == (
        "hooks.wheelweights.records[0].precison: unknown option\n  Did you mean `precision`?"
    )
    assert list((project.root / "dist").iterdir()) == []


def test_tells_a_fault_of_the_configuration_when_cleaning(
    new_project: Callable[..., Project], refused: Refused
) -> None:
    assert "precison: unknown option" in refused(new_project(record=RECORD + "precison = 'half'\n").clean)


def test_tells_every_fault_of_the_configuration_at_once(new_project: Callable[..., Project], refused: Refused) -> None:
    project = new_project(record=RECORD + "reindex = 'yes'\n", tables="[tool.hatch.build.hooks.wheelweights]\nx = 1")
    said = refused(project.wheel)
    assert "hooks.wheelweights.x: unknown option" in said
    assert "hooks.wheelweights.records[0].reindex: expected a boolean, found a string (`yes`)" in said


def test_tells_two_records_with_one_output(new_project: Callable[..., Project], refused: Refused) -> None:
    assert refused(new_project(record=RECORD + RECORD).wheel).startswith("hooks.wheelweights.records[1].output: ")


def test_tells_two_records_that_hatch_brings_to_one_place(
    new_project: Callable[..., Project], refused: Refused
) -> None:
    project = new_project(
        record=RECORD + RECORD.replace("{package}", "other/demo"),
        tables="[tool.hatch.build]\nsources = ['src', 'other']",
    )
    assert refused(project.wheel).endswith(
        "hooks.wheelweights.records: expected one record at `demo/conv2d.mpk` in the wheel, found two\n"
        "  Hatch's `sources` or `packages` bring two outputs together: give one another name."
    )


def test_tells_a_record_where_another_file_was_forced_in(new_project: Callable[..., Project], refused: Refused) -> None:
    project = new_project(tables='[tool.hatch.build.targets.wheel.force-include]\n"pyproject.toml" = "demo/conv2d.mpk"')
    assert refused(project.wheel).endswith(
        "expected `demo/conv2d.mpk` in the wheel to come from this hook alone, "
        "found another file there\n"
        "  Give the record another output, or keep the other file out of the wheel."
    )
    assert list((project.root / "dist").iterdir()) == []


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("version", ["standard", "editable"])
def test_tells_a_missing_checkpoint(
    new_project: Callable[..., Project], refused: Refused, kind: str, version: str
) -> None:
    project = new_project()
    project.source.rename(project.source.with_name("conv2.pt"))
    build = project.sdist if kind == "sdist" else lambda: project.wheel(version)
    assert refused(build) == (
        "hooks.wheelweights.records[0].source: expected a file, found none: `weights/conv2d.pt`\n"
        "  Checkpoints in the project: `weights/conv2.pt`\n"
        "  Did you mean `weights/conv2.pt`?"
    )


def test_tells_an_sdist_that_came_without_the_checkpoint(new_project: Callable[..., Project], refused: Refused) -> None:
    unpacked = new_project().unpacked_sdist()
    unpacked.output.unlink()
    assert refused(unpacked.wheel) == (
        "hooks.wheelweights.records[0].source: expected a file, found none: `weights/conv2d.pt`\n"
        "  This is an unpacked sdist (it has a PKG-INFO), with neither the file nor its record: it was made without "
        "the build hook, or with `exclude`.\n"
        "  The project holds no checkpoint.\n"
        "  Make the sdist again from the project, with the build hook enabled."
    )


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_tells_a_git_lfs_pointer(new_project: Callable[..., Project], refused: Refused, kind: str) -> None:
    project = new_project()
    project.source.write_bytes(POINTER)
    assert refused(getattr(project, kind)) == (
        "weights/conv2d.pt: expected a checkpoint of 12,345 bytes, found its Git LFS pointer (130 bytes)\n"
        "  Run: git lfs pull --include conv2d.pt"
    )


def test_shows_the_traceback_when_asked_for_more(
    new_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HATCH_VERBOSE", "1")
    project = new_project()
    project.source.write_bytes(POINTER)
    with pytest.raises(SystemExit):
        project.wheel()
    said = capsys.readouterr().err
    assert "Traceback (most recent call last):" in said
    assert said.endswith("  Run: git lfs pull --include conv2d.pt\n")


def test_a_bug_of_ours_is_not_dressed_up(new_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("hatch_wheelweights.conversion.write_plan", broken)
    with pytest.raises(ZeroDivisionError):
        new_project().wheel()


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_a_full_disk_is_one_line(
    new_project: Callable[..., Project], refused: Refused, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    project = new_project()
    before = project.files()
    monkeypatch.setattr("wheelweights.record.writing._write_buffer", full)
    build = project.sdist if kind == "sdist" else lambda: project.wheel("standard" if kind == "wheel" else kind)
    said = refused(build)
    assert said.endswith(": cannot be written: No space left on device")
    assert said.count("\n") == 0
    assert project.files() == before
    assert list((project.root / "dist").iterdir()) == []


def test_so_is_one_for_what_is_put_in_the_place_of_a_record(
    new_project: Callable[..., Project], refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    project = new_project()
    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    said = refused(project.wheel)
    assert said.startswith("dist/__pycache__/wheelweights.")
    assert said.endswith("/0.stub: No space left on device")
