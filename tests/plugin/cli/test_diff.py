"""`wheelweights diff`: two files, compared under the options of a conversion."""

from __future__ import annotations

from looking.commands import run, stdout
from making.small_files import small_checkpoint


def test_diff_compares_a_checkpoint_with_the_record_made_of_it() -> None:
    small_checkpoint()
    options = ["--key-remap", "layers", "blocks", "--exclude", "tied"]
    run("convert", "model.pt", "model.mpk", *options)
    assert stdout("diff", "model.pt", "model.mpk", *options) == "equal: 2 tensors, 6 values\n"
