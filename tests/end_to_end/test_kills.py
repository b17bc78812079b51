"""Whatever kills a build, at whatever moment: what it leaves is whole, or it is refused.

Real processes are killed, each at a moment that is random but for its seed: when a temporary file has a certain size,
or a part of the way from an event that can be seen in the file system to the end of the build. No verdict depends on
the clock: when a signal is late, the law holds all the same. `pytest -m slow -s tests/end_to_end/test_kills.py` prints
at which stage the signals landed, and what was left.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from hatch_wheelweights.hooks.hook import WheelweightsBuildHook
from hatch_wheelweights.looking.verify import verify_file
from making.projects import make_project
from making.sparse import sparse_safetensors
from wheelweights.formats import INTERRUPTED_BUILD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from making.projects import Project

needs_signals = pytest.mark.skipif(os.name != "posix", reason="needs signals that end a process")

FOUND = "found what a build that was interrupted left in its place"
AGAIN = "  Build it again, and install that one."

NBYTES = 100_000_000
SEED = 11
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]

RECORD = """\
[[tool.hatch.build.hooks.wheelweights.records]]
source = "weights/model.safetensors"
output = "{package}/model.mpk"
"""
BUILD = ["hatchling", "build", "-t"]
CONVERT = ["hatch_wheelweights", "convert", "weights/model.safetensors", "made/model.mpk", "--force"]
WHEEL, SDIST, IN_TREE = "dist/demo-1.0-py3-none-any.whl", "dist/demo-1.0.tar.gz", "src/demo/model.mpk"
ROWS = {  # a command, what it makes (the last of it last), and where that is written
    "wheel": ([*BUILD, "wheel"], [WHEEL]),
    "editable": ([*BUILD, "wheel:editable"], [IN_TREE, WHEEL]),
    "sdist": ([*BUILD, "sdist"], [SDIST]),
    "convert": (CONVERT, ["made/model.mpk"]),
}
FOLDERS = ["dist", "src/demo", "made"]  # where something is written
# Signals may be ignored in what starts the tests (a shell ignores SIGINT for what it puts into the background)
START = """\
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
LOAD = "import sys; sys.path.insert(0, sys.argv[1]); import wheelweights as ww; ww.load('demo', 'model.mpk')"


class Moment(NamedTuple):
    """When a signal is sent: after an event, when this part of the time from there to the end has passed.

    After the event "bytes", which is that this part of the weights is in a temporary file: at once.
    """

    event: str
    part: float


def moments(chosen: random.Random) -> list[Moment]:
    """Return the moments for one signal; the first instants of an artefact are the most dangerous."""
    events = ("start", "temporary", "bytes", "output")
    return [*(Moment(event, chosen.random()) for event in events), Moment("output", 0.0)]


@dataclass
class Watch:
    """What was seen of a build while it ran: when something came first, and how large a temporary file became."""

    started: float
    first: dict[str, float]
    largest: int = 0
    ended: float = 0.0

    def rest(self, event: str) -> float:
        """Return the seconds from an event to the end."""
        return self.ended - self.first.get(event, self.ended)


class Builds:
    """A project with large weights, and builds of one kind in it, of which some are killed."""

    def __init__(self, folder: Path, row: str) -> None:
        self.command, self.outputs = ROWS[row]
        self.root = make_project(folder / "demo", record=RECORD).root
        self.temporary, self.kept = folder / "temporary", folder / "kept"
        for needed in (self.temporary, self.kept, self.root / "made", self.root / "dist"):
            needed.mkdir()
        self.earlier = self._made_from(b"earlier")
        for number, output in enumerate(self.outputs):
            shutil.copyfile(self.root / output, self.kept / str(number))
        self.clean = self._made_from(b"now")
        self.elsewhere, self.shipped = folder / "elsewhere", folder / "shipped"
        self.ship(self.shipped)
        assert self.earlier != self.clean
        self.tree = self.listing()
        self.usual = self._watched(lambda _: False)  # how long things take here

    def _made_from(self, last: bytes) -> dict[str, bytes]:
        """Return what is made of weights that end with some bytes."""
        source = self.root / "weights/model.safetensors"
        sparse_safetensors(source, NBYTES, last)
        os.utime(source, (1_700_000_000, 1_700_000_000))
        self.empty()
        self.run()
        return {output: digest(self.root / output) for output in self.outputs}

    # What is there

    def empty(self, *, but_for_earlier: bool = False) -> None:
        """Remove everything that a build makes; put back what was made of earlier weights if it is asked for."""
        for output in self.outputs:
            (self.root / output).unlink(missing_ok=True)
        for folder in [self.temporary, *(self.root / folder / "__pycache__" for folder in FOLDERS)]:
            shutil.rmtree(folder, ignore_errors=True)
        self.temporary.mkdir()
        for number, output in enumerate(self.outputs if but_for_earlier else ()):
            shutil.copyfile(self.kept / str(number), self.root / output)

    def listing(self) -> dict[str, tuple[int, int]]:
        """Return size and date of every file of the tree but what is made, and but for what is in `__pycache__`."""
        return {
            place: (state.st_size, state.st_mtime_ns)
            for file in self.root.rglob("*")
            if (place := file.relative_to(self.root).as_posix()) not in self.outputs
            and "__pycache__" not in file.parts
            and not file.is_dir()
            and (state := file.lstat())
        }

    def left(self) -> list[Path]:
        """Return what is temporary."""
        aside = [path for folder in FOLDERS for path in (self.root / folder / "__pycache__").glob("*")]
        return [*aside, *(path for path in self.temporary.iterdir() if not is_of_hatchling(path))]

    # Building

    def start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {"TMPDIR": str(self.temporary), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", START, *self.command]
        return subprocess.Popen(
            command, cwd=self.root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def run(self) -> None:
        with self.start() as running:
            assert running.wait() == 0

    def ship(self, into: Path) -> None:
        """Build a wheel and an sdist in a folder elsewhere, among what lies in the tree now.

        An sdist takes what was converted by hand into the tree as well, so there it is left out.
        """
        shutil.rmtree(into, ignore_errors=True)
        targets = ["-t", "wheel"] if self.command is CONVERT else ["-t", "wheel", "-t", "sdist"]
        command = [sys.executable, "-m", "hatchling", "build", "-d", str(into), *targets]
        subprocess.run(command, cwd=self.root, check=True, capture_output=True)

    def differences(self) -> Iterator[str]:
        """Build a wheel and an sdist once more; yield where they differ from those of the clean tree."""
        self.ship(self.elsewhere)
        found, clean = ({path.name: path for path in into.glob("*.*")} for into in (self.elsewhere, self.shipped))
        yield from sorted(found.keys() ^ clean.keys())
        for name in found.keys() & clean.keys():
            if digest(found[name]) != digest(clean[name]):
                other = members(found[name]) ^ members(clean[name])
                yield f"{name}: {sorted(other) or 'the archive, not its members'}"

    def _watched(self, due: Callable[[Watch], bool], number: signal.Signals | None = None) -> Watch:
        """Run a build, and send it a signal when that is due."""
        before = self._states()
        watch = Watch(time.perf_counter(), {"start": time.perf_counter()})
        with self.start() as running:
            while running.poll() is None:
                self._look(watch, before)
                if due(watch):
                    running.send_signal(number or 0)
                    break
                time.sleep(0.001)
            running.wait()
        watch.ended = time.perf_counter()
        return watch

    def _states(self) -> list[tuple[int, int, int] | None]:
        return [state_of(self.root / output) for output in self.outputs]

    def _look(self, watch: Watch, before: list[tuple[int, int, int] | None]) -> None:
        now = time.perf_counter()
        sizes = [size for folder in FOLDERS for size in sizes_below(self.root / folder / "__pycache__")]
        if sizes:
            watch.first.setdefault("temporary", now)
            watch.largest = max(watch.largest, *sizes)
        if self._states() != before:
            watch.first.setdefault("output", now)

    def kill(self, number: signal.Signals, moment: Moment) -> str:
        """Run a build and end it by a signal; return at which stage that was."""
        sent: list[bool] = []

        def due(watch: Watch) -> bool:
            seen = watch.first.get(moment.event)
            if moment.event == "bytes":
                is_due = watch.largest >= moment.part * NBYTES
            else:
                is_due = seen is not None and time.perf_counter() >= seen + moment.part * self.usual.rest(moment.event)
            sent.extend([True] * is_due)
            return is_due

        watch = self._watched(due, number)
        if not sent:
            return "after it"
        last = "output" if "output" in watch.first else "temporary" if "temporary" in watch.first else "start"
        return {"start": "before anything", "temporary": "temporary files", "output": "output there"}[last]


def state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns


def sizes_below(folder: Path) -> Iterator[int]:
    """Yield the sizes of the files in a folder and in its folders, as far as they stay long enough."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir():
                yield from sizes_below(Path(entry.path))
            else:
                yield entry.stat().st_size
        except OSError:
            continue


def is_of_hatchling(path: Path) -> bool:
    """Return whether this is the half-made wheel or sdist of hatchling itself, which leaves it whenever it fails."""
    return path.name.startswith("tmp") and path.name.endswith((".whl", ".tar.gz"))


def digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def members(path: Path) -> set[str]:
    """Return the members of a wheel or an sdist, each with all that is said of it and the digest of its content."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return {f"{one} {one.date_time} {one.CRC:08x} {one.extra!r}" for one in archive.infolist()}
    with tarfile.open(path) as archive:
        contents = ((one, archive.extractfile(one)) for one in archive)
        return {
            f"{one.get_info()} {hashlib.sha256(file.read() if file else b'').hexdigest()}" for one, file in contents
        }


# ------------------------------------------------------------------------------------- the law


def why_refused(path: Path) -> str | None:
    """Return why nobody takes an artefact for a good one; None if somebody would."""
    if path.suffix == ".whl":
        if not zipfile.is_zipfile(path):
            return "no zip archive"
        done = subprocess.run([sys.executable, "-c", LOAD, path], capture_output=True, text=True, check=False)
        return "a stub, refused" if "a build that was interrupted" in done.stderr else None
    if path.suffix == ".gz":
        try:
            with tarfile.open(path) as archive:
                contents = [file.read(1024) for one in archive if (file := archive.extractfile(one)) is not None]
        except (tarfile.TarError, EOFError, gzip.BadGzipFile):
            return "no tar archive"
        return "a stub, refused" if INTERRUPTED_BUILD in contents else None
    return None


def state_left(builds: Builds, output: str) -> str:
    """Return what is at the place of an output; "WRONG" if it is none of what may be there."""
    path = builds.root / output
    if not path.exists():
        return "nothing"
    found = digest(path)
    if found == builds.clean[output]:
        return "complete"
    return "the earlier one" if found == builds.earlier[output] else why_refused(path) or "WRONG"


def faults_left(builds: Builds, states: dict[str, str], number: signal.Signals, *, had_earlier: bool) -> Iterator[str]:
    """Yield what a build that was killed left against the law; `states` are those of its outputs."""
    for output, state in states.items():
        if state == "WRONG" or (state == "nothing" and had_earlier and number is signal.SIGKILL):
            yield f"{output}: {state}"
    if builds.listing() != builds.tree:
        yield f"the tree: {sorted(builds.listing().items() ^ builds.tree.items())}"
    if number is not signal.SIGKILL and builds.left():
        yield f"left: {builds.left()}"


def faults_of_next(builds: Builds) -> Iterator[str]:
    """Build once more, and yield what is not as after a clean build."""
    for difference in builds.differences():
        yield f"what is built among what was left differs from what a clean tree gives: {difference}"
    builds.run()
    for output in builds.outputs:
        if (state := state_left(builds, output)) != "complete":
            yield f"{output} of the next build: {state}"
    if builds.listing() != builds.tree:
        yield f"the tree after the next build: {sorted(builds.listing().items() ^ builds.tree.items())}"
    if builds.left():
        yield f"left after the next build: {builds.left()}"


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("row", ROWS)
def test_what_a_killed_build_leaves_is_whole_or_refused_and_the_next_one_is_clean(tmp_path: Path, row: str) -> None:
    chosen = random.Random(f"{SEED} {row}")
    builds = Builds(tmp_path, row)
    stages: Counter[tuple[str, str]] = Counter()
    ends: Counter[tuple[str, str]] = Counter()
    faults: list[str] = []
    for number, moment in [(number, moment) for number in SIGNALS for moment in moments(chosen)]:
        had_earlier = chosen.random() < 0.5
        builds.empty(but_for_earlier=had_earlier)
        stages[number.name, builds.kill(number, moment)] += 1
        states = {output: state_left(builds, output) for output in builds.outputs}
        ends[number.name, ", ".join(states.values())] += 1
        found = [*faults_left(builds, states, number, had_earlier=had_earlier), *faults_of_next(builds)]
        faults += [f"{number.name} at {moment}, with an earlier one {had_earlier}: {fault}" for fault in found]
    for title, figures in (("landed", stages), ("left", ends)):
        lines = [f"  {count:2} {name} {what}" for (name, what), count in sorted(figures.items())]
        print(f"\n{row}, {title}:", *lines, sep="\n")
    assert faults == []


# ------------------------------------------------------------------------------------- between hatchling and finalize


def interrupted(*_: object) -> None:
    """Take the place of `finalize`: hatchling has put its artefact into place, and the hook does not finish it."""
    raise KeyboardInterrupt


def test_a_wheel_that_was_not_finished_is_refused(
    new_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project()
    monkeypatch.setattr(WheelweightsBuildHook, "finalize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        project.wheel()
    wheel = project.root / "dist/demo-1.0-py3-none-any.whl"
    (fault,) = (verdict.fault for verdict in verify_file(str(wheel)) if verdict.fault is not None)
    assert str(fault).splitlines() == [f"{wheel}/demo/conv2d.mpk: expected a record, {FOUND}", AGAIN]


@pytest.mark.parametrize(
    ("kind", "place", "expected"),
    [("records", "src/demo/conv2d.mpk", "a record"), ("sources", "weights/conv2d.pt", "a checkpoint")],
)
def test_no_wheel_is_built_from_an_sdist_that_was_not_finished(
    new_project: Callable[..., Project],
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[[Callable[[], object]], str],
    kind: str,
    place: str,
    expected: str,
) -> None:
    project = new_project(tables=f'[tool.hatch.build.hooks.wheelweights]\nsdist = "{kind}"\n')
    with monkeypatch.context() as patched:
        patched.setattr(WheelweightsBuildHook, "finalize", interrupted)
        with pytest.raises(KeyboardInterrupt):
            project.sdist()
    with tarfile.open(project.root / "dist/demo-1.0.tar.gz") as archive:
        archive.extractall(project.root.parent / "unpacked", filter="data")
    unpacked = replace(project, root=project.root.parent / "unpacked/demo-1.0")
    assert (unpacked.root / place).read_bytes() == INTERRUPTED_BUILD
    for version in ("standard", "editable"):
        first = refused(partial(unpacked.wheel, version)).splitlines()[0]
        assert first == f"{place}: expected {expected}, {FOUND}"
    whole = project.unpacked_sdist()
    assert INTERRUPTED_BUILD not in whole.files().values()
    assert whole.wheel().read_bytes() == project.wheel().read_bytes()
