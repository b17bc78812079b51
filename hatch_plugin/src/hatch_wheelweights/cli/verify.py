"""`wheelweights verify`: every byte of records, of wheels with records, and of installed records."""

# ruff: noqa: PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from hatch_wheelweights.cli.ending import FILE_HAS_A_PROBLEM, say, tell
from hatch_wheelweights.cli.flags import FLAGS
from hatch_wheelweights.cli.saying import examples
from hatch_wheelweights.errors import message
from wheelweights.errors import WheelweightsError, counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hatch_wheelweights.looking.verify import Verdict

__all__ = ["verify"]

SHOWN_FAULTS: Final = 100  # of a wheel


@click.command(
    epilog=examples(
        "wheelweights verify model.mpk dist/*.whl",
        "wheelweights verify --package my_package",
    ),
)
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--package", "packages", multiple=True, metavar="NAME", help="An installed package to check. Repeatable.")
@click.pass_context
def verify(ctx: click.Context, /, files: tuple[str, ...], packages: tuple[str, ...]) -> None:
    """Check every byte of each FILE, a record or a wheel with records, and of the records in installed packages.

    Of a record: structure, checksums, padding. A record that Burn wrote has no checksums: only its structure is
    checked. Of a wheel: the zip archive (its directory and its headers agree, every byte belongs to one file, no two
    files share a name), the checksum of each file, RECORD (which lists each file once, with its digest and size), and
    each record in it.

    A package is named as it is imported, and nothing of it is executed. Each record in it is checked, golden ones too,
    and compared with the RECORD of the distribution that installed it. Where the tensors of a record are in
    distributions of their own, those must be installed, and are checked as well.

    Prints a line for each record that is sound, and one for a wheel that is; exit status 1 if anything is not.
    """
    from hatch_wheelweights.looking.verify import verify_file

    if not files and not packages:
        raise click.UsageError("Missing argument 'FILE...' or option '--package'.", ctx)
    faults = sum([_faults_in(file, verify_file(file)) for file in files])
    if packages:
        from hatch_wheelweights.looking.verify_package import verify_package

        faults += sum([_faults_in(package, verify_package(package)) for package in packages])
    ctx.exit(FILE_HAS_A_PROBLEM if faults else 0)


def _faults_in(name: str, verdicts: Iterable[Verdict]) -> int:
    """Tell the verdicts of a file or a package, and return how many are faults."""
    from hatch_wheelweights.looking.words import sound_line

    faults = 0
    try:
        for verdict in verdicts:
            if verdict.fault is None:
                say(sound_line(verdict))
                continue
            faults += 1
            if faults <= SHOWN_FAULTS:
                tell(f"Error: {message(verdict.fault, FLAGS)}")
    except WheelweightsError as error:  # there is nothing to check: other files are checked all the same
        tell(f"Error: {message(error, FLAGS)}")
        return faults + 1
    if faults > SHOWN_FAULTS:
        tell(f"Error: {printable(name)}: {counted(faults - SHOWN_FAULTS, 'more fault')}")
    return faults
