"""Sources that are not there: each is told with the command that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hatch_wheelweights.errors import ConfigError
from hatch_wheelweights.options.paths import resolve
from hatch_wheelweights.options.table import load
from wheelweights.golden import golden_path

if TYPE_CHECKING:
    from pathlib import Path

AT = "hooks.wheelweights.records[0].source"
ANNEX = "../.git/annex/objects/Gx/3z/SHA256E-s104--0a.pt/SHA256E-s104--0a.pt"
HUB = "../../blobs/" + "0" * 64


def refused(root: Path, source: str = "weights/m.pt", output: str = "src/p/m.mpk") -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(load({"records": [{"source": source, "output": output}]}), root)
    return str(caught.value)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


@pytest.mark.parametrize(
    ("target", "remedy"),
    [
        (ANNEX, "Run: git annex get weights/m.pt"),
        ("../.dvc/cache/files/md5/0a/1b", "Run: dvc pull weights/m.pt"),
        (
            HUB,
            "Download it again: this is a link into the cache of a model hub, where the file is no longer.",
        ),
        ("/nowhere/m.pt", "Get the file that it leads to, or correct the link: ln -sfn TARGET weights/m.pt"),
        ("m.pt", "Get the file that it leads to, or correct the link: ln -sfn TARGET weights/m.pt"),
    ],
    ids=["annex", "dvc", "hub", "elsewhere", "itself"],
)
def test_a_link_that_leads_nowhere(weights: Path, target: str, remedy: str) -> None:
    (weights / "m.pt").symlink_to(target)
    shown = target if len(target) <= 80 else target[:77] + "..."
    expected = f"expected a file, found a link to nothing: `weights/m.pt`, which leads to `{shown}`\n  {remedy}"
    assert refused(weights.parent) == f"{AT}: {expected}"


def test_a_link_among_those_of_a_glob(weights: Path) -> None:
    (weights / "a b.pt").symlink_to(ANNEX)
    assert refused(weights.parent, "weights/*.pt", "src/p/{stem}.mpk") == (
        f"{AT}: expected files, found none: `weights/*.pt`\n  Run: git annex get 'weights/a b.pt'"
    )


@pytest.mark.parametrize("kept", ["weights/m.pt.dvc", "weights.dvc"])
def test_a_file_that_dvc_keeps(weights: Path, kept: str) -> None:
    (weights.parent / kept).write_text("outs:\n- md5: 0a\n  path: m.pt\n")
    assert refused(weights.parent) == f"{AT}: expected a file, found none: `weights/m.pt`\n  Run: dvc pull weights/m.pt"


def test_a_file_that_dvc_keeps_for_a_glob(weights: Path) -> None:
    (weights / "m.pt.dvc").write_text("outs:\n")
    assert refused(weights.parent, "weights/*.pt", "src/p/{stem}.mpk") == (
        f"{AT}: expected files, found none: `weights/*.pt`\n  Run: dvc pull weights/m.pt"
    )


def test_links_that_lead_somewhere_are_followed(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "m").write_bytes(b"")
    (weights / "m.pt").symlink_to("../store/m")
    (job,) = resolve(load({"records": [{"source": "weights/m.pt", "output": "src/p/m.mpk"}]}), tmp_path)
    assert job.source == weights / "m.pt"


# Unpacked sdists


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    (tmp_path / "PKG-INFO").write_text("")
    (tmp_path / "src" / "p").mkdir(parents=True)
    return tmp_path


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / "src" / "p" / name).write_bytes(b"")


def test_a_record_takes_the_place_of_its_source(unpacked: Path) -> None:
    put(unpacked, "m.mpk")
    (job,) = resolve(load({"records": [{"source": "weights/m.pt", "output": "src/p/m.mpk"}]}), unpacked)
    assert (job.source, job.output) == (None, unpacked / "src" / "p" / "m.mpk")


def test_in_a_project_it_does_not(unpacked: Path) -> None:
    (unpacked / "PKG-INFO").unlink()
    put(unpacked, "m.mpk")
    assert refused(unpacked).startswith(f"{AT}: expected a file, found none: `weights/m.pt`\n")


def test_the_records_of_a_glob_are_those_that_its_output_can_name(unpacked: Path) -> None:
    put(unpacked, "a.mpk", "b.c.mpk", golden_path("a.mpk"), "other.mpk", "x.txt")
    table = {
        "records": [
            {"source": "weights/*.pt", "output": "src/p/{stem}.mpk", "golden": "weights/{stem}.npz"},
            {"source": "weights/o.pt", "output": "src/p/other.mpk"},
        ]
    }
    put(unpacked, golden_path("b.c.mpk"))
    jobs = resolve(load(table), unpacked)
    assert [job.output.name for job in jobs] == ["a.mpk", "b.c.mpk", "other.mpk"]
    assert [job.source for job in jobs] == [None] * 3
    assert jobs[0].options.golden == str(unpacked / "weights/a.npz")


def test_a_stem_twice_in_an_output_is_the_same_twice(unpacked: Path) -> None:
    for stem, name in (("a", "a"), ("a", "b")):
        (unpacked / "src" / "p" / stem).mkdir(exist_ok=True)
        (unpacked / "src" / "p" / stem / f"{name}.mpk").write_bytes(b"")
    table = {"records": [{"source": "weights/*.pt", "output": "src/p/{stem}/{stem}.mpk"}]}
    assert [job.output.name for job in resolve(load(table), unpacked)] == ["a.mpk"]


def test_where_sources_are_there_records_do_not_count(unpacked: Path) -> None:
    put(unpacked, "a.mpk", "b.mpk")
    (unpacked / "weights").mkdir()
    (unpacked / "weights" / "a.pt").write_bytes(b"")
    (job,) = resolve(load({"records": [{"source": "weights/*.pt", "output": "src/p/{stem}.mpk"}]}), unpacked)
    assert job.source == unpacked / "weights" / "a.pt"
