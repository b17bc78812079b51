"""Sources and outputs in a project: globs, stems, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hatch_wheelweights.errors import ConfigError
from hatch_wheelweights.options.model import HookOptions, RecordOptions
from hatch_wheelweights.options.paths import Job, resolve
from hatch_wheelweights.options.table import load

if TYPE_CHECKING:
    from pathlib import Path

RECORD: dict[str, Any] = {"source": "weights/digits.pt", "output": "src/digits/digits.mpk"}
AT = "hooks.wheelweights.records[0]"


def _project(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def _options(*pairs: tuple[str, str]) -> HookOptions:
    return load({"records": [{"source": source, "output": output} for source, output in pairs]})


def _unresolved(options: HookOptions, root: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(options, root)
    return str(caught.value)


def test_resolves_against_the_project_and_not_the_current_folder(tmp_path, monkeypatch):
    root = _project(tmp_path / "project", "weights/digits.pt")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert resolve(load({"records": [{**RECORD, "precision": "half"}]}), root) == (
        Job(root / "weights/digits.pt", root / "src/digits/digits.mpk", RecordOptions(**RECORD, precision="half")),
    )


def test_expands_globs_in_sorted_order_with_stems(tmp_path):
    root = _project(tmp_path, "w/b.pt", "w/a.pt", "w/deep/c.pt", "w/.hidden.pt", "w/notes.txt", "w/folder.pt/x", "d.pt")
    resolved = resolve(_options(("w/*.pt", "out/{stem}.mpk"), ("d.pt", "{stem}/{stem}.mpk")), root)
    assert [(job.options.source, job.options.output) for job in resolved] == [
        ("w/a.pt", "out/a.mpk"),
        ("w/b.pt", "out/b.mpk"),
        ("d.pt", "d/d.mpk"),
    ]
    assert (resolved[0].source, resolved[0].output) == (root / "w/a.pt", root / "out/a.mpk")


def test_a_double_star_goes_through_all_folders(tmp_path):
    root = _project(tmp_path, "w/b.pt", "w/x/a.pt", "w/x/y/c.pt")
    resolved = resolve(_options(("w/**/*.pt", "{stem}.mpk")), root)
    assert [job.options.source for job in resolved] == ["w/b.pt", "w/x/a.pt", "w/x/y/c.pt"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("model.pt", "model"),
        ("model.v2.pt", "model.v2"),
        ("model.safetensors.index.json", "model"),
        ("pytorch_model.bin.index.json", "pytorch_model"),
        ("burn.mpk.gz", "burn"),
        ("plain", "plain"),
    ],
)
def test_stem_is_the_name_without_its_suffix(tmp_path, name, stem):
    root = _project(tmp_path, name)
    (job,) = resolve(_options((name, "out/{stem}.mpk")), root)
    assert job.options.output == f"out/{stem}.mpk"


def test_reports_a_missing_source_with_a_near_name(tmp_path):
    root = _project(tmp_path, "weights/digits.pth", "weights/other.safetensors", ".venv/lib/x.pt", "weights/readme.md")
    assert _unresolved(load({"records": [RECORD]}), root) == (
        f"{AT}.source: expected a file, found none: `weights/digits.pt`\n"
        "  Checkpoints in the project: `weights/digits.pth`, `weights/other.safetensors`\n"
        "  Did you mean `weights/digits.pth`?"
    )


def test_reports_a_missing_source_of_an_sdist(tmp_path):
    assert _unresolved(load({"records": [RECORD]}), _project(tmp_path, "PKG-INFO")) == (
        f"{AT}.source: expected a file, found none: `weights/digits.pt`\n"
        "  This is an unpacked sdist (it has a PKG-INFO), with neither the file nor its record: it was made without "
        "the build hook, or with `exclude`.\n"
        "  The project holds no checkpoint.\n"
        "  Make the sdist again from the project, with the build hook enabled."
    )


def test_reports_a_folder_as_a_source(tmp_path):
    assert _unresolved(load({"records": [RECORD]}), _project(tmp_path, "weights/digits.pt/data.pkl")) == (
        f"{AT}.source: expected a file, found a folder: `weights/digits.pt`\n"
        "  The project holds no checkpoint.\n"
        "  Paths are relative to the folder of pyproject.toml."
    )


def test_reports_a_glob_that_matches_nothing(tmp_path):
    root = _project(tmp_path, "weights/digits.pth")
    assert _unresolved(_options(("weights/*.pt", "{stem}.mpk")), root) == (
        f"{AT}.source: expected files, found none: `weights/*.pt`\n"
        "  Checkpoints in the project: `weights/digits.pth`\n"
        "  Did you mean `weights/digits.pth`?"
    )


def test_gathers_missing_sources_and_outputs_that_meet_through_globs(tmp_path):
    root = _project(tmp_path, "a/x.pt", "b/x.pt", "c/X.pt")
    options = _options(("*/*.pt", "out/{stem}.mpk"), ("none.pt", "none.mpk"))
    assert _unresolved(options, root) == (
        f"configuration: 3 faults: hooks.wheelweights.records[1].source, {AT}.output, {AT}.output\n"
        "  hooks.wheelweights.records[1].source: expected a file, found none: `none.pt`\n"
        "    Checkpoints in the project: `a/x.pt`, `b/x.pt`, `c/X.pt`\n"
        "    Paths are relative to the folder of pyproject.toml.\n"
        f"  {AT}.output: `a/x.pt` and `b/x.pt` both end at `out/x.mpk`\n"
        "    Give every record an output of its own.\n"
        f"  {AT}.output: `a/x.pt` and `c/X.pt` both end at `out/x.mpk` and `out/X.mpk`,"
        " which are one file on some systems\n"
        "    Give every record an output of its own."
    )


def test_two_globs_may_share_an_output_pattern(tmp_path):
    root = _project(tmp_path, "a/x.pt", "b/y.pt")
    resolved = resolve(_options(("a/*.pt", "{stem}.mpk"), ("b/*.pt", "{stem}.mpk")), root)
    assert [job.options.output for job in resolved] == ["x.mpk", "y.mpk"]


def test_an_output_found_by_a_glob_as_a_source_is_an_error(tmp_path):
    root = _project(tmp_path, "a/x.mpk")
    assert _unresolved(_options(("a/*", "a/{stem}.mpk")), root) == (
        f"{AT}.output: expected a path of its own, found that of {AT}.source: `a/x.mpk`"
    )


def test_a_golden_file_takes_the_name_of_its_source(tmp_path):
    root = _project(tmp_path, "w/a.pt", "w/b.pt", "g/a.npz", "g/b.npz")
    resolved = resolve(
        load({"records": [{"source": "w/*.pt", "output": "{stem}.mpk", "golden": "g/{stem}.npz"}]}), root
    )
    assert [job.options.golden for job in resolved] == [str(root / "g/a.npz"), str(root / "g/b.npz")]


@pytest.mark.parametrize(("there", "found"), [("other.txt", "none"), ("g.npz/x", "a folder")])
def test_a_golden_file_must_be_there(tmp_path, there, found):
    root = _project(tmp_path, "weights/digits.pt", there)
    assert _unresolved(load({"records": [RECORD | {"golden": "g.npz"}]}), root) == (
        f"{AT}.golden: expected a file, found {found}: `g.npz`\n"
        "  Make it in torch: hatch_wheelweights.golden(model, *inputs, path=...)."
    )
