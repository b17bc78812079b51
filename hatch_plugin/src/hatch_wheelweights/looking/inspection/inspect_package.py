"""Looking into the records of an installed package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hatch_wheelweights.looking import installed
from hatch_wheelweights.looking.files import require_checkpoint
from hatch_wheelweights.looking.inspection.facts import FileFacts
from hatch_wheelweights.looking.inspection.inspect import record_facts

if TYPE_CHECKING:
    from hatch_wheelweights.looking.inspection.inspect import Wanted
    from hatch_wheelweights.options.model import ConversionOptions

__all__ = ["inspect_package"]


def inspect_package(name: str, options: ConversionOptions, wanted: Wanted) -> FileFacts:
    """Return what is in the records of an installed package, which is named as it is imported; nothing of it is run.

    Raises WheelweightsError for a package that is not there or has no record, and for options of a conversion.
    """
    files = installed.find_package(name).records().values()
    records = [(installed.open_file(file), installed.size_of(file)) for file in files]
    if not records:
        raise installed.no_record(name)
    require_checkpoint(options, *(record for record, _ in records))
    found = tuple(record_facts(record, size, wanted) for record, size in records)
    return FileFacts(path=name, kind="package", size=sum(size for _, size in records), find=wanted.find, records=found)
