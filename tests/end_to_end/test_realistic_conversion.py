"""A checkpoint as a training script leaves it, and a wheel that has one of its towers: torch's features, halved."""

from __future__ import annotations

import shutil
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wheelweights as ww
from hatch_wheelweights import open_checkpoint
from looking.closeness import TOLERANCES, assert_close
from looking.wheels import assert_sound, members
from wheelweights import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from making.projects import Project

CLIP = Path(__file__).parents[1] / "checkpoints" / "clip_style"

# Each rule goes on from the names that the one before it made
RECORD = r"""
[[tool.hatch.build.hooks.wheelweights.records]]
source = "weights/clip_style.pt"
output = "{package}/data/vision.mpk"
top-level-key = "state_dict"
key-remap = [
    { pattern = '^module\.visual\.', replacement = 'vision.' },
    { pattern = '^(vision)\.transformer\.resblocks\.', replacement = '$1.blocks.' },
    { pattern = '^(?P<block>vision\.blocks\.[0-9]+)\.mlp\.c_', replacement = '${block}.mlp_' },
]
precision = "half"
include = ['^vision\.']
config-key = "config"
metadata = { license = "MIT", dataset = "random numbers" }
"""


@dataclass
class VisionConfig:
    width: int
    heads: int
    patch_size: int
    layers: list[int]


@dataclass
class Config:
    embed_dim: int
    image_size: int
    mean: tuple[float, float, float]
    vision: VisionConfig
    text: dict[str, Any]


@dataclass
class Block:
    ln_1: nn.LayerNorm
    attn: nn.MultiheadAttention
    ln_2: nn.LayerNorm
    mlp_fc: nn.Linear
    mlp_proj: nn.Linear

    def __call__(self, x: nn.Array) -> nn.Array:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp_proj(nn.gelu(self.mlp_fc(self.ln_2(x))))


@dataclass
class Trunk:
    conv1: nn.Conv2d
    class_embedding: nn.Array
    positional_embedding: nn.Array
    ln_pre: nn.LayerNorm
    blocks: list[Block]
    ln_post: nn.LayerNorm

    def summary(self, image: nn.Array) -> nn.Array:
        patches = self.conv1(image)
        patches = patches.reshape(*patches.shape[:2], -1).swapaxes(1, 2)
        first = np.broadcast_to(self.class_embedding, (len(image), 1, patches.shape[2]))
        x = self.ln_pre(np.concatenate([first, patches], 1) + self.positional_embedding)
        for block in self.blocks:
            x = block(x)
        return self.ln_post(x[:, 0])


@dataclass
class Vision(Trunk):
    proj: nn.Array

    def __call__(self, image: nn.Array) -> nn.Array:
        return self.summary(image) @ self.proj


@dataclass
class Encoder:
    vision: Vision


@dataclass
class Probe(Trunk):
    """The trunk with a head of its own, which is yet to be trained."""

    head: nn.Linear


def trunk(config: Config) -> dict[str, Any]:
    """Return the parts of a new trunk of the sizes that the configuration says."""
    vision = config.vision
    width = vision.width
    return {
        "conv1": nn.Conv2d.init(3, width, vision.patch_size, vision.patch_size, bias=False),
        "class_embedding": np.zeros(width, np.float32),
        "positional_embedding": np.zeros(((config.image_size // vision.patch_size) ** 2 + 1, width), np.float32),
        "ln_pre": nn.LayerNorm.init(width),
        "blocks": [
            Block(
                nn.LayerNorm.init(width),
                nn.MultiheadAttention.init(width, vision.heads, batch_first=True),
                nn.LayerNorm.init(width),
                nn.Linear.init(width, 2 * width),
                nn.Linear.init(2 * width, width),
            )
            for _ in vision.layers
        ],
        "ln_post": nn.LayerNorm.init(width),
    }


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    made = new_project(record=RECORD)
    shutil.copy(CLIP / "clip_style.pt", made.root / "weights")
    return made


@pytest.fixture
def record(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ww.Record]:
    """The record of the package, installed."""
    shutil.unpack_archive(project.wheel(), tmp_path / "site", "zip")
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield ww.load("demo", "data/vision.mpk")
    del sys.modules["demo"]


@pytest.fixture(scope="module")
def expected() -> dict[str, nn.Array]:
    with np.load(CLIP / "expected.npz") as arrays:
        return dict(arrays)


def test_every_rule_has_work_to_do(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    wheel = project.wheel()
    assert capsys.readouterr().err == (
        "weights/clip_style.pt: reindexed `vision.blocks`: 0, 2, 5 -> 0, 1, 2\n"
        "demo/data/vision.mpk: 44 tensors, 9,576 bytes, from weights/clip_style.pt (pytorch-zip)\n"
        "demo-1.0-py3-none-any.whl: 1 record whole, no checkpoint, nothing left from earlier builds; what they need is "
        "required\n"
    )
    assert [name for name in members(wheel) if ".dist-info/" not in name] == [
        "demo/__init__.py",
        "demo/data/vision.mpk",
    ]
    assert_sound(wheel)


def test_holds_the_encoder_alone_renamed_and_halved(record: ww.Record) -> None:
    parts = ("attn.in_proj_", "attn.out_proj.", "ln_1.", "ln_2.", "mlp_fc.", "mlp_proj.")
    block = [f"{name}{kind}" for name in parts for kind in ("weight", "bias")]
    norms = [f"{name}.{kind}" for name in ("ln_pre", "ln_post") for kind in ("weight", "bias")]
    others = ["class_embedding", "conv1.weight", "positional_embedding", "proj", *norms]
    assert sorted(record) == sorted(
        [f"vision.blocks.{i}.{key}" for i in range(3) for key in block] + [f"vision.{key}" for key in others]
    )
    assert {record.info(key).dtype for key in record} == {"float16"}
    record.verify()


def test_says_how_it_was_made_and_under_which_terms(record: ww.Record) -> None:
    assert record.metadata["user"] == {"license": "MIT", "dataset": "random numbers"}
    assert record.metadata["source"]["name"] == "clip_style.pt"
    table = tomllib.loads(RECORD)["tool"]["hatch"]["build"]["hooks"]["wheelweights"]["records"][0]
    options = {key: value for key, value in table.items() if key not in ("source", "output", "metadata")}
    keys = {"top-level-key": ["state_dict"], "config-key": ["config"]}
    assert record.metadata["options"] == options | keys


def test_has_the_configuration_of_the_model(record: ww.Record) -> None:
    assert record.config(Config) == Config(
        embed_dim=8,
        image_size=16,
        mean=(0.48, 0.46, 0.41),
        vision=VisionConfig(width=12, heads=2, patch_size=4, layers=[0, 2, 5]),
        text={"width": 8, "heads": 2, "layers": [0], "vocabulary": 30, "context": 6},
    )


def test_gives_torchs_features(record: ww.Record, expected: dict[str, nn.Array]) -> None:
    config = record.config(Config)
    started = Vision(**trunk(config), proj=np.zeros((config.vision.width, config.embed_dim), np.float32))
    features = ww.bind(Encoder(started), record).vision(expected["image"])
    assert_close(features, expected["features_of_halved_weights"])
    relative, absolute = TOLERANCES["float16"]
    largest = np.abs(expected["features"]).max()
    np.testing.assert_allclose(features, expected["features"], relative, absolute * largest)


def test_lends_its_trunk_to_another_model(record: ww.Record, expected: dict[str, nn.Array]) -> None:
    config = record.config(Config)
    start = Probe(**trunk(config), head=nn.Linear.init(config.vision.width, 2))
    report = ww.bind_report(start, record, prefix="vision.")
    assert report.missing_keys == ["vision.head.weight", "vision.head.bias"]
    assert report.unexpected_keys == ["vision.proj"]
    probe = ww.bind(start, record, prefix="vision.", partial=True)
    assert probe.head.weight is start.head.weight
    assert not start.class_embedding.any()
    summary = probe.summary(expected["image"])
    assert_close(summary @ record["vision.proj"], expected["features_of_halved_weights"])


def test_does_not_lend_its_trunk_unasked(record: ww.Record) -> None:
    config = record.config(Config)
    with pytest.raises(ww.BindError) as caught:
        ww.bind(Probe(**trunk(config), head=nn.Linear.init(config.vision.width, 2)), record, prefix="vision.")
    assert str(caught.value) == (
        f"Probe does not fit {record.path} below `vision.`: 2 missing keys, 1 unexpected key\n"
        "  Probe.head.weight: missing `vision.head.weight`\n"
        "  Probe.head.bias: missing `vision.head.bias`\n"
        "  unexpected: `vision.proj`\n"
        "  Rename keys with key-remap at build time, or pass partial=True to bind only the keys that exist."
    )


def test_goes_back_under_the_names_of_the_checkpoint(record: ww.Record) -> None:
    with open_checkpoint(CLIP / "clip_style.pt") as checkpoint:
        tensors = checkpoint.state_dict(top_level_key="state_dict", reindex=False)
        theirs = {key: tensor.numpy() for key, tensor in tensors.items() if key.startswith("module.visual.")}
    ours = record.state_dict(source_keys=True)
    assert "module.visual.transformer.resblocks.5.attn.in_proj_weight" in ours
    assert list(ours) == list(theirs)
    for key, array in theirs.items():
        np.testing.assert_array_equal(ours[key], array.astype(np.float16), strict=True)
