"""The new name of a part: where its tensors went."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights import CheckpointError
from hatch_wheelweights.steps.parts import new_names
from hatch_wheelweights.steps.reindex import reindex_keys
from hatch_wheelweights.steps.report import Row


def rows(names: dict[str, str | None]) -> list[Row]:
    """Return rows of keys and new names; None is a tensor that is left out."""
    return [Row(key, name or key, name is not None, (1,), "float32", "float32") for key, name in names.items()]


@pytest.mark.parametrize(
    ("part", "names", "expected"),
    [
        pytest.param("fc", {"fc.weight": "fc.weight"}, "fc", id="as it was"),
        pytest.param("enc", {"enc.layer.w": "enc.layer.w", "enc.layer.b": "enc.layer.b"}, "enc", id="one child"),
        pytest.param("enc.layer", {"enc.layer.w": "enc.layer.w"}, "enc.layer", id="that child"),
        pytest.param("conv", {"conv.weight": "net.c.weight", "conv.bias": "net.c.bias"}, "net.c", id="renamed"),
        pytest.param(
            "head.4", {"head.2.weight": "head.0.weight", "head.4.weight": "head.1.weight"}, "head.1", id="number"
        ),
        pytest.param("enc", {"enc.1.w": "enc.0.w", "enc.3.w": "enc.1.w"}, "enc", id="numbers inside"),
        pytest.param("enc", {"enc.1.w": "e.0.w", "enc.3.w": "e.1.w"}, "e", id="numbers inside, and renamed"),
        pytest.param(
            "block", {"block.conv.weight": "block.weight", "block.conv.bias": "block.bias"}, "block", id="inlined"
        ),
        pytest.param("a", {"a.weight": "a.weight", "a.bias": None, "b.weight": "b.weight"}, "a", id="one is left out"),
        pytest.param("net.fc", {"model.net.fc.weight": "net.fc.weight"}, "net.fc", id="named as in the record"),
        pytest.param("a", {"a.w": "ab.w", "b.w": "a.w"}, "ab", id="two that change names"),
    ],
)
def test_a_part_goes_where_its_tensors_go(part: str, names: dict[str, str | None], expected: str) -> None:
    assert new_names([part], rows(names)) == {part: expected}


@pytest.mark.parametrize(
    ("parts", "names", "message"),
    [
        pytest.param(
            ["encoder.layer.3"], {"encoder.layers.3.weight": "encoder.layers.3.weight"},
            "part `encoder.layer.3`: no tensor of that part in the checkpoint\n  Did you mean `encoder.layers.3`?",
            id="misspelt",
        ),
        pytest.param(
            ["pool"], {"fc.weight": "fc.weight"},
            "part `pool`: no tensor of that part in the checkpoint\n"
            "  Name parts with tensors of their own, as the checkpoint's keys begin.",
            id="without tensors",
        ),
        pytest.param(
            ["a"], {"a.weight": None, "b.weight": "b.weight"},
            "part `a`: none of its tensors is in the record\n"
            "  Leave the part out of the golden outputs, or keep its tensors (see exclude).",
            id="left out",
        ),
        pytest.param(
            ["a"], {"a.x": "b.x", "a.y": "c.y"},
            "part `a` has no place of its own in the record: its tensors end at `b.x`, `c.y`\n"
            "  Name a part whose tensors stay together, or make the golden outputs with that part as the model.",
            id="taken apart",
        ),
        pytest.param(
            ["a"], {"a.x": "c.x", "b.y": "c.y"},
            "part `a` has no place of its own in the record: its tensors end at `c.x`\n"
            "  Name a part whose tensors stay together, or make the golden outputs with that part as the model.",
            id="put together with another",
        ),
        pytest.param(
            ["a"], {"a.x": "x"},
            "part `a` has no place of its own in the record: its tensors end at `x`\n"
            "  Name a part whose tensors stay together, or make the golden outputs with that part as the model.",
            id="now the whole model",
        ),
        pytest.param(
            ["m.a", "a"], {"m.a.x": "a.x"}, "parts `m.a` and `a` both end at `a`", id="two names of one part",
        ),
    ],
)  # fmt: skip
def test_a_part_without_a_place_is_refused_by_name(
    parts: list[str], names: dict[str, str | None], message: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        new_names(parts, rows(names))
    assert str(caught.value) == message


words = st.sampled_from(["a", "b", "0", "2", "5", "11"])


@given(keys=st.sets(st.lists(words, min_size=2, max_size=4).map(lambda key: ".".join([*key, "w"])), min_size=1))
def test_after_reindexing_every_part_is_found_at_its_new_number(keys: set[str]) -> None:
    names = reindex_keys(sorted(keys))
    table = rows({key: names[key] for key in sorted(keys)})
    for key in keys:
        parts = key.split(".")[:-1]
        for depth in range(1, len(parts) + 1):
            part = ".".join(parts[:depth])
            expected = ".".join(names[key].split(".")[:depth])
            assert new_names([part], table) == {part: expected}
