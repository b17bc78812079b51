"""The build hook, and its registration with Hatch.

Knows hatchling: its targets and versions, its file selection, how it talks to the user. Knows no formats; of a record
only where it names the checkpoint that it was made from.

pluggy loads this module in every hatchling build of the environment, also for projects without weights, so whatever the
hook needs is imported where it is used. Hatch also creates the hook just to call `dependencies()`; creating it must do
nothing.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import glob
import os
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.plugin import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from hatchling.builders.config import BuilderConfig

    from hatch_wheelweights.conversion import Conversion, Plan
    from hatch_wheelweights.errors import ConfigError
    from hatch_wheelweights.opening import Checkpoint
    from hatch_wheelweights.options.paths import Job

    Interface = BuildHookInterface[BuilderConfig]
else:
    Interface = BuildHookInterface  # not every hatchling lets it be subscripted

__all__ = ["WheelweightsBuildHook", "hatch_register_build_hook"]

PYPI_LIMIT_BYTES = 100 << 20


@hookimpl
def hatch_register_build_hook() -> type[WheelweightsBuildHook]:
    """Tell Hatch of the hook."""
    return WheelweightsBuildHook


class WheelweightsBuildHook(Interface):
    """Bake checkpoints into wheels as records.

    An sdist gets the checkpoints, and the files of golden outputs. For a wheel they are converted before it is built,
    so that a failure stops the build, and the records are put into it afterwards. For an editable wheel the records are
    written into the tree. Other targets are left alone.
    """

    PLUGIN_NAME = "wheelweights"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Ship or convert the checkpoints; keep checkpoints out of wheels and records out of sdists."""
        self._converted: dict[str, Path] = {}  # place in the wheel -> file
        self._remove_converted: Callable[[], object] = self._converted.clear
        if self.target_name not in {"sdist", "wheel"}:
            return
        with self._errors_for_the_user(), ExitStack() as opened:
            jobs = self._jobs()
            sources = dict.fromkeys(job.source for job in jobs)
            checkpoints = {source: opened.enter_context(self._open(source)) for source in sources}
            self._keep_out(output for job in jobs for output in (job.output, _golden_beside(job.output)))
            self._require_runtime(build_data)
            goldens = [Path(golden) for job in jobs if (golden := job.options.golden) is not None]
            if self.target_name == "sdist":
                self._ship([*_files(checkpoints), *goldens], build_data)
            elif version == "editable":
                self._convert_into_tree(jobs, checkpoints)
            else:
                self._keep_out([*_files(checkpoints), *goldens])
                self._convert_for_wheel(jobs, checkpoints)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Put the converted records into the built wheel; when that fails, there is no wheel."""
        artifact = Path(artifact_path)
        if self._converted:
            try:
                with self._errors_for_the_user():
                    self._add_records(artifact)
            except BaseException:
                artifact.unlink()
                raise
            finally:
                self._remove_converted()
        if self.target_name in {"sdist", "wheel"}:
            self._warn_of_size(artifact)

    def clean(self, versions: list[str]) -> None:  # noqa: ARG002
        """Remove the records that editable builds wrote into the tree; leave other files that are there."""
        from hatch_wheelweights.options.table import load

        with self._errors_for_the_user():
            for record in load(self.config).records:
                pattern = glob.escape(str(record.output)).replace("{stem}", "*")
                for output in Path(self.root).glob(pattern):
                    for file in (output, _golden_beside(output)):
                        if _is_made_from(file, str(record.source)):
                            file.unlink()

    def _jobs(self) -> tuple[Job, ...]:
        from hatch_wheelweights.options.paths import resolve
        from hatch_wheelweights.options.table import load

        return resolve(load(self.config), self.root)

    def _keep_out(self, files: Iterable[Path]) -> None:
        """Keep files of the project out of what is built. Neither `artifacts` nor another hook brings them back."""
        self.build_config.build_reserved_paths.update(map(self._place, files))

    def _ship(self, files: Iterable[Path], build_data: dict[str, Any]) -> None:
        """Put files of the project into the sdist, whatever it selects or a .gitignore leaves out."""
        build_data["force_include"].update((self._in_project(file), self._in_project(file)) for file in files)

    def _require_runtime(self, build_data: dict[str, Any]) -> None:
        """Make what is built depend on the runtime, where the project does not say so itself."""
        from wheelweights import __version__

        core = self.metadata.core  # pyright: ignore[reportUnknownMemberType]  # what plugins give is not typed
        if all(one.name.lower() != "wheelweights" for one in core.dependencies_complex.values()):
            build_data["dependencies"].append(f"wheelweights>={__version__}")
            self.app.display_warning(
                "project.dependencies: expected `wheelweights`, found none; it was added to what is built\n"
                "  Write it there: installers and lock files that read pyproject.toml need it as well."
            )

    def _convert_for_wheel(self, jobs: tuple[Job, ...], checkpoints: Mapping[Path, Checkpoint]) -> None:
        """Convert into a temporary folder, until `finalize`."""
        import shutil
        import tempfile
        import weakref

        from wheelweights.golden import golden_path

        plans: dict[str, tuple[Job, Plan]] = {}
        for job in jobs:
            place = self._place(job.output).replace(os.sep, "/")
            if place in plans:
                raise _two_records_at(place)
            plans[place] = job, self._plan(job, checkpoints)
        for place, (_, plan) in plans.items():
            if plan.golden is not None and golden_path(place) in plans:
                raise _two_records_at(golden_path(place))
        folder = tempfile.mkdtemp(prefix="wheelweights-")
        # `finalize` is not called with --hooks-only or after a failure elsewhere: then the folder goes with the hook.
        self._remove_converted = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        try:
            for number, (place, (job, plan)) in enumerate(plans.items()):
                self._converted[place] = Path(folder, f"{number}.mpk")
                done = self._write(job, plan, self._converted[place], shown=place)
                if done.golden is not None:
                    self._converted[golden_path(place)] = done.golden
        except BaseException:
            self._remove_converted()
            raise

    def _convert_into_tree(self, jobs: tuple[Job, ...], checkpoints: Mapping[Path, Checkpoint]) -> None:
        """Convert to where an editable install looks, but for records that are up to date there."""
        from hatch_wheelweights.conversion import is_current

        plans = [(job, self._plan(job, checkpoints)) for job in jobs]
        for job, plan in plans:
            shown = self._in_project(job.output)
            if is_current(job.output, plan.checkpoint, job.options):
                self.app.display_info(f"{shown}: up to date with {self._in_project(job.source)}")
            else:
                job.output.parent.mkdir(parents=True, exist_ok=True)
                self._write(job, plan, job.output, shown=shown)

    def _open(self, source: Path) -> Checkpoint:
        """Open a checkpoint under the name that the user wrote; raise CheckpointError where it is none."""
        from hatch_wheelweights.checkpoint import naming
        from hatch_wheelweights.opening import open_checkpoint

        with naming(self._in_project(source)):
            return open_checkpoint(source)

    def _plan(self, job: Job, checkpoints: Mapping[Path, Checkpoint]) -> Plan:
        from hatch_wheelweights.conversion import plan_record

        return plan_record(checkpoints[job.source], job.options)

    def _write(self, job: Job, plan: Plan, output: Path, *, shown: str) -> Conversion:
        """Write one record and tell the user of it, in one line where all is well; return what was done."""
        from hatch_wheelweights.conversion import write_plan
        from hatch_wheelweights.errors import spelt
        from hatch_wheelweights.options.toml import TOML
        from wheelweights.errors import counted
        from wheelweights.golden import golden_path

        done = write_plan(plan, output)
        source = self._in_project(job.source)
        for warning in done.told:
            self.app.display_warning(f"{source}: {spelt(warning, TOML)}")
        for note in done.noted:
            self.app.display_info(f"{source}: {spelt(note, TOML)}")
        if job.options.debug:
            self.app.display_info(done.table)
        tensors = counted(done.tensors, "tensor")
        self.app.display_info(f"{shown}: {tensors}, {done.nbytes:,} bytes, from {source} ({done.format})")
        if plan.golden is not None and job.options.golden is not None:
            of, parts = self._in_project(os.fspath(job.options.golden)), counted(len(plan.golden.parts), "part")
            self.app.display_info(f"{golden_path(shown)}: golden outputs of the model and {parts}, from {of}")
        return done

    def _add_records(self, wheel: Path) -> None:
        from hatch_wheelweights.options.table import load
        from hatch_wheelweights.wheel import add_records

        add_records(wheel, self._converted, load(self.config).compression)

    def _warn_of_size(self, artifact: Path) -> None:
        size = artifact.stat().st_size
        if size > PYPI_LIMIT_BYTES:
            self.app.display_warning(
                f"{artifact.name}: expected at most {PYPI_LIMIT_BYTES:,} bytes, PyPI's default limit, found {size:,}\n"
                "  Ask PyPI for a higher limit, or make the records smaller with `precision`."
            )

    def _place(self, file: Path) -> str:
        """Return where a file of the project goes in what is built, in hatchling's spelling."""
        return str(self.build_config.get_distribution_path(os.path.relpath(file, self.root)))

    def _in_project(self, file: str | Path) -> str:
        """Return the path of a file of the project as the user wrote it."""
        path = Path(file)
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(file)

    @contextmanager
    def _errors_for_the_user(self) -> Generator[None, None, None]:
        """Stop the build with the message of one of our errors, and with its traceback only when asked (-v)."""
        from hatch_wheelweights.errors import message
        from hatch_wheelweights.options.toml import TOML
        from wheelweights import WheelweightsError

        try:
            yield
        except WheelweightsError as error:
            import traceback

            if error.path is not None:
                error.path = self._in_project(error.path)
            self.app.display_debug(traceback.format_exc())
            self.app.abort(message(error, TOML))


def _golden_beside(record: Path) -> Path:
    """Return where the golden record of a record goes."""
    from wheelweights.golden import golden_path

    return Path(golden_path(str(record)))


def _files(checkpoints: Mapping[Path, Checkpoint]) -> Iterator[Path]:
    """Return the files that the checkpoints consist of, shards too."""
    return chain.from_iterable(checkpoint.files for checkpoint in checkpoints.values())


def _is_made_from(path: Path, source: str) -> bool:
    """Return whether a file is a record made from a checkpoint of this name; the name may be a glob."""
    from wheelweights import RecordError, open_record
    from wheelweights.plain import is_dict

    try:
        with open_record(path) as record:
            made_from = record.metadata.get("source")
    except RecordError:
        return False
    return is_dict(made_from) and PurePosixPath(str(made_from.get("name"))).match(PurePosixPath(source).name)


def _two_records_at(place: str) -> ConfigError:
    from hatch_wheelweights.errors import ConfigError, Fault
    from hatch_wheelweights.options.toml import records_place
    from wheelweights.errors import backticked

    fact = f"expected one record at {backticked(place)} in the wheel, found two"
    remedy = "Hatch's `sources` or `packages` bring two outputs together: give one another name."
    return ConfigError(Fault(records_place(), fact, remedy=remedy))
