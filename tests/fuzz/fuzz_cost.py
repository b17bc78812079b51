"""Look for inputs that cost much for their size: mutants, scored by CPU time and by memory for each byte.

    python tests/fuzz/fuzz_cost.py [seconds] [seed]

Starts from the seeds of the mutation tests and from small inputs of `making.costly`. For each kind of outcome it keeps
the mutant that costs most, and goes on from those. A mutant is measured again before it is kept. At the end it prints
the worst, with the calls of functions that they lead to (which do not depend on the machine), and writes them into
`found/`.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the writers of the tests

from containers import CONTAINERS, corpus

from hatch_wheelweights import load_config, open_checkpoint
from making.costly import COSTLY
from making.mutants import Pool, mutated, mutated_bytes
from making.opcodes import Op, assembled, disassembled, expressions, shown
from wheelweights.errors import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).parent
MAX_BYTES = 6_144
SECONDS = 3  # after which a mutant is stopped, and counts as one that hangs
QUICK = 0.3  # seconds that a mutant may take to have mutants of its own
SPACE_BYTES = 4 << 30
SMALL = 4_096  # added to every size, because opening a file takes a millisecond
SHOWN = 25
FILE = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)) / "model.pt"


class Hung(BaseException):
    """A mutant took more than `SECONDS`."""


@dataclass(frozen=True, order=True)
class Found:
    """A mutant: the first byte of `data` chooses its container. `score` is what it is kept for."""

    score: float
    seconds: float
    blocks: int
    size: int
    outcome: str
    data: bytes


# ------------------------------------------------------------------------------------- what a mutant costs


def measured(data: bytes) -> Found:
    """Open the file of a mutant as users do; count seconds, and blocks of memory that are held while it is open."""
    content = CONTAINERS[data[0] % len(CONTAINERS)](data[1:])
    FILE.write_bytes(content)
    gc.collect()
    blocks, started = sys.getallocatedblocks(), time.process_time()
    held, outcome = blocks, ""
    try:
        with _stopped():
            for now, said in _ways():
                held, outcome = max(held, now), said
    except WheelweightsError as error:
        outcome = str(error).splitlines()[0]
    except (Hung, MemoryError) as error:
        outcome = type(error).__name__
    seconds = time.process_time() - started
    taken = max(held - blocks, 0)
    score = max(seconds * 1e6, taken) / (len(content) + SMALL)  # a block is worth a microsecond
    return Found(score, seconds, taken, len(content), _kind(data, outcome), data)


def _ways() -> Iterator[tuple[int, str]]:
    with open_checkpoint(FILE) as checkpoint:
        tree: Any = checkpoint.tree
        yield sys.getallocatedblocks(), f"opened {type(tree).__name__}"
        for options in ({}, {"whole_model": True, "reindex": True}, {"key_remap": [("a", "b")]}):
            with contextlib.suppress(WheelweightsError):
                state = checkpoint.state_dict(**options)  # type: ignore[arg-type]
                faults = [str(tensor.fault) for tensor in state.values() if tensor.fault is not None]
                yield sys.getallocatedblocks(), f"{bool(state)} {bool(faults)} {bool(state.report.others)}"
        keys = [key for key in tree if isinstance(key, str)][:2] if isinstance(tree, dict) else []
    for key in keys:
        with contextlib.suppress(WheelweightsError):
            load_config(FILE, key)
            yield 0, "configuration"


def _kind(data: bytes, outcome: str) -> str:
    """Return what tells mutants apart: container, outcome without numbers and names, and the commonest opcodes."""
    words = re.sub(r"`[^`]*`|'[^']*'|[0-9][0-9,.]*", "", outcome.partition(": ")[2] or outcome)
    try:
        ops = disassembled(data[1:])
        names = sorted({op.name for op in ops}, key=lambda name: -sum(op.name == name for op in ops))[:3]
    except Exception:  # noqa: BLE001 (not a pickle)
        names = []
    return f"{data[0] % len(CONTAINERS)} {words[:60]} {' '.join(names)}"


@contextlib.contextmanager
def _stopped() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hung

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def calls(data: bytes) -> int:
    """Count the calls of functions that a mutant leads to: more slowly, and the same on every machine."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    FILE.write_bytes(CONTAINERS[data[0] % len(CONTAINERS)](data[1:]))
    with contextlib.suppress(WheelweightsError, Hung, MemoryError), _stopped():
        sys.setprofile(counted)
        try:
            for _ in _ways():
                pass
        finally:
            sys.setprofile(None)
    return count


# ------------------------------------------------------------------------------------- mutations that amplify


def _memoised(ops: Sequence[Op], chance: random.Random) -> list[Op]:
    """Remember a value, and take it again many times: as items, as keys, or as arguments of a call."""
    spots = expressions(ops)
    if not spots:
        return list(ops)
    start, end = chance.choice(spots)
    slot = bytes([200 + chance.randrange(50)])
    count = chance.choice([4, 16, 64, 256, 1_000])
    put, get = Op(b"q", slot), Op(b"h", slot)
    again = chance.choice([[get], [get, Op(b"0")], [get, Op(b"N"), Op(b"\x86")], [get, get, Op(b"\x86")]])
    many = [Op(b"]"), Op(b"("), *again * count, Op(b"e")]
    if chance.random() < 0.3:
        many = [Op(b"}"), *[get, Op(b"N"), Op(b"s")] * count]
    return [*ops[:start], *ops[start:end], put, Op(b"0"), *many, *ops[end:]]


def _called_again(ops: Sequence[Op], chance: random.Random) -> list[Op]:
    """Make a call, or give a state, many times with the same operands."""
    spots = expressions(ops)
    uses = [spot for spot in spots if ops[spot[1] - 1].name in ("REDUCE", "NEWOBJ", "BUILD", "SETITEM", "BINPERSID")]
    if not uses:
        return _memoised(ops, chance)
    start, end = chance.choice(uses)
    parts = [spot for spot in spots if spot[1] == end - 1 and spot[0] > start]
    split = parts[0][0] if parts else start
    one, two = b"\xc6", b"\xc7"
    count = chance.choice([4, 16, 64, 256, 1_000])
    kept = [*ops[start:split], Op(b"q", one), Op(b"0")] if split > start else []
    kept += [*ops[split : end - 1], Op(b"q", two), Op(b"0")]
    once = [*([Op(b"h", one)] if split > start else []), Op(b"h", two), ops[end - 1]]
    return [*ops[:start], *kept, Op(b"]"), Op(b"("), *once * count, Op(b"e"), *ops[end:]]


def _longer(ops: Sequence[Op], chance: random.Random) -> list[Op]:
    """Make a text, or a run of values, longer."""
    texts = [at for at, op in enumerate(ops) if op.name in ("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES")]
    if texts and chance.random() < 0.5:
        at = chance.choice(texts)
        body = ops[at].argument[1 if ops[at].name.startswith("SHORT") else 4 :] or b"x"
        body = (body * chance.choice([2, 8, 64, 512]))[:4_096]
        code = b"B" if ops[at].name == "BINBYTES" else b"X"
        return [*ops[:at], Op(code, len(body).to_bytes(4, "little") + body), *ops[at + 1 :]]
    spots = expressions(ops)
    if not spots:
        return list(ops)
    start, end = chance.choice(spots)
    return [*ops[:end], *list(ops[start:end]) * chance.choice([1, 4, 32, 256]), *ops[end:]]


def mutant(data: bytes, pool: Pool, chance: random.Random) -> bytes:
    """Return a mutant of an input."""
    try:
        ops = disassembled(data[1:])
    except Exception:  # noqa: BLE001 (not a pickle, or one that is broken)
        return data[:1] + mutated_bytes(data[1:], chance)
    if chance.random() < 0.1:
        return data[:1] + mutated_bytes(data[1:], chance)
    for _ in range(chance.choice([1, 1, 2, 3])):
        amplify = chance.choice([_memoised, _called_again, _called_again, _longer, None, None])
        ops = mutated(ops, pool, chance) if amplify is None else amplify(ops, chance)
        if not ops or len(ops) > 4 * MAX_BYTES:
            return data
    container = data[:1] if chance.random() < 0.9 else bytes([chance.randrange(1, len(CONTAINERS))])
    return container + assembled(ops)


# ------------------------------------------------------------------------------------- the search


def seeds() -> list[bytes]:
    """Return what the search starts from: the corpus, and the pickles of small costly inputs."""
    found = list(corpus().values())
    for costly in COSTLY.values():
        made = costly.make(8)
        if isinstance(made, bytes) and made.startswith(b"PK\3\4") and costly.file == "model.pt":
            with zipfile.ZipFile(BytesIO(made)) as archive:
                names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
                script = any("/code/" in name for name in archive.namelist())
                found += [bytes([4 if script else 1]) + archive.read(name) for name in names]
    return [data for data in found if len(data) <= MAX_BYTES]


def pool_of(found: Sequence[bytes]) -> Pool:
    """Return what mutants take in: the pickles among the seeds, their small values, and the names in them."""
    pickles: list[list[Op]] = []
    for data in found:
        with contextlib.suppress(Exception):
            pickles.append(disassembled(data[1:]))
    values = [ops[start:end] for ops in pickles for start, end in expressions(ops) if end - start < 8][:5_000]
    names = sorted({op.argument for ops in pickles for op in ops if op.name == "GLOBAL"})
    return Pool(pickles, values, names)


def search(seconds: float, chance: random.Random, tell: Callable[[str], None]) -> list[Found]:
    """Evolve for so many seconds; return what was kept, the worst first."""
    start = seeds()
    pool = pool_of(start)
    kept: dict[str, Found] = {}
    for data in start:
        _keep(kept, measured(data))
    ends, tried, best = time.monotonic() + seconds, 0, 0.0
    while time.monotonic() < ends:
        quick = [each for each in kept.values() if each.seconds < QUICK]  # the others would take all the time
        parent = chance.choice(start)
        if chance.random() < 0.7:
            parent = chance.choice(heapq.nlargest(40, quick) if chance.random() < 0.7 else quick).data
        data = mutant(parent, pool, chance)
        tried += 1
        if len(data) > MAX_BYTES:
            continue
        _keep(kept, measured(data))
        worst = max(kept.values())
        if worst.score > 1.1 * best:
            best = worst.score
            tell(f"{tried:,}: {_line(worst)}")
    tell(f"{tried:,} mutants, {len(kept):,} kinds")
    return sorted(kept.values(), reverse=True)


def _keep(kept: dict[str, Found], found: Found) -> None:
    """Keep a mutant that is the worst of its kind, when a second measurement agrees."""
    known = kept.get(found.outcome)
    if known is None or found.score > known.score:
        found = min(found, measured(found.data)) if found.seconds < SECONDS else found
    if known is None or found.score > known.score:
        kept[found.outcome] = found


def _line(found: Found) -> str:
    return (
        f"{found.score:8.1f}  {found.seconds:7.3f} s  {found.blocks:9,} blocks  {found.size:7,} bytes  {found.outcome}"
    )


def main() -> None:
    """Search for the seconds of the first argument (600), from the random seed of the second (0)."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600
    chance = random.Random(sys.argv[2] if len(sys.argv) > 2 else "0")
    resource.setrlimit(resource.RLIMIT_AS, (SPACE_BYTES, SPACE_BYTES))
    folder = HERE / "found"
    folder.mkdir(exist_ok=True)
    found = search(seconds, chance, lambda line: print(line, flush=True))
    print(f"\nThe worst, with microseconds or blocks for each byte ({os.cpu_count()} processors):")
    for number, each in enumerate(found[:SHOWN]):
        (folder / f"cost-{number}").write_bytes(each.data)
        count = calls(each.data)
        print(f"{_line(each)}\n    {count / each.size:.1f} calls a byte; {shown(each.data[1:])[:400]}")


if __name__ == "__main__":
    main()
