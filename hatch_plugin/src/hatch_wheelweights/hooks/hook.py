"""The build hook: records into wheels, sdists and the trees of editable installs.

Knows hatchling: its targets and versions, its file selection, in which order it does things. Knows no formats; of a
record only where it names the checkpoint that it was made from.

Hatch also creates the hook just to call `dependencies()`; creating it must do nothing.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import glob
import os
import weakref
from contextlib import ExitStack
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

from hatch_wheelweights.hooks.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hatchling.builders.config import BuilderConfig

    from hatch_wheelweights.errors import ConfigError
    from hatch_wheelweights.hooks.records import Made, Planned

    Interface = BuildHookInterface[BuilderConfig]
else:
    Interface = BuildHookInterface  # not every hatchling lets it be subscripted

__all__ = ["WheelweightsBuildHook"]

PYPI_LIMIT_BYTES = 100 << 20


class WheelweightsBuildHook(Interface):
    """Bake checkpoints into wheels as records.

    Everything is converted before anything is built, so that a failure stops the build; the records are put into what
    was built afterwards. An sdist gets them as well, or the checkpoints if it is asked to. For an editable wheel the
    records are written into the tree. Other targets are left alone.

    Hatchling puts its wheel or sdist under the final name before hooks finish. Until the records are in, it has stubs
    at their places, which the runtime and builds from the sdist refuse by saying that the build was interrupted.
    """

    PLUGIN_NAME = "wheelweights"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Convert the checkpoints; keep checkpoints out of wheels and what editable builds left out of everything."""
        self._files: dict[str, Path] = {}  # place in what is built -> file
        self._planned: Sequence[Planned] = ()
        self._requirements: tuple[str, ...] = ()
        self._let_go: Callable[[], object] = lambda: None
        if self.target_name not in {"sdist", "wheel"}:
            return
        held = self._hold()
        try:
            with self._project.spoken_to(), ExitStack() as opened:
                self._prepare(version, build_data, held, opened)
        except BaseException:
            self._let_go()
            raise

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Put the records into what was built, and audit it; when that fails, it is removed."""
        artifact = Path(artifact_path)
        try:
            with self._project.spoken_to():
                if self.target_name == "sdist":
                    self._finish_sdist(artifact)
                elif self.target_name == "wheel" and version != "editable":
                    self._finish_wheel(artifact)
        except BaseException:
            artifact.unlink(missing_ok=True)
            raise
        finally:
            self._let_go()

    def clean(self, versions: list[str]) -> None:  # noqa: ARG002
        """Remove the records that editable builds wrote into the tree, and what killed ones left; leave other files."""
        from hatch_wheelweights.hooks.records import golden_beside

        with self._project.errors_for_the_user():
            if self._project.is_unpacked_sdist:
                return  # there, the records are what the wheel is made from
            root = self._project.root
            self._sweep(root / record.output for record in self._project.options.records)
            for record in self._project.options.records:
                pattern = glob.escape(str(record.output)).replace("{stem}", "*")
                for output in root.glob(pattern):
                    for file in (output, golden_beside(output)):
                        if _is_made_from(file, str(record.source)):
                            file.unlink()

    @property
    def _project(self) -> Project:
        if not hasattr(self, "_known"):
            plugin: Any = self  # what Hatch's plugins give is not typed
            self._known = Project(Path(self.root), self.config, plugin.metadata, self.app)
        return self._known

    def _hold(self) -> ExitStack:
        """Return what is to be let go when the build of one version is over, however it ends.

        `finalize` is not called with --hooks-only, or after a failure elsewhere: then it is let go with the hook.
        """
        from hatch_wheelweights.signals import ending_on_signals

        held = ExitStack()
        self._let_go = weakref.finalize(self, held.close)
        held.enter_context(ending_on_signals(lambda signal: SystemExit(128 + signal)))
        return held

    def _prepare(self, version: str, build_data: dict[str, Any], held: ExitStack, opened: ExitStack) -> None:
        from hatch_wheelweights.hooks.records import plan_records, write_into_tree
        from hatch_wheelweights.hooks.requirements import check_runtime
        from wheelweights.atomic import scratch_folder

        self._sweep(job.output for job in self._project.jobs)
        planned = self._planned = plan_records(self._project, opened)
        check_runtime(self.metadata.core)  # pyright: ignore[reportUnknownMemberType]  # what plugins give is not typed
        self._keep_out(file for one in planned for file in one.products)
        if self.target_name == "wheel" and version == "editable":
            write_into_tree(self._project, planned)
            return
        self._keep_out(file for one in planned for file in (*one.sources, *one.goldens))
        scratch = scratch_folder(Path(self.directory))
        held.callback(scratch.remove)
        self._scratch = scratch.path
        files = self._for_sdist(planned) if self.target_name == "sdist" else self._for_wheel(planned)
        self._files.update(files)
        if self.target_name == "wheel":
            self._refuse_forced(build_data)
        build_data["force_include"].update(self._stubs())
        known = set(self.metadata.core.dependencies)  # pyright: ignore[reportUnknownMemberType]
        build_data["dependencies"] += [one for one in self._requirements if one not in known]

    def _sweep(self, outputs: Iterable[Path]) -> None:
        """Remove what builds that were killed left in the folders where this one writes."""
        from wheelweights.atomic import sweep

        for folder in {Path(self.directory), *(output.parent for output in outputs)}:
            sweep(folder)

    def _for_sdist(self, planned: Sequence[Planned]) -> Iterator[tuple[str, Path]]:
        """Yield what the sdist carries: records in the place of checkpoints, or the checkpoints themselves."""
        if self._project.options.sdist == "records":
            files = [(one.output, one.file) for one in self._made(planned)]
        else:
            files = [(file, file) for one in planned for file in (*_sources(one), *one.goldens)]
        left_out: list[str] = []
        for output, file in files:
            place = self._project.relative(output)
            if self._is_excluded(place):
                left_out.append(place)
            else:
                yield place, file
        if left_out:
            self.app.display_warning(
                f"{', '.join(left_out)}: left out of the sdist, as `exclude` says; no wheel can be built from it"
            )

    def _for_wheel(self, planned: Sequence[Planned]) -> Iterator[tuple[str, Path]]:
        places: set[str] = set()
        for one in planned:
            for output in one.outputs:
                place = self._project.wheel_place(output)
                if place in places:
                    raise _two_records_at(place)
                places.add(place)
        return ((self._project.wheel_place(one.output), one.file) for one in self._made(planned))

    def _made(self, planned: Sequence[Planned]) -> Sequence[Made]:
        """Return the records, made in a folder that goes when the build is over."""
        from hatch_wheelweights.hooks.records import in_distributions, make_records, needs_extra
        from hatch_wheelweights.hooks.requirements import extra_warning

        made = make_records(self._project, planned, self._scratch)
        needing = ((self._project.wheel_place(output), dtype) for output, dtype in needs_extra(made))
        if warning := extra_warning(self.metadata.core, needing):  # pyright: ignore[reportUnknownMemberType]
            self.app.display_warning(warning)
        if (distribution := self._project.options.distribution) is not None:
            made, self._requirements = in_distributions(self._project, made, distribution, self._scratch)
        return made

    def _refuse_forced(self, build_data: Mapping[str, Any]) -> None:
        """Raise ConfigError for files that the user, or another hook, forces to the place of a record."""
        from hatch_wheelweights.errors import ConfigError
        from hatch_wheelweights.wheel import taken_place

        forced = {**self.build_config.get_force_include(), **build_data["force_include"]}
        config: Any = self.build_config  # likewise
        found = config.builder.recurse_forced_files(
            {source: target for source, target in forced.items() if os.path.exists(source)}  # noqa: PTH110 (text)
        )
        taken = {one.distribution_path.replace(os.sep, "/") for one in found} & self._files.keys()
        if taken:
            raise ConfigError(*map(taken_place, sorted(taken)))

    def _stubs(self) -> dict[str, str]:
        """Return a file for the place of each record in the tree, for Hatch to put there until `finalize`.

        In an sdist, also for that of each checkpoint.
        """
        from wheelweights.formats import INTERRUPTED_BUILD

        outputs = (output for one in self._planned for output in one.outputs)
        places = self._files if self.target_name == "sdist" else map(self._project.relative, outputs)
        stubs: dict[str, str] = {}
        for place in places:
            stub = self._scratch / f"{len(stubs)}.stub"
            stub.write_bytes(INTERRUPTED_BUILD)
            stubs[str(stub)] = place
        return stubs

    def _finish_wheel(self, wheel: Path) -> None:
        from hatch_wheelweights.audit import Contents, audit
        from hatch_wheelweights.wheel import add_records

        crcs = add_records(wheel, self._files, self._project.options.compression)
        names = {PurePath(one.job.options.source).name for one in self._planned}
        required = ("wheelweights", *self._requirements)
        sources = [file for one in self._planned for file in one.sources]
        line, warnings = audit(wheel, Contents(self._files, crcs, sources, names, required))
        self._project.warn(warnings, wheel.name)
        self._project.note([line], wheel.name)
        self._warn_of_size(wheel)

    def _finish_sdist(self, sdist: Path) -> None:
        from hatch_wheelweights.sdist import add_files, copies_of

        sources = [file for one in self._planned for file in one.sources]
        for place, source in copies_of(sources, sdist):
            raise _checkpoint_in_sdist(sdist, place, self._project.relative(source))
        add_files(sdist, self._files)
        self._project.note([f"with {', '.join(self._files) or 'neither records nor checkpoints'}"], sdist.name)
        self._warn_of_size(sdist)

    def _keep_out(self, files: Iterable[Path]) -> None:
        """Keep files of the project out of what is built. Neither `artifacts` nor another hook brings them back."""
        self.build_config.build_reserved_paths.update(map(self._place, files))

    def _place(self, file: Path) -> str:
        """Return where a file of the project goes in what is built, in hatchling's spelling."""
        return str(self.build_config.get_distribution_path(os.path.relpath(file, self.root)))

    def _is_excluded(self, place: str) -> bool:
        """Return whether the user's own patterns leave a file out of the sdist; a .gitignore does not count."""
        from pathspec import GitIgnoreSpec

        config = self.build_config
        patterns: Mapping[str, Any] = config.target_config if "exclude" in config.target_config else config.build_config
        return GitIgnoreSpec.from_lines(patterns.get("exclude", ())).match_file(place)

    def _warn_of_size(self, artifact: Path) -> None:
        size = artifact.stat().st_size
        if size > PYPI_LIMIT_BYTES:
            self.app.display_warning(
                f"{artifact.name}: expected at most {PYPI_LIMIT_BYTES:,} bytes, PyPI's default limit, found {size:,}\n"
                "  Put the records into distributions of their own with `distribution`, make them smaller with "
                "`precision`, or ask PyPI for a higher limit."
            )


def _sources(planned: Planned) -> Sequence[Path]:
    """Return the files of the checkpoint; raise ConfigError where an unpacked sdist holds the record instead."""
    from hatch_wheelweights.errors import ConfigError, Fault

    if planned.plan is None:
        fact = f"expected {planned.job.options.source} for an sdist with sources, found the record alone"
        raise ConfigError(Fault(None, fact, remedy="Make the sdist in the project itself: this is an unpacked one."))
    return planned.sources


def _is_made_from(path: Path, source: str) -> bool:
    """Return whether a file is a record made from a checkpoint of this name; the name may be a glob."""
    from wheelweights import RecordError, open_record
    from wheelweights.plain import is_dict

    try:
        with open_record(path, index=True) as record:
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


def _checkpoint_in_sdist(sdist: Path, place: str, source: str) -> ConfigError:
    from hatch_wheelweights.errors import ConfigError, Fault
    from wheelweights.errors import backticked

    fact = f"expected no checkpoint in it but where it belongs, found {backticked(source)} at {backticked(place)}"
    remedy = "Take it, or its folder, out of force-include."
    return ConfigError(Fault(None, fact, remedy=remedy), path=sdist.name)
