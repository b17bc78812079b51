"""Which tensor goes into which distribution, and what is written for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.distributions import indexed, requirements, split, write_parts
from hatch_wheelweights.errors import ConfigError
from hatch_wheelweights.options.distribution import Distribution
from wheelweights import open_record, write_record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wheelweights import Record


def record_of(path: Path, tensors: Mapping[str, Any], **metadata: Any) -> Record:
    write_record(path, tensors, metadata=metadata or None)
    return open_record(path)


def ones(count: int, dtype: str = "uint8") -> Any:
    return np.ones(count, dtype)


def test_without_a_size_there_is_one_without_a_number(tmp_path: Path) -> None:
    record = record_of(tmp_path / "m.mpk", {"a": ones(10), "b": ones(20)})
    (part,) = split({"p/m.mpk": record}, Distribution("big-weights", "3"))
    assert (part.distribution, part.version, part.package) == ("big-weights", "3", "big_weights")
    assert part.keys == {"p/m.mpk": ["a", "b"]}
    assert requirements([part]) == ["big-weights==3"]


def test_a_size_that_holds_everything_gives_one_without_a_number(tmp_path: Path) -> None:
    record = record_of(tmp_path / "m.mpk", {"a": ones(10)})
    assert requirements(split({"p/m.mpk": record}, Distribution("w", "1", 10_000))) == ["w==1"]


def test_the_largest_come_first_and_each_into_what_is_emptiest(tmp_path: Path) -> None:
    sizes = {"a": 30_000, "b": 60_000, "c": 60_000, "d": 30_000, "e": 60_000, "f": 30_000}
    record = record_of(tmp_path / "m.mpk", {key: ones(size) for key, size in sizes.items()})
    parts = split({"p/m.mpk": record}, Distribution("w", "1", 95_000))
    assert [part.keys["p/m.mpk"] for part in parts] == [["a", "b"], ["c", "d"], ["e", "f"]]
    assert [part.package for part in parts] == ["w_1", "w_2", "w_3"]


def test_a_tensor_that_is_too_large_is_named_with_the_size(tmp_path: Path) -> None:
    record = record_of(tmp_path / "m.mpk", {"a": ones(10), "emb.weight": ones(5_000)})
    with pytest.raises(ConfigError) as caught:
        split({"p/m.mpk": record}, Distribution("w", "1", 4_000))
    assert str(caught.value) == (
        "hooks.wheelweights.distribution.max-size: expected room for every tensor, found 4,000 bytes and tensor "
        "`emb.weight` of `p/m.mpk`, which takes 5,155\n  Make it larger."
    )


@pytest.mark.parametrize(("name", "size"), [("big", None), ("big", 60_000)])
def test_a_package_that_the_project_has_is_taken(tmp_path: Path, name: str, size: int | None) -> None:
    """One installation would put its `__init__.py` over the other's."""
    place = "Big/m.mpk" if size is None else "big_2/m.mpk"
    record = record_of(tmp_path / "m.mpk", {"a": ones(50_000), "b": ones(50_000)})
    with pytest.raises(ConfigError) as caught:
        split({place: record}, Distribution(name, "1", size))
    assert str(caught.value) == (
        "hooks.wheelweights.distribution.name: expected an import package of its own, found that of the project: "
        f"{place.partition('/')[0].lower()}\n  Choose a name that no package of the project has: an installation would "
        "put one over the other."
    )


def test_the_search_for_many_parts_begins_near_its_end(tmp_path: Path) -> None:
    """Trying every number from the sum of the bytes upwards would take minutes here."""
    record = record_of(tmp_path / "m.mpk", {f"{n}": ones(340) for n in range(20_000)})
    assert len(split({"p/m.mpk": record}, Distribution("w", "1", 1_300))) == 10_000


def test_ties_go_together_and_are_written_once(tmp_path: Path) -> None:
    tied = ones(50_000)
    record = record_of(tmp_path / "m.mpk", {"a": tied, "b": ones(50_000), "c": tied})
    parts = split({"p/m.mpk": record}, Distribution("w", "1", 60_000))
    assert [part.keys["p/m.mpk"] for part in parts] == [["a", "c"], ["b"]]
    (path,) = write_parts(parts[0], {"p/m.mpk": record}, tmp_path).values()
    assert path.stat().st_size < 60_000


def test_several_records_share_the_distributions(tmp_path: Path) -> None:
    records = {
        "p/m.mpk": record_of(tmp_path / "m.mpk", {"a": ones(50_000), "b": ones(50_000)}),
        "p/n.mpk": record_of(tmp_path / "n.mpk", {"a": ones(1_000)}),
    }
    parts = split(records, Distribution("w", "1", 60_000))
    assert [dict(part.keys) for part in parts] == [{"p/m.mpk": ["a"], "p/n.mpk": ["a"]}, {"p/m.mpk": ["b"]}]
    assert list(write_parts(parts[0], records, tmp_path)) == ["p/m.mpk", "p/n.mpk"]
    assert [part["distribution"] for part in indexed(records["p/n.mpk"], "p/n.mpk", parts)["parts"]] == ["w-1"]


def test_a_part_says_where_it_belongs_and_keeps_the_names_of_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "m.mpk"
    metadata = {"generator": "g", "source": {"name": "m.pt"}, "config": {"a": 1}}
    write_record(path, {"new": ones(8)}, metadata=metadata, source_keys={"new": "old"})
    records = {"p/m.mpk": open_record(path)}
    (part,) = split(records, Distribution("w", "1"))
    (written,) = write_parts(part, records, tmp_path).values()
    record = open_record(written)
    assert record.info("new").source == "old"
    assert record.metadata == {
        "generator": "g", "source": {"name": "m.pt"}, "part": {"distribution": "w", "version": "1"}
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "bool", "complex64"])
def test_every_dtype_comes_along(tmp_path: Path, dtype: str) -> None:
    import ml_dtypes

    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    records = {"p/m.mpk": record_of(tmp_path / "m.mpk", {"w": np.ones((2, 3), kind)})}
    (part,) = split(records, Distribution("w", "1"))
    (written,) = write_parts(part, records, tmp_path).values()
    assert open_record(written).raw("w").tobytes() == records["p/m.mpk"].raw("w").tobytes()
    assert open_record(written).info("w").dtype == dtype


def test_a_record_without_tensors_needs_no_distribution(tmp_path: Path) -> None:
    record = record_of(tmp_path / "m.mpk", {})
    assert split({"p/m.mpk": record}, Distribution("w", "1", 100)) == ()
    assert indexed(record, "p/m.mpk", ())["parts"] == []


SIZES = st.lists(st.integers(0, 5_000), max_size=30)


@given(SIZES, st.integers(6_000, 40_000), st.integers(1, 40))
def test_every_tensor_is_in_one_part_and_no_part_is_too_large(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], limit: int, length: int
) -> None:
    folder = tmp_path_factory.mktemp("split")
    tensors = {f"{'k' * length}.{number}": ones(size) for number, size in enumerate(sizes)}
    half = len(tensors) // 2
    records = {
        "p/m.mpk": record_of(folder / "m.mpk", dict(list(tensors.items())[:half]), generator="one"),
        "p/n.mpk": record_of(folder / "n.mpk", dict(list(tensors.items())[half:]), generator="one"),
    }
    distribution = Distribution("w", "1", limit)
    parts = split(records, distribution)
    found = sorted(key for part in parts for keys in part.keys.values() for key in keys)
    assert found == sorted(tensors)
    for number, part in enumerate(parts):
        (folder / str(number)).mkdir()
        written = write_parts(part, records, folder / str(number)).values()
        with_metadata = sum(path.stat().st_size for path in written)
        metadata = sum(len(str(open_record(path).metadata)) + 64 for path in written)
        assert with_metadata <= limit + metadata
    least = -(-sum(sizes) // limit)
    assert least <= len(parts) <= 2 * least + 1
    again = record_of(folder / "again.mpk", records["p/m.mpk"], generator="two" * 99)
    others = split({**records, "p/m.mpk": again}, distribution)
    assert [part.keys for part in others] == [part.keys for part in parts]


def test_many_tensors_are_divided(tmp_path: Path) -> None:
    record = record_of(tmp_path / "m.mpk", {f"layers.{n}.weight": ones(8) for n in range(20_000)})
    parts = split({"p/m.mpk": record}, Distribution("w", "1", 500_000))
    assert sum(len(keys) for part in parts for keys in part.keys.values()) == 20_000
