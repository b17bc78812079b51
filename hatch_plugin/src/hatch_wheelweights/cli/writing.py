"""What a command writes: whole or not at all, and over nothing that cannot be had again.

A file that is there is an error without `--force`. With it, a product of the same kind is replaced, but never weights:
those may have taken weeks. The one exception is a safetensors file where one is asked for.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from hatch_wheelweights.cli.ending import reason_of
from hatch_wheelweights.errors import ConfigError, Fault
from wheelweights.atomic import appearing_whole
from wheelweights.errors import WheelweightsError, backticked
from wheelweights.formats import HEAD_BYTES, Format, format_of, what_it_is

__all__ = ["check_record_output", "check_safetensors_output", "check_text_output", "write_text"]

# What a file of text can be taken for
_TEXTS = {None, Format.EMPTY, Format.HTML, Format.JSON, Format.REFUSAL, Format.XML}
_OTHER_FILE = "Give another file to write to."
_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".mpk", ".npz", ".whl", ".onnx", ".gguf")


def check_record_output(path: str, *, force: bool) -> None:
    """Raise an error where no record may be written: before anything is read.

    Raises ConfigError for a name that is no record's, WheelweightsError for a file that is there: a record without
    `force`, any other file always.
    """
    _check_output(path, ".mpk", Format.RECORD, "a record", force=force)


def check_safetensors_output(path: str, *, force: bool) -> None:
    """Raise an error where no safetensors file may be written, as `check_record_output` does for a record.

    Such a file can be weights that somebody trained, so `force` is meant to be rare.
    """
    _check_output(path, ".safetensors", Format.SAFETENSORS, "a safetensors file", force=force)


def _check_output(path: str, suffix: str, wanted: Format, called: str, *, force: bool) -> None:
    if PurePath(path).suffix != suffix:
        fact = f"OUTPUT: expected a path ending in `{suffix}`, found {backticked(path)}"
        remedy = f"Write {PurePath(path).with_suffix(suffix).name}." if PurePath(path).name else None
        raise ConfigError(Fault(None, fact, remedy=remedy))
    head = _head(path)
    if head is None:
        return
    if format_of(head) is not wanted:
        raise _there(path, what_it_is(head), "Give another OUTPUT, or remove the file.")
    if not force:
        raise _there(path, called, "Replace it with --force, or give another OUTPUT.")


def check_text_output(path: str, *, read: str | None, force: bool) -> None:
    """Raise WheelweightsError where no text may be written; `read` is the path of the file that the text is about.

    That is over the file that is read, over weights in any form, under a name that weights have, and, without `force`,
    over any file.
    """
    target = Path(path)
    try:
        if read is not None and target.exists() and target.samefile(read):
            raise WheelweightsError("expected another file to write to, found the one that is read", path=path)
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error
    head = _head(path)
    if head is not None and format_of(head) not in _TEXTS:
        raise _there(path, what_it_is(head), _OTHER_FILE)
    if target.suffix in _WEIGHTS:
        fact = f"expected the name of a text, found one with the suffix {target.suffix}"
        raise WheelweightsError(fact, path=path, remedy=_OTHER_FILE)
    if head is not None and not force:
        raise _there(path, "one", "Replace it with --force, or give another file to write to.")


def write_text(path: str, text: str, *, read: str | None, force: bool) -> None:
    """Write a text file whole or not at all, where `check_text_output` allows it; a device or a pipe is written to."""
    check_text_output(path, read=read, force=force)
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
            return
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error
    with appearing_whole(path) as file:
        file.write(text.encode("utf-8"))


def _head(path: str) -> bytes | None:
    """Return the first bytes of a regular file; None where there is none."""
    try:
        if not os.path.isfile(path):  # noqa: PTH113 (of a name that is too long, `Path.is_file` raises)
            return None
        with Path(path).open("rb") as file:
            return file.read(HEAD_BYTES)
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error


def _there(path: str, found: str, remedy: str) -> WheelweightsError:
    return WheelweightsError(f"expected no file there, found {found}", path=path, remedy=remedy)


def _refused(path: str, error: OSError | ValueError) -> WheelweightsError:
    return WheelweightsError(f"cannot be written: {reason_of(error)}", path=path)
