"""What costly inputs are charged, and what they take: in proportion to the file, or refused.

Each input asks for far more work than it is long. The account is compared at `n` and at `2 n`, the memory with what the
law allows; no time decides. `measure_costs.py` measures times, at larger sizes.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from typing import TYPE_CHECKING

import pytest

import hatch_wheelweights.checkpoint as room
from hatch_wheelweights import convert, opening
from hatch_wheelweights.checkpoint import cost
from hatch_wheelweights.options.model import TensorOptions
from looking.opening import BUDGET_BYTES, BUDGET_RATIO, unless_it_hangs
from making.costly import COSTLY, HONEST
from wheelweights import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from making.costly import Costly

CHECKPOINTS = {name: costly for name, costly in COSTLY.items() if not costly.file.endswith((".mpk", ".mpk.gz", ".whl"))}
WITH_MODULES = [
    name
    for name in CHECKPOINTS
    if name.startswith(("scripted", "torchscript", "exported", "settings", "shared", "unknown", "long"))
    or "modules" in name
]
QUICK, LARGE = 40, 12  # the parts of `n` that the fast and the slow tests take: tracing memory is slow
FACTOR = 2.5  # above what any file may cost: below it, twice the size may well cost four times as much


class Charged(cost.Account):
    """An account that remembers what it was charged, as do all that are made in a test."""

    all: list[Charged]

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.all.append(self)


@pytest.fixture
def charged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[int, int]]:
    """Return the steps and bytes that were charged since the last time that this was asked."""
    Charged.all = []
    for module in (room, opening):
        monkeypatch.setattr(module, "Account", Charged)

    def take() -> tuple[int, int]:
        steps, nbytes = (sum(getattr(account, name) for account in Charged.all) for name in ("steps", "nbytes"))
        Charged.all.clear()
        return steps, nbytes

    return take


def written(costly: Costly, n: int, folder: Path) -> tuple[Path, int]:
    """Write an input; return the file to open and the bytes of all its files."""
    made = costly.make(n)
    files = {costly.file: made} if isinstance(made, bytes) else dict(made)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / next(iter(files)), sum(map(len, files.values()))


def opened(path: Path, costly: Costly) -> str:
    """Open a checkpoint, take its tensors and say what is wrong with each; return the refusal, if there is one."""
    options = {name: value for name, value in costly.options.items() if name != "config_key"}
    try:
        with opening.open_checkpoint(path) as checkpoint:
            for tensor in checkpoint.state_dict(**options).values():
                str(tensor.fault)
            if "config_key" in costly.options:
                checkpoint.config(costly.options["config_key"])
    except WheelweightsError as error:
        return str(error)
    return ""


def with_module_classes(path: Path, _: Costly) -> str:
    """Open a checkpoint and take the classes of its modules; return the refusal, if there is one."""
    try:
        with opening.open_checkpoint(path) as checkpoint:
            checkpoint.module_classes(TensorOptions())
    except WheelweightsError as error:
        return str(error)
    return ""


def check(
    costly: Costly,
    n: int,
    folder: Path,
    charged: Callable[[], tuple[int, int]],
    use: Callable[[Path, Costly], str] = opened,
) -> None:
    costs: list[tuple[int, int]] = []
    for times in (1, 2):
        path, size = written(costly, times * n, folder / str(times))
        tracemalloc.start()
        with unless_it_hangs():
            refusal = use(path, costly)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < BUDGET_BYTES + BUDGET_RATIO * size, f"{peak:,} bytes for a file of {size:,}: {refusal}"
        assert all(len(line) < 1000 for line in refusal.splitlines()), refusal
        costs.append(charged())
        if "asks for more" in refusal:
            return
    for (once, twice), free in zip(zip(*costs, strict=True), (cost.FREE_STEPS, cost.FREE_BYTES), strict=True):
        assert twice <= max(FACTOR * once, 2 * free), costs


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_costly_input_is_charged_in_proportion_or_refused(
    tmp_path: Path, charged: Callable[[], tuple[int, int]], name: str
) -> None:
    check(CHECKPOINTS[name], max(1, CHECKPOINTS[name].n // QUICK), tmp_path, charged)


@pytest.mark.parametrize("name", WITH_MODULES)
def test_the_classes_of_modules_are_charged_in_proportion_or_refused(
    tmp_path: Path, charged: Callable[[], tuple[int, int]], name: str
) -> None:
    n = max(1, CHECKPOINTS[name].n // QUICK)
    check(CHECKPOINTS[name], n, tmp_path, charged, use=with_module_classes)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_large_costly_input_is_charged_in_proportion_or_refused(
    tmp_path: Path, charged: Callable[[], tuple[int, int]], name: str
) -> None:
    check(CHECKPOINTS[name], max(1, CHECKPOINTS[name].n // LARGE), tmp_path, charged)


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_input_stays_far_below_what_it_may_cost(
    tmp_path: Path, charged: Callable[[], tuple[int, int]], name: str
) -> None:
    path, size = written(HONEST[name], HONEST[name].n // 4, tmp_path / "honest")
    assert opened(path, HONEST[name]) == ""
    steps, nbytes = charged()
    limits = cost.Account(size)
    assert 2 * steps < limits.max_steps
    assert 2 * nbytes < limits.max_nbytes


# ------------------------------------------------------------------------------------- what one more of many takes


def held(path: Path) -> int:
    """Return the bytes that an open checkpoint and its state_dict hold."""
    gc.collect()
    tracemalloc.start()
    with opening.open_checkpoint(path) as checkpoint:
        tensors = checkpoint.state_dict()
        gc.collect()
        nbytes = tracemalloc.get_traced_memory()[0]
        assert tensors
    tracemalloc.stop()
    return nbytes


def calls(path: Path) -> int:
    """Return how many functions a conversion calls: about what it takes, on every machine the same."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        convert(path, path.with_name("out.mpk"))
    finally:
        sys.setprofile(None)
    return count


def one_more(measure: Callable[[Path], int], costly: Costly, n: int, folder: Path) -> list[float]:
    """Return what each of `n` more takes beside `n`, and beside `3 n`."""
    found = [measure(written(costly, times * n, folder / str(times))[0]) for times in (1, 2, 3, 4)]
    return [(found[1] - found[0]) / n, (found[3] - found[2]) / n]


INPUTS = COSTLY | HONEST
MEMORY = {"legacy_storages": 1_700, "missing_storages": 2_000, "safetensors_keys": 1_300, "honest_tensors": 1_100}
CALLS = {"legacy_storages": 600, "safetensors_keys": 350, "honest_tensors": 850}


@pytest.mark.parametrize(("name", "most"), MEMORY.items())
def test_one_more_tensor_takes_little_memory_however_many_there_are(tmp_path: Path, name: str, most: int) -> None:
    """A storage is charged 2,500 bytes, and a tensor 2,000: with what selecting and converting them adds."""
    held(written(INPUTS[name], 10, tmp_path / "first")[0])  # modules are imported, and caches filled
    assert max(one_more(held, INPUTS[name], 1_000, tmp_path)) < most


@pytest.mark.parametrize(("name", "most"), CALLS.items())
def test_one_more_tensor_takes_as_many_calls_beside_few_as_beside_many(tmp_path: Path, name: str, most: int) -> None:
    calls(written(INPUTS[name], 10, tmp_path / "first")[0])
    few, many = one_more(calls, INPUTS[name], 500, tmp_path)
    assert many < 1.05 * few < most
