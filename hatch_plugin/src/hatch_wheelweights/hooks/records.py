"""The records of a project: planned by names, then written, or taken from an unpacked sdist as they are."""

# ruff: noqa: PLC0415

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hatch_wheelweights.conversion import Plan
    from hatch_wheelweights.hooks.project import Project
    from hatch_wheelweights.opening import Checkpoint
    from hatch_wheelweights.options.distribution import Distribution
    from hatch_wheelweights.options.paths import Job

__all__ = ["Made", "Planned", "golden_beside", "make_records", "needs_extra", "plan_records", "write_into_tree"]


@dataclass(frozen=True)
class Planned:
    """A record that what is built needs: its job, and the plan of its conversion.

    There is no plan where this is an unpacked sdist, which holds the record instead of the checkpoint.
    """

    job: Job
    plan: Plan | None

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that it is made from: those of the checkpoint, shards too."""
        return () if self.plan is None else self.plan.checkpoint.files

    @property
    def goldens(self) -> tuple[Path, ...]:
        """The file of golden outputs, where one is asked for."""
        return () if self.job.options.golden is None else (Path(self.job.options.golden),)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Where the record has its place in the tree, and its golden record, where one is asked for."""
        return self.products if self.goldens else self.products[:1]

    @property
    def products(self) -> tuple[Path, Path]:
        """The places in the tree of the record and of the golden record that an earlier build may have left there."""
        return self.job.output, golden_beside(self.job.output)


class Made(NamedTuple):
    """A record that was made: its place in the project's tree, and the file that holds it."""

    output: Path
    file: Path
    is_golden: bool = False


def plan_records(project: Project, opened: ExitStack) -> list[Planned]:
    """Return the plans of all records of a project, each checkpoint opened once, before a byte of weights is read.

    The checkpoints stay open as long as `opened`. Raises WheelweightsError for whatever is wrong by name.
    """
    from hatch_wheelweights.conversion import check_kept, plan_record

    jobs = project.jobs
    checkpoints: dict[Path, Checkpoint] = {}
    for job in jobs:
        if job.source is not None and job.source not in checkpoints:
            checkpoints[job.source] = opened.enter_context(_open(project, job.source))
    planned: list[Planned] = []
    for job in jobs:
        if job.source is None:
            check_kept(job.output, job.options, project.options.distribution)
            planned.append(Planned(job, None))
        else:
            planned.append(Planned(job, plan_record(checkpoints[job.source], job.options)))
    return planned


def _open(project: Project, source: Path) -> Checkpoint:
    """Open a checkpoint under the name that the user wrote; raise CheckpointError where it is none."""
    from hatch_wheelweights.checkpoint import naming
    from hatch_wheelweights.opening import open_checkpoint

    with naming(project.relative(source)):
        return open_checkpoint(source)


def make_records(project: Project, planned: Sequence[Planned], folder: Path) -> list[Made]:
    """Write each record into a folder, with its golden record; return them with those that are there already."""
    made: list[Made] = []
    for number, one in enumerate(planned):
        output, golden = one.products
        if one.plan is None:
            made.append(Made(output, output))
            made += [Made(golden, golden, True)] if one.goldens else []
            continue
        file = folder / f"{number}.mpk"
        made.append(Made(output, file))
        written = _write(project, one.job, one.plan, file, shown=project.wheel_place(output))
        made += [Made(golden, written, True)] if written else []
    return made


def write_into_tree(project: Project, planned: Iterable[Planned]) -> None:
    """Write each record where an editable install looks for it, but for those that are up to date there."""
    from hatch_wheelweights.conversion import is_current, stamped

    for one in planned:
        job, shown = one.job, project.relative(one.job.output)
        if one.plan is None:
            _require_tensors(job.output)
            project.note(["as this unpacked sdist holds it"], shown)
            continue
        _require_package(project, job.output)
        plan = stamped(one.plan, job.output.parent)
        if is_current(job.output, plan, job.options.golden):
            project.note([f"up to date with {project.relative(plan.checkpoint.path)}"], shown)
        else:
            job.output.parent.mkdir(parents=True, exist_ok=True)
            _write(project, job, plan, job.output, shown=shown)


def _require_package(project: Project, output: Path) -> None:
    """Raise ConfigError for a record that no package of the tree would hold: a misspelt folder, say."""
    from hatch_wheelweights.audit import CODE, no_package
    from hatch_wheelweights.errors import ConfigError

    place = project.wheel_place(output)
    depth = place.count("/")
    if not depth:
        return  # beside the packages, not in a folder of its own
    top = output.parents[depth - 1]

    def has_code(folder: Path) -> bool:
        return any(file.suffix in CODE for file in folder.rglob("*"))

    if not has_code(top):
        siblings = top.parent.iterdir() if top.parent.is_dir() else ()
        packages = [one.name for one in siblings if one.is_dir() and one != top and has_code(one)]
        raise ConfigError(no_package(place, packages))


def _require_tensors(record: Path) -> None:
    """Raise RecordError for a record whose tensors are in distributions of their own."""
    from wheelweights import RecordError, open_record

    with open_record(record, index=True) as opened:
        if opened.metadata.get("parts"):
            raise RecordError(
                "expected a record with its tensors for an editable install, found one whose tensors are in others",
                path=str(record),
                remedy="Install it from the project itself; this is an unpacked sdist.",
            )


def _write(project: Project, job: Job, plan: Plan, file: Path, *, shown: str) -> Path | None:
    """Write one record and tell the user of it, in one line where all is well; return its golden record's file."""
    from hatch_wheelweights.conversion import write_plan
    from hatch_wheelweights.looking.texts import human_size
    from wheelweights.errors import counted
    from wheelweights.golden import golden_path

    started = time.perf_counter()
    done = write_plan(plan, file)
    seconds = time.perf_counter() - started
    source = project.relative(plan.checkpoint.path)
    project.warn(done.told, source)
    project.note(done.noted, source)
    if job.options.debug:
        project.app.display_info(done.table)
    tensors = counted(done.tensors, "tensor")
    project.note([f"{tensors}, {done.nbytes:,} bytes, from {source} ({done.format})"], shown)
    speed = f"{seconds:.2f} s, {human_size(round(done.size / max(seconds, 1e-6)))}/s"
    project.app.display_debug(f"{source} -> {shown}: {human_size(done.size)} in {speed}")
    if plan.golden is not None and job.options.golden is not None:
        of, parts = project.relative(job.options.golden), counted(len(plan.golden.parts), "part")
        project.note([f"golden outputs of the model and {parts}, from {of}"], golden_path(shown))
    return done.golden


def in_distributions(
    project: Project, made: Sequence[Made], distribution: Distribution, folder: Path
) -> tuple[list[Made], tuple[str, ...]]:
    """Return records without tensors in the place of whole ones, and the requirements that name where these are.

    What an unpacked sdist holds is that already.
    """
    from hatch_wheelweights.distributions import requirements, split, write_index
    from wheelweights import open_record
    from wheelweights.parts import parts_of

    with ExitStack() as opened:
        records = {one: opened.enter_context(open_record(one.file, index=True)) for one in made if not one.is_golden}
        indexes = [parts_of(record.metadata, record.path) for record in records.values()]
        if any(indexes):
            named = {part.requirement for parts in indexes for part in parts}  # records share distributions
            return list(made), tuple(
                sorted(named, key=lambda one: (len(one), one))
            )  # by their numbers, as `split` has them
        places = {project.wheel_place(one.output): record for one, record in records.items()}
        parts = split(places, distribution)
        written: list[Made] = []
        for number, one in enumerate(made):
            if one in records:
                place, file = project.wheel_place(one.output), folder / f"{number}.index.mpk"
                write_index(records[one], place, parts, file)
                one = one._replace(file=file)  # noqa: PLW2901
            written.append(one)
        return written, tuple(requirements(parts))


def golden_beside(record: Path) -> Path:
    """Return where the golden record of a record goes."""
    from wheelweights.golden import golden_path

    return Path(golden_path(str(record)))


def needs_extra(made: Iterable[Made]) -> Iterator[tuple[Path, str]]:
    """Yield each record with tensors of a dtype that numpy has not, and that dtype."""
    from wheelweights import open_record
    from wheelweights.dtypes import DTYPES

    for output, file, _ in made:
        with open_record(file, index=True) as record:
            dtypes = dict.fromkeys(record.info(key).dtype for key in record)
        yield from ((output, dtype) for dtype in dtypes if DTYPES[dtype].numpy is None)
