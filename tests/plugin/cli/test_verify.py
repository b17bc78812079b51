"""`wheelweights verify`: every byte of a record, or of every record in a wheel."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

import wheelweights as ww
from looking.commands import refusal, run, stdout
from making.small_files import WHEEL, small_checkpoint, small_wheel


def test_verify_says_that_a_record_is_sound() -> None:
    ww.write_record("model.mpk", {"w": np.ones(4, np.float32)})
    assert stdout("verify", "model.mpk") == "model.mpk: sound, 1 tensor, 16 bytes\n"


def test_verify_says_that_a_record_of_burn_has_no_checksums(corpus: Path) -> None:
    path = corpus / "burn" / "modern_lstm_burn_0.17_half.mpk"
    line = f"{path}: well-formed (Burn's records have no checksums), 42 tensors, 54,914 bytes\n"
    assert stdout("verify", str(path)) == line


def test_verify_looks_at_every_record_in_a_wheel() -> None:
    small_wheel()
    wheel = Path(WHEEL)
    sound = [f"{wheel}/demo/{number}.mpk: sound, 1 tensor, 16 bytes\n" for number in (1, 2)]
    nbytes = sum(member.file_size for member in zipfile.ZipFile(wheel).infolist())
    assert stdout("verify", str(wheel)) == f"{''.join(sound)}{wheel}: sound, 3 files, {nbytes} bytes\n"
    content = bytearray(wheel.read_bytes())
    place = content.index(np.arange(4, dtype=np.float32).tobytes())
    content[place] ^= 1
    wheel.write_bytes(content)
    result = run("verify", str(wheel), status=1)
    assert result.stdout == sound[1]
    assert re.fullmatch(
        rf"Error: {wheel}/demo/1\.mpk: tensor `w`: damaged: expected CRC-32 \w{{8}}, found \w{{8}}\n"
        r"  Reinstall the package that ships it; if it is yours, rebuild the wheel\.\n",
        result.stderr,
    )


def test_verify_refuses_a_checkpoint() -> None:
    small_checkpoint()
    assert refusal("verify", "model.pt") == (
        "Error: model.pt: expected a record or a wheel, found a checkpoint (pytorch-zip)\n"
        "  Convert it into a record: wheelweights convert SOURCE OUTPUT\n"
    )
