"""Records that packages ship: in folders, in several folders, in zip archives."""

from __future__ import annotations

import importlib
import mmap
import os
import pickle
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from wheelweights import Record, RecordError, load, open_record, write_record
from wheelweights.formats import INTERRUPTED_BUILD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WEIGHT = np.arange(40, dtype=np.float32).reshape(5, 8)


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the packages that a test imports."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    importlib.invalidate_caches()
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("shop", "spread"):
            del sys.modules[name]
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages: `shop` with a record, one in a subfolder, and `shop.corner` with one."""
    shop = tmp_path / "site" / "shop"
    (shop / "sub" / "deep").mkdir(parents=True)
    (shop / "corner").mkdir()
    for package in (shop, shop / "corner"):
        (package / "__init__.py").touch()
        write_record(package / "model.mpk", {"w": WEIGHT})
    write_record(shop / "sub" / "deep" / "more.mpk", {"w": WEIGHT + 1})
    (shop / "notes.txt").write_text("no record")
    sys.path.insert(0, str(shop.parent))
    return shop


def test_opens_a_record_of_a_package(site: Path) -> None:
    record = load("shop", "model.mpk")
    assert (record["w"] == WEIGHT).all()
    assert record.path == str(site / "model.mpk")


def test_takes_the_imported_package_as_well(site: Path) -> None:
    shop = importlib.import_module("shop")
    assert (load(shop, "model.mpk")["w"] == WEIGHT).all()
    assert (load("shop.corner", "model.mpk")["w"] == WEIGHT).all()


def test_opens_a_record_in_a_subfolder(site: Path) -> None:
    assert (load("shop", "sub/deep/more.mpk")["w"] == WEIGHT + 1).all()
    assert (load("shop", "corner/model.mpk")["w"] == WEIGHT).all()


def test_passes_its_options_on(site: Path) -> None:
    import ml_dtypes

    write_record(site / "half.mpk", {"w": WEIGHT.astype(ml_dtypes.bfloat16)})
    assert load("shop", "half.mpk", widen=True)["w"].dtype == np.float32
    assert load("shop", "half.mpk")["w"].dtype == ml_dtypes.bfloat16
    record = load("shop", "model.mpk", mmap=False)
    (site / "model.mpk").unlink()
    assert (record["w"] == WEIGHT).all()


def test_opens_a_record_of_a_namespace_package_of_several_folders(tmp_path: Path) -> None:
    for folder, name in (("one", "a.mpk"), ("two", "b.mpk")):
        (tmp_path / folder / "spread" / folder).mkdir(parents=True)
        write_record(tmp_path / folder / "spread" / name, {"w": WEIGHT})
        write_record(tmp_path / folder / "spread" / folder / name, {"w": WEIGHT + 1})
        sys.path.insert(0, str(tmp_path / folder))
    for folder, name in (("one", "a.mpk"), ("two", "b.mpk")):
        assert (load("spread", name)["w"] == WEIGHT).all()
        assert (load("spread", f"{folder}/{name}")["w"] == WEIGHT + 1).all()
    with pytest.raises(RecordError, match=r"^no record `c\.mpk` in package `spread`"):
        load("spread", "c.mpk")


# --------------------------------------------------------------------------------------------------------- zip archives


def archived(site: Path, *, method: int = zipfile.ZIP_STORED, aligned: bool = True, prefix: str = "") -> Path:
    """Put the package into a zip archive in place of the folder; `aligned` begins its record at a multiple of 64."""
    archive = site.parent.parent / "shop.zip"
    with zipfile.ZipFile(archive, "w", method) as made:
        made.writestr(f"{prefix}shop/__init__.py", "")
        info = zipfile.ZipInfo(f"{prefix}shop/model.mpk")
        info.compress_type = method
        start = made.fp.tell() + 30 + len(info.filename)  # type: ignore[union-attr]
        padding = -(start + 4) % 64 + (0 if aligned else 3)
        info.extra = b"\xff\xff" + padding.to_bytes(2, "little") + bytes(padding)
        made.writestr(info, (site / "model.mpk").read_bytes())
    sys.path.remove(str(site.parent))
    sys.path.insert(0, str(archive / prefix) if prefix else str(archive))
    return archive


def memory_below(array: np.ndarray[Any, Any]) -> list[object]:
    """List what an array's memory belongs to, down to the last owner."""
    chain: list[object] = []
    owner: Any = array
    while owner is not None:
        owner = getattr(owner, "base" if isinstance(owner, np.ndarray) else "obj", None)
        chain.append(owner)
    return chain


def check(record: Record) -> np.ndarray[Any, Any]:
    array = record["w"]
    assert (array == WEIGHT).all()
    assert array.flags.aligned
    assert not array.flags.writeable
    record.verify()
    return array


@pytest.mark.parametrize("prefix", ["", "lib/"])
def test_maps_a_record_that_is_stored_in_the_archive_of_its_package(site: Path, prefix: str) -> None:
    archive = archived(site, prefix=prefix)
    record = load("shop", "model.mpk")
    array = check(record)
    assert any(isinstance(owner, mmap.mmap) for owner in memory_below(array)), "it was read, not mapped"
    assert np.shares_memory(array, record.raw("w"))
    assert array.ctypes.data % 64 == 0
    assert record.path == f"{archive}/{prefix}shop/model.mpk"


def test_gives_aligned_arrays_of_a_record_that_is_stored_unaligned_and_says_so_once(site: Path) -> None:
    archive = archived(site, aligned=False)
    with pytest.warns(RuntimeWarning) as caught:
        record = load("shop", "model.mpk")
    (warning,) = caught
    assert str(warning.message) == (
        f"{archive}: the record shop/model.mpk does not begin at a multiple of 64 bytes, so that its arrays have to be "
        "copied when they are used\n"
        '  Install its package unpacked, or import it from a wheel that was built with compression = "stored" '
        "(hatch-wheelweights aligns records; zip and zipapp do not)."
    )
    assert warning.filename == __file__
    load("shop", "model.mpk")  # warnings are errors in this suite
    array = check(record)
    assert record.raw("w").ctypes.data % 4, "the case that is meant"
    assert not np.shares_memory(array, record.raw("w"))


@pytest.mark.parametrize(("method", "options"), [(zipfile.ZIP_DEFLATED, {}), (zipfile.ZIP_STORED, {"mmap": False})])
def test_reads_a_record_that_is_deflated_or_not_to_be_mapped(site: Path, method: int, options: dict[str, bool]) -> None:
    archive = archived(site, method=method, aligned=False)
    record = load("shop", "model.mpk", **options)
    array = check(record)
    assert not any(isinstance(owner, mmap.mmap) for owner in memory_below(array))
    assert array.ctypes.data % 64 == 0
    archive.unlink()
    check(record)


def test_pickles_a_record_in_an_archive_by_its_package(site: Path) -> None:
    archived(site)
    check(pickle.loads(pickle.dumps(load("shop", "model.mpk"))))


def test_names_the_archive_in_errors(site: Path) -> None:
    (site / "model.mpk").write_bytes((site / "model.mpk").read_bytes()[:-1])
    archive = archived(site)
    with pytest.raises(RecordError) as caught:
        load("shop", "model.mpk")
    assert str(caught.value).startswith(f"{archive}/shop/model.mpk: truncated: expected at least ")


def test_says_that_it_is_not_in_the_archive(site: Path) -> None:
    archive = archived(site)
    with pytest.raises(RecordError) as caught:
        load("shop", "modle.mpk")
    assert str(caught.value) == not_found("modle.mpk", f"{archive}/shop/", "`model.mpk`. Did you mean `model.mpk`?")


# ------------------------------------------------------------------------------------------------------------ not found


def not_found(name: str, folder: object, there: str, *, package: str = "shop", distribution: str = "shop") -> str:
    return (
        f"no record `{name}` in package `{package}` (looked in {folder})\n"
        f"  Records there: {there}\n"
        "  Possible causes: the wheel was built with its hooks disabled (HATCH_BUILD_NO_HOOKS) or without "
        "hatch-wheelweights in\n"
        "  build-system.requires; or this is an editable install from before the record was declared.\n"
        f"  Reinstall it: pip install --force-reinstall {distribution}; in its own project: pip install -e . "
        f"(uv: uv sync --reinstall-package {distribution})."
    )


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("modle.mpk", "`model.mpk`. Did you mean `model.mpk`?"),
        ("model", "`model.mpk`. Did you mean `model.mpk`?"),
        ("zzz", "`model.mpk`."),
        ("sub", "`model.mpk`."),
        ("sub/deep/gone.mpk", "`model.mpk`."),
    ],
)
def test_says_where_it_looked_and_what_is_there(site: Path, name: str, there: str) -> None:
    with pytest.raises(RecordError) as caught:
        load("shop", name)
    assert str(caught.value) == not_found(name, site, there)


def test_says_that_nothing_is_there(site: Path) -> None:
    (site / "model.mpk").unlink()
    with pytest.raises(RecordError) as caught:
        load("shop", "model.mpk")
    assert str(caught.value) == not_found("model.mpk", site, "none.")


def test_names_the_distribution_to_reinstall(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = site.parent / "corner_shop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: corner-shop\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("shop\n")
    (site / "corner" / "model.mpk").unlink()
    with pytest.raises(RecordError) as caught:
        load("shop.corner", "model.mpk")
    assert str(caught.value) == not_found(
        "model.mpk", site / "corner", "none.", package="shop.corner", distribution="corner-shop"
    )


def test_a_file_that_is_no_record_is_named_as_what_it_is(site: Path) -> None:
    with pytest.raises(RecordError) as caught:
        load("shop", "notes.txt")
    assert str(caught.value) == (
        f"{site / 'notes.txt'}: expected a record, found a file that begins with b'no record'\n"
        "  Convert a checkpoint into a record with hatch-wheelweights: wheelweights convert SOURCE OUTPUT"
    )


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../other/model.mpk", "sub/../../model.mpk", "..", r"sub\more.mpk", r"..\model.mpk"]
)
def test_refuses_names_that_leave_the_package(site: Path, name: str) -> None:
    with pytest.raises(RecordError) as caught:
        load("shop", name)
    assert str(caught.value) == f"expected the name of a file in package `shop`, found {name!r}"


@pytest.mark.parametrize("name", ["a\0b.mpk", "x" * 5_000, "\ud800", "\x1b[2J"])
def test_names_that_no_file_can_have_are_not_found(site: Path, name: str) -> None:
    with pytest.raises(RecordError, match=r"^no record `") as caught:
        load("shop", name)
    assert str(caught.value).splitlines()[0].isprintable()


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        ("shop_that_is_not", "No module named 'shop_that_is_not'"),
        ("shop.gone", "No module named 'shop.gone'"),
        (".shop", "the 'package' argument is required to perform a relative import for '.shop'"),
    ],
)
def test_says_that_the_package_cannot_be_imported(site: Path, package: str, reason: str) -> None:
    with pytest.raises(RecordError) as caught:
        load(package, "model.mpk")
    assert str(caught.value) == f"package `{package}` cannot be imported: {reason}\n  Install it, or correct the name."


@pytest.mark.parametrize("package", ["", "__main__"])
def test_refuses_what_is_no_package_at_all(package: str) -> None:
    with pytest.raises(RecordError) as caught:
        load(package, "model.mpk")
    assert str(caught.value) == (
        f"expected the name of an installed package, found {package!r}\n"
        "  Give the name that the package is imported by."
    )


def test_lets_the_errors_of_the_package_itself_through(site: Path) -> None:
    (site / "corner" / "__init__.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        load("shop.corner", "model.mpk")


# Interrupted builds, changed checkpoints, namespace packages


def test_a_stub_says_that_the_build_was_interrupted(site: Path) -> None:
    (site / "model.mpk").write_bytes(INTERRUPTED_BUILD)
    with pytest.raises(RecordError) as caught:
        load("shop", "model.mpk")
    assert str(caught.value) == (
        f"{site / 'model.mpk'}: expected a record, found what a build that was interrupted left in its place\n"
        "  Build it again, and install that one."
    )


def editable(site: Path, **changed: Any) -> Path:
    """Write the record of an editable install, made from a checkpoint beside the package."""
    source = site.parent / "w.pt"
    source.write_bytes(b"weights")
    state = source.stat()
    files = [["../w.pt", state.st_size, state.st_mtime_ns]]
    write_record(site / "model.mpk", {"w": WEIGHT}, metadata={"editable": {"files": files} | changed})
    return source


def test_an_editable_install_is_fresh_while_its_checkpoint_is_the_same(site: Path) -> None:
    editable(site)
    load("shop", "model.mpk")


def test_an_editable_install_is_stale_when_its_checkpoint_has_changed(site: Path) -> None:
    source = editable(site)
    source.write_bytes(b"others")
    with pytest.warns(UserWarning, match="has changed since") as caught:
        record = load("shop", "model.mpk")
    assert list(record) == ["w"]
    (warning,) = caught
    assert str(warning.message) == (
        f"{site / 'model.mpk'}: the checkpoint {source} has changed since this record was made from it\n"
        "  Make it again, in its project: pip install -e . (uv: uv sync --reinstall-package shop)."
    )
    assert warning.filename == __file__


def test_several_changed_files_are_one_warning(site: Path) -> None:
    editable(site, files=[["../w.pt", 1, 1], ["../w.pt", 2, 2], ["../gone.pt", 1, 1]])
    with pytest.warns(UserWarning, match="has changed since") as caught:
        load("shop", "model.mpk")
    (warning,) = caught
    source = site.parent / "w.pt"
    assert f"the checkpoint {source} (and 1 other file) has changed" in str(warning.message)


def test_an_older_file_in_its_place_is_a_change_as_well(site: Path) -> None:
    os.utime(editable(site), (1, 1))
    with pytest.warns(UserWarning, match="has changed since"):
        load("shop", "model.mpk")


def test_an_editable_install_without_its_checkpoint_is_none_to_speak_of(site: Path) -> None:
    editable(site).unlink()
    load("shop", "model.mpk")


@pytest.mark.parametrize("files", [1, "x", [1], [[]], [["a\0", 1, 2]], [[1, 2, 3]], {"a": 1}, [["../w.pt"]]])
def test_what_it_says_of_its_checkpoint_may_be_anything(site: Path, files: object) -> None:
    editable(site, files=files)
    load("shop", "model.mpk")


def test_opening_it_by_its_path_asks_nothing(site: Path) -> None:
    editable(site).write_bytes(b"others")
    open_record(site / "model.mpk")


@pytest.mark.parametrize(
    ("direct_url", "name"),
    [
        ('{{"url": "{url}", "dir_info": {{"editable": true}}}}', "my-shop"),
        ('{{"url": "{url}", "dir_info": {{}}}}', "shop"),
        ('{{"url": "{url}/other", "dir_info": {{"editable": true}}}}', "shop"),
        ('{{"url": 1, "dir_info": {{"editable": true}}}}', "shop"),
        ("[]", "shop"),
        ("{{", "shop"),
    ],
)
def test_an_editable_distribution_is_told_by_the_folder_of_its_project(
    site: Path, tmp_path: Path, direct_url: str, name: str
) -> None:
    info = tmp_path / "env" / "my_shop-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-shop\nVersion: 1.0\n")
    (info / "RECORD").write_text("_my_shop.pth,,\n")
    (info / "direct_url.json").write_text(direct_url.format(url=site.parent.as_uri()))
    sys.path.insert(0, str(info.parent))
    (site / "model.mpk").unlink()
    with pytest.raises(RecordError) as caught:
        load("shop", "model.mpk")
    assert str(caught.value) == not_found("model.mpk", site, "none.", distribution=name)


@pytest.mark.parametrize(
    ("owner", "advice"), [(True, "--force-reinstall shop-b;"), (False, "the distribution that `shop.b`")]
)
def test_the_distribution_of_a_namespace_package_is_its_own(tmp_path: Path, owner: bool, advice: str) -> None:
    sys.path.insert(0, str(tmp_path))
    for name in ("a", "b"):
        (tmp_path / "shop" / name).mkdir(parents=True)
        (tmp_path / "shop" / name / "__init__.py").touch()
        info = tmp_path / f"shop_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: shop-{name}\nVersion: 1.0\n")
        listed = name == "a" or owner
        (info / "RECORD").write_text(f"shop/{name}/__init__.py,,\n" if listed else "")
    importlib.invalidate_caches()
    with pytest.raises(RecordError) as caught:
        load("shop.b", "model.mpk")
    assert advice in str(caught.value)
    assert "shop-a" not in str(caught.value)
