"""The command `wheelweights`, which needs click: the extra `cli`.

Does not import click, so that it can say what to install where that is missing. The commands are in `commands`.
"""

from __future__ import annotations

import gc
import importlib.util
import io
import os
import sys

from hatch_wheelweights.cli.ending import COULD_NOT_FINISH, WRONG_USAGE, end, end_for
from hatch_wheelweights.signals import ending_on_signals, ignore_signals

__all__ = ["main"]


class _Interrupted(BaseException):
    """Ctrl-C, or the system asks to end. No KeyboardInterrupt: of that, click says "Aborted!" with another status."""


def main() -> None:
    """Run the command line, and exit."""
    if importlib.util.find_spec("click") is None:
        end("Error: the command line needs click: pip install 'hatch-wheelweights[cli]'", WRONG_USAGE)
    # No command multiplies matrices: starting a thread for each processor takes longer than looking into a file
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()  # no command makes cycles that matter; looking for them takes 20 ms of an `inspect` of 5,000 tensors
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name in a file can have characters that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        with ending_on_signals(lambda _: _Interrupted(), interrupts=True):
            from hatch_wheelweights.cli.commands import cli  # noqa: PLC0415 (needs click)

            cli()
    except (_Interrupted, KeyboardInterrupt):
        end("Interrupted.", COULD_NOT_FINISH)
    except MemoryError:
        end("Error: out of memory", COULD_NOT_FINISH)
    except OSError as error:  # what the system refused, wherever that was
        end_for(error)
    finally:
        ignore_signals()
        gc.freeze()  # or Python looks through all there is once more before it ends
