"""Whether every byte of the records in installed packages is checked, wherever a package is and without running it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hatch_wheelweights.looking.installed import find_package
from looking.commands import refusal, run, stdout
from making.installed import distribution_files, in_parts, install, install_zipped, record_bytes
from making.small_files import small_record
from wheelweights.formats import INTERRUPTED_BUILD

NEVER = b"raise SystemExit('this package was executed')\n"
SITE = Path("site")


@pytest.fixture(autouse=True)
def site(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that Python imports from, below the current one."""
    folder = SITE.absolute()
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def sound(file: Path | str, tensors: str = "1 tensor, 16 bytes") -> str:
    return f"{file}: sound, {tensors}\n"


def verify(*names: str) -> str:
    return stdout("verify", *(word for name in names for word in ("--package", name)))


# ------------------------------------------------------------------------------------- where a package is


def test_every_record_in_a_package_and_in_its_folders_is_checked_and_nothing_is_executed(site: Path) -> None:
    records = {name: small_record() for name in ("big/a.mpk", "big/a.golden.mpk", "big/deep/er/b.mpk")}
    install(
        site, "big", "1.0", {"big/__init__.py": NEVER, "big/deep/__init__.py": NEVER, "big/notes.txt": b"", **records}
    )
    places = ["big/a.golden.mpk", "big/a.mpk", "big/deep/er/b.mpk"]
    assert verify("big") == "".join(sound(site / place) for place in places)
    assert verify("big.deep") == sound(site / "big/deep/er/b.mpk")
    assert "big" not in sys.modules


def test_packages_and_files_can_be_checked_at_once(site: Path) -> None:
    install(site, "one", "1.0", {"one/__init__.py": b"", "one/a.mpk": small_record()})
    install(site, "two", "1.0", {"two/__init__.py": b"", "two/a.mpk": small_record()[:-1]})
    Path("file.mpk").write_bytes(small_record())
    result = run("verify", "file.mpk", "none.mpk", "--package", "two", "--package", "one", status=1)
    assert result.stdout == sound("file.mpk") + sound(site / "one/a.mpk")
    assert [line for line in result.stderr.splitlines() if line.startswith("Error: ")] == [
        "Error: none.mpk: cannot be opened: No such file or directory",
        f"Error: {site}/two/a.mpk: truncated: expected at least 251 bytes (end of tensor `w`), found 250",
    ]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_package_in_a_zip_archive_is_checked_in_there(monkeypatch: pytest.MonkeyPatch, method: int) -> None:
    files = {"zipped_big/__init__.py": NEVER, "zipped_big/a.mpk": small_record(), "zipped_big/in/b.mpk": small_record()}
    archive = Path("packages.zip").absolute()
    install_zipped(archive, "zipped-big", "1.0", files, method)
    monkeypatch.syspath_prepend(str(archive))
    places = ["zipped_big/a.mpk", "zipped_big/in/b.mpk"]
    assert verify("zipped_big") == "".join(sound(archive / place) for place in places)


def test_a_record_in_a_zip_archive_is_compared_with_the_listing_in_there(monkeypatch: pytest.MonkeyPatch) -> None:
    files = distribution_files("other-big", "1.0", {"other_big/__init__.py": NEVER, "other_big/a.mpk": small_record()})
    archive = Path("other.zip").absolute()
    with zipfile.ZipFile(archive, "w") as opened:
        for place, content in (files | {"other_big/a.mpk": small_record(2)}).items():
            opened.writestr(place, content)
    monkeypatch.syspath_prepend(str(archive))
    first, remedy = refusal("verify", "--package", "other_big").splitlines()
    assert first.startswith(f"Error: {archive}/other_big/a.mpk: expected sha256 '")
    assert remedy == "  Reinstall it: pip install --force-reinstall other-big"


def test_a_namespace_package_has_records_in_several_folders(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Path("elsewhere").absolute()
    install(site, "ns-one", "1.0", {"ns/one/__init__.py": NEVER, "ns/one/a.mpk": small_record()})
    install(elsewhere, "ns-two", "1.0", {"ns/two/__init__.py": NEVER, "ns/two/b.mpk": small_record(), "ns/c.mpk": b""})
    install(elsewhere, "ns-three", "1.0", {"ns/sub/ns/d.mpk": small_record()})
    monkeypatch.syspath_prepend(str(elsewhere))
    assert verify("ns.one", "ns.two") == sound(site / "ns/one/a.mpk") + sound(elsewhere / "ns/two/b.mpk")
    assert verify("ns.sub.ns") == sound(elsewhere / "ns/sub/ns/d.mpk")
    result = run("verify", "--package", "ns", status=1)
    lines = [site / "ns/one/a.mpk", elsewhere / "ns/sub/ns/d.mpk", elsewhere / "ns/two/b.mpk"]
    assert result.stdout == "".join(map(sound, lines))
    assert result.stderr.splitlines()[0] == f"Error: {elsewhere}/ns/c.mpk: expected a record, found an empty file"


def test_links_to_folders_are_followed_and_not_in_circles(site: Path) -> None:
    install(site, "big", "1.0", {"big/__init__.py": b""})
    Path("weights").mkdir()
    Path("weights/a.mpk").write_bytes(small_record())
    (site / "big/linked").symlink_to(Path("weights").absolute())
    (site / "big/circle").symlink_to(site / "big")
    (site / "big/gone.mpk").symlink_to(site / "nothing")
    result = run("verify", "--package", "big", status=1)
    assert result.stdout == sound(site / "big/linked/a.mpk")
    assert result.stderr.splitlines()[0] == f"Error: {site}/big/gone.mpk: cannot be opened: No such file or directory"


def test_a_finder_of_an_editable_install_is_asked(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(Path("tree/src"), "big", "1.0", {"mine/__init__.py": NEVER, "mine/a.mpk": small_record()})

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            import importlib.util

            place = Path("tree/src/mine/__init__.py").absolute()
            return importlib.util.spec_from_file_location(name, place) if name == "editable_big" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert verify("editable_big") == sound(Path("tree/src/mine/a.mpk").absolute())


def test_the_command_finds_what_its_own_interpreter_imports(site: Path) -> None:
    install(site, "big", "1.0", {"big/__init__.py": NEVER, "big/a.mpk": small_record()})
    command = [sys.executable, "-m", "hatch_wheelweights", "verify", "--package", "big"]
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, sound(site / "big/a.mpk"), "")


# ------------------------------------------------------------------------------------- no such package


def test_neither_file_nor_package_is_wrong_usage() -> None:
    assert refusal("verify", status=2).splitlines()[-1] == "Error: Missing argument 'FILE...' or option '--package'."


def test_the_name_of_a_distribution_is_told_with_the_names_of_its_packages(site: Path) -> None:
    install(site, "Big.Weights", "1.0", {"big/__init__.py": b"", "big/a.mpk": small_record(), "more/__init__.py": b""})
    assert refusal("verify", "--package", "big-weights") == (
        "Error: expected the name that a package is imported by, found that of a distribution, `big-weights`\n"
        "  Name what it installs: wheelweights verify --package big --package more\n"
    )


def test_the_package_of_an_editable_distribution_is_taken_to_be_named_like_it(site: Path) -> None:
    install(site, "my-model", "1.0", {"my_model.pth": b""})
    (site / "my_model").mkdir()
    assert refusal("verify", "--package", "My.Model") == (
        "Error: expected the name that a package is imported by, found that of a distribution, `My.Model`\n"
        "  Name what it installs: wheelweights verify --package my_model\n"
    )


@pytest.mark.parametrize(
    "name", ["nowhere", "nowhere.at.all", "big.nowhere", "", ".", "../big", "big/", "big..a", "bgi", "\x1b"]
)
def test_a_package_that_is_not_installed_is_told_in_words_and_the_nearest_is_named(site: Path, name: str) -> None:
    install(site, "big", "1.0", {"big/__init__.py": NEVER, "big/a.mpk": small_record()})
    shown = name.replace("\x1b", r"\x1b")
    remedy = "Install it in the environment of this command, or correct the name."
    remedy = "Did you mean `big`?" if name in {"../big", "big/", "big..a", "bgi"} else remedy
    assert refusal("verify", "--package", name) == f"Error: package `{shown}` is not installed\n  {remedy}\n"


@pytest.mark.parametrize("name", ["single", "single.a", "os", "sys"])
def test_a_module_is_no_package(site: Path, name: str) -> None:
    (site / "single.py").write_bytes(NEVER)
    assert refusal("verify", "--package", name) == (
        f"Error: expected a package with records, found the module `{name.partition('.')[0]}`\n"
        "  Name the package that the records are in.\n"
    )


def test_a_package_without_records_is_a_problem(site: Path) -> None:
    install(site, "big", "1.0", {"big/__init__.py": b""})
    assert refusal("verify", "--package", "big") == (
        "Error: no record in package `big`\n"
        "  Name another package, or build it with hatch-wheelweights, and with its hooks enabled.\n"
    )


# ------------------------------------------------------------------------------------- what RECORD says


def test_an_installed_record_must_be_the_one_that_its_distribution_lists(site: Path) -> None:
    """A record replaced by another is sound by itself."""
    install(
        site, "big-model", "1.0", {"big/__init__.py": b"", "big/a.mpk": small_record(), "big/b.mpk": small_record()}
    )
    (site / "big/a.mpk").write_bytes(small_record(2))
    (site / "big/b.mpk").unlink()
    result = run("verify", "--package", "big", status=1)
    missing, _, other, remedy = result.stderr.splitlines()
    assert missing == f"Error: {site}/big/b.mpk: is missing, although it is listed in the RECORD of big-model 1.0"
    assert other.startswith(f"Error: {site}/big/a.mpk: expected sha256 '")
    assert ", as the RECORD of big-model 1.0 says, found '" in other
    assert remedy == "  Reinstall it: pip install --force-reinstall big-model"
    assert result.stdout == ""


def test_a_size_that_differs_is_told(site: Path) -> None:
    install(site, "big", "1.0", {"big/__init__.py": b"", "big/a.mpk": small_record()})
    listing = site / "big-1.0.dist-info/RECORD"
    size = len(small_record())
    listing.write_text(listing.read_text().replace(f",{size}\n", ",7\n"))
    assert refusal("verify", "--package", "big") == (
        f"Error: {site}/big/a.mpk: expected '7' bytes, as the RECORD of big 1.0 says, found {size}\n"
        "  Reinstall it: pip install --force-reinstall big\n"
    )


@pytest.mark.parametrize(
    "row",
    [
        "big/a.mpk,,\n",
        "big/" + "a" * 200_000 + ".mpk,,\n",
        "big/a.mpk,md5=AAAA,\n",
        "big/a.mpk\n",
        "",
        '"big/a.mpk\n',
        "\0.mpk,,\n",
    ],
)
def test_what_the_listing_does_not_say_is_not_compared(site: Path, row: str) -> None:
    install(site, "big", "1.0", {"big/__init__.py": b"", "big/a.mpk": small_record()})
    (site / "big-1.0.dist-info/RECORD").write_text(row)
    assert verify("big") == sound(site / "big/a.mpk")


def test_what_an_interrupted_build_left_is_a_fault(site: Path) -> None:
    install(site, "big", "1.0", {"big/__init__.py": b"", "big/a.mpk": INTERRUPTED_BUILD})
    assert refusal("verify", "--package", "big") == (
        f"Error: {site}/big/a.mpk: expected a record, found what a build that was interrupted left in its place\n"
        "  Build it again, and install that one.\n"
    )


# ------------------------------------------------------------------------------------- records in parts


def install_parts(site: Path, *names: str) -> dict[str, bytes]:
    """Install a package whose record is an index, and parts of it; return all parts."""
    index, parts = in_parts()
    install(site, "big", "1.0", {"big/__init__.py": NEVER, "big/model.mpk": index})
    for name in names:
        package = name.replace("-", "_")
        install(site, name, "3", {f"{package}/__init__.py": NEVER, f"{package}/big/model.mpk": parts[name]})
    return parts


BOTH = ("big-weights-1", "big-weights-2")


def test_a_record_in_parts_is_sound_if_all_parts_are(site: Path) -> None:
    install_parts(site, *BOTH)
    distributions = "in the distributions big-weights-1==3, big-weights-2==3"
    assert verify("big") == sound(site / "big/model.mpk", f"6 tensors, 96 bytes, {distributions}")
    assert verify("big_weights_2") == sound(
        site / "big_weights_2/big/model.mpk",
        "3 tensors, 48 bytes; a part of a record, in the distribution big-weights-2==3",
    )
    assert not {"big", "big_weights_1", "big_weights_2"} & sys.modules.keys()


def test_damage_in_a_part_is_told_with_its_distribution(site: Path) -> None:
    parts = install_parts(site, *BOTH)
    content = bytearray(parts["big-weights-2"])
    content[-50] ^= 1
    place = site / "big_weights_2/big/model.mpk"
    place.write_bytes(content)
    first, detail, remedy = refusal("verify", "--package", "big").splitlines()
    assert first.startswith(f"Error: {place}: tensor `layer5.w`: damaged: expected CRC-32 ")
    assert detail == f"  A part of {site}/big/model.mpk, in big-weights-2==3."
    assert remedy == "  Reinstall the package that ships it; if it is yours, rebuild the wheel."


def test_a_part_that_its_distribution_does_not_list_is_told(site: Path) -> None:
    install_parts(site, *BOTH)
    listing = site / "big_weights_1-3.dist-info/RECORD"
    listing.write_text(listing.read_text().replace("model.mpk,sha256=", "model.mpk,sha256=A"))
    first, detail, remedy = refusal("verify", "--package", "big").splitlines()
    assert first.startswith(f"Error: {site}/big_weights_1/big/model.mpk: expected sha256 'A")
    assert detail == f"  A part of {site}/big/model.mpk, in big-weights-1==3."
    assert remedy == "  Reinstall it: pip install --force-reinstall big-weights-1"


def test_a_part_that_is_not_installed_is_told(site: Path) -> None:
    install_parts(site, BOTH[0])
    assert refusal("verify", "--package", "big") == (
        f"Error: {site}/big/model.mpk: expected distribution `big-weights-2` 3 with a part of this record, found none\n"
        "  Install it: pip install big-weights-2==3\n"
    )


def test_a_part_of_another_checkpoint_is_told(site: Path) -> None:
    install_parts(site, *BOTH)
    part = {"distribution": "big-weights-2", "version": "3"}
    other = record_bytes({f"layer{i}.w": np.zeros(4, np.float32) for i in (1, 4, 5)}, {"part": part})
    (site / "big_weights_2/big/model.mpk").write_bytes(other)
    first, remedy = refusal("verify", "--package", "big").splitlines()
    assert first == (
        f"Error: {site}/big/model.mpk: expected distribution `big-weights-2` 3 with the tensors that this record was "
        "built with, found others"
    )
    assert remedy.startswith("  Reinstall it: pip install --force-reinstall big-weights-2==3")


def test_where_a_package_is_comes_from_the_finders_alone(site: Path) -> None:
    install(site, "big", "1.0", {"big/__init__.py": NEVER})
    assert find_package("big").folders == (site / "big",)


def test_a_distribution_with_damaged_metadata_is_no_hindrance(site: Path) -> None:
    install(site, "big", "1.0", {"big/__init__.py": b"", "big/a.mpk": small_record()})
    (site / "big-1.0.dist-info/METADATA").write_text("")
    assert verify("big") == sound(site / "big/a.mpk")
    assert refusal("verify", "--package", "some.where").startswith("Error: package `some.where` is not installed\n")
    (site / "big/a.mpk").unlink()
    assert refusal("verify", "--package", "big").startswith(
        f"Error: {site}/big/a.mpk: is missing, although it is listed in the RECORD of ? ?\n"
    )
