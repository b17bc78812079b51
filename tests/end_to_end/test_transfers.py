"""What a conversion and a build cost, in bytes: each is read once, whatever is checked, hashed and made of it."""

from __future__ import annotations

import functools
import gc
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from hatch_wheelweights import convert, export
from making.checkpoints import safetensors, zip_checkpoint
from making.pickles import state_dict, storage, tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from making.projects import Project

COUNTS = Path("/proc/self/io")
SIZES = (2 << 20, 1000, 5 << 20, 3 << 20)  # bytes of float32 tensors
WEIGHTS = sum(SIZES)
LITTLE = WEIGHTS // 20  # names, directories, what hatchling reads and writes, and what is shorter than a block

pytestmark = pytest.mark.skipif(not COUNTS.exists(), reason="the system does not count what is read")


class Transferred(NamedTuple):
    """Bytes that this process has read and written through descriptors, whatever came out of a cache."""

    read: int
    written: int


def transferred() -> Transferred:
    counts = dict(line.split(": ") for line in COUNTS.read_text().splitlines())
    return Transferred(int(counts["rchar"]), int(counts["wchar"]))


def cost_of(action: Callable[[], object]) -> Transferred:
    """Return what an action transfers when it is not the first: modules have been read then."""
    action()
    gc.collect()
    before = transferred()
    action()
    after = transferred()
    return Transferred(after.read - before.read, after.written - before.written)


def parts() -> list[bytes]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(size // 4, np.float32).tobytes() for size in SIZES]


def as_zip() -> bytes:
    shapes = {str(number): size // 4 for number, size in enumerate(SIZES)}
    tensors = {f"w{key}": tensor(storage(key, numel), size=(numel,)) for key, numel in shapes.items()}
    return zip_checkpoint(state_dict(**tensors), dict(zip(shapes, parts(), strict=True)))


def as_safetensors() -> bytes:
    entries: dict[str, tuple[object, object, object, object]] = {}
    begin = 0
    for number, size in enumerate(SIZES):
        entries[f"w{number}"] = ("F32", [size // 4], begin, begin + size)
        begin += size
    return safetensors(entries, b"".join(parts()))


CHECKPOINTS = {"model.pt": as_zip, "model.safetensors": as_safetensors}
TABLE = """\
[[tool.hatch.build.hooks.wheelweights.records]]
source = "weights/{source}"
output = "{{package}}/{name}.mpk"
"""


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_conversion_reads_and_writes_each_byte_once(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_bytes(CHECKPOINTS[name]())
    cost = cost_of(lambda: convert(source, tmp_path / "model.mpk"))
    assert WEIGHTS < cost.read < WEIGHTS + LITTLE
    assert WEIGHTS < cost.written < WEIGHTS + LITTLE


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_that_is_read_in_another_order_is_read_twice_at_most(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_bytes(CHECKPOINTS[name]())
    cost = cost_of(lambda: convert(source, tmp_path / "model.mpk", key_remap=[("w0", "z")]))
    assert WEIGHTS < cost.read < 2 * (WEIGHTS + LITTLE)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_an_export_reads_and_writes_each_byte_once(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_bytes(CHECKPOINTS[name]())
    convert(source, tmp_path / "model.mpk")
    for one in (source, tmp_path / "model.mpk"):
        cost = cost_of(functools.partial(export, one, tmp_path / "out.safetensors", force=True))
        assert WEIGHTS < cost.read < WEIGHTS + LITTLE
        assert WEIGHTS < cost.written < WEIGHTS + LITTLE


def test_tied_tensors_are_read_once_to_be_exported(tmp_path: Path) -> None:
    tensors = {f"w{key}": tensor(storage("0", SIZES[0] // 4), size=(SIZES[0] // 4,)) for key in range(3)}
    (tmp_path / "model.pt").write_bytes(zip_checkpoint(state_dict(**tensors), {"0": parts()[0]}))
    cost = cost_of(lambda: export(tmp_path / "model.pt", tmp_path / "out.safetensors", force=True))
    assert SIZES[0] < cost.read < SIZES[0] + LITTLE
    assert 3 * SIZES[0] < cost.written < 3 * SIZES[0] + LITTLE


def test_a_wheel_costs_its_record_once_more(new_project: Callable[..., Project]) -> None:
    project = new_project(record=TABLE.format(source="model.pt", name="model"))
    (project.root / "weights" / "model.pt").write_bytes(as_zip())
    cost = cost_of(project.wheel)
    assert 2 * WEIGHTS < cost.read < 2 * (WEIGHTS + LITTLE)
    assert 1.9 * WEIGHTS < cost.written < 2 * (WEIGHTS + LITTLE)


def test_two_records_of_a_source_cost_no_more_than_each_by_itself(new_project: Callable[..., Project]) -> None:
    tables = [TABLE.format(source="model.pt", name=name) for name in ("one", "two")]
    project = new_project(record="".join(tables))
    (project.root / "weights" / "model.pt").write_bytes(as_zip())
    cost = cost_of(project.wheel)
    assert 4 * WEIGHTS < cost.read < 4 * (WEIGHTS + LITTLE)
    assert cost.written < 4 * (WEIGHTS + LITTLE)
