"""A user's model, for type checkers: everything right must pass, and every mistake at the end must be found.

mypy (strict, which warns of unused ignores) and pyright (strict, with reportUnnecessaryTypeIgnoreComment) check this
file: a comment that ignores nothing is an error, so a mistake that goes unnoticed is one too.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, assert_type

import numpy as np
from numpy.typing import NDArray

import hatch_wheelweights as hw
import wheelweights as ww
import wheelweights.torch
from wheelweights import nn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Floats = NDArray[np.float32]


@dataclass
class Config:
    hidden: int
    classes: int = 10


@dataclass
class Block:
    conv: nn.Conv2d
    norm: nn.BatchNorm2d

    @classmethod
    def init(cls, channels: int, filters: int) -> Block:
        return cls(nn.Conv2d.init(channels, filters, 3, padding="same", bias=False), nn.BatchNorm2d.init(filters))

    def __call__(self, x: nn.Array) -> nn.Array:
        return nn.relu(self.norm(self.conv(x)))


@dataclass
class Net:
    blocks: list[Block]
    head: nn.Linear | nn.Embedding
    scale: Annotated[Floats, ww.Shape(None)]
    names: dict[str, nn.Linear]
    shift: NDArray[np.floating[Any]] | None = None
    stride: int = 1

    @classmethod
    def init(cls) -> Net:
        names = {"first": nn.Linear.init(2, 2, bias=False)}
        return cls([Block.init(3, 8)], nn.Linear.init(8, 4), np.ones(4, np.float32), names)

    def __call__(self, x: nn.Array) -> nn.Array:
        for block in self.blocks:
            x = nn.max_pool2d(block(x), 2)
        return self.head(x.mean(axis=(2, 3))) * self.scale


@dataclass
class Stack:
    blocks: Annotated[Sequence[Block], ww.Length(12)]
    tables: Mapping[str, nn.Embedding]

    @classmethod
    def __check_shapes__(cls, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, object, object]]:
        if len(shapes["tables.a.weight"]) != 2:
            yield "tables.a.weight", "2 axes", shapes["tables.a.weight"]


def load() -> Net:
    record = ww.load("my_package", "model.mpk", widen=True)
    assert_type(record, ww.Record)
    config = record.config(Config)
    assert_type(config, Config)
    block = ww.bind(Block.init(3, config.hidden), record, prefix="blocks.0", partial=True)
    assert_type(block, Block)
    net = ww.bind(Net, record)
    assert_type(net, Net)
    return net


def bind_each_way(record: ww.Record) -> list[Net]:
    made = ww.bind(Net.init, record, dtype=np.float32)
    assert_type(made, Net)
    with nn.skeleton():
        skeleton = Net.init()
    assert_type(ww.bind(skeleton, record, "net.", partial=True), Net)
    linear = ww.bind(lambda: nn.Linear.init(3, 2, bias=False), record)
    assert_type(linear, nn.Linear)
    assert_type(ww.bind(nn.Linear, record, dtype="float32"), nn.Linear)
    assert_type(ww.bind(nn.LSTM.init(3, 8), record), nn.LSTM)
    return [made, skeleton]


def save(net: Net, path: Path) -> list[str]:
    state = ww.state_dict(net, prefix="net.")
    assert_type(state, dict[str, Any])
    ww.write_record(path, state)
    return list(state)


def look(path: Path) -> list[str]:
    with ww.open_record(path, mmap=False) as record:
        record.verify()
        info = record.info("head.weight")
        assert_type(info, ww.TensorInfo)
        assert_type(info.shape, tuple[int, ...])
        assert_type(record["head.weight"], NDArray[Any])
        assert_type(record.state_dict(source_keys=True), dict[str, NDArray[Any]])
        tensors = wheelweights.torch.state_dict(record)
        report = ww.bind_report(Net, record, prefix="net.")
        assert_type(report, ww.BindReport)
        return [*report.missing_keys, *report.unexpected_keys, *tensors, *map(str, report.mismatches)]


def why(record: ww.Record) -> list[str]:
    try:
        ww.bind(Net, record)
    except ww.BindError as error:
        return [] if error.report is None else error.report.missing_keys
    except ww.WheelweightsError as error:
        return [error.message(str), str(error.path), str(error.fact), *map(str, error.details)]
    return []


def check(net: Net, record: ww.Record) -> list[str]:
    try:
        report = ww.check(net, record, rtol=1e-3)
        assert_type(report, ww.CheckReport)
        return [one.output for one in report.comparisons if one.absolute < one.allowed]
    except ww.CheckError as error:
        return [] if error.report is None else [f"{one.part}: {one.fault}" for one in error.report.faults]


def write(path: Path, arrays: dict[str, Floats]) -> int:
    metadata = {"user": {"license": "MIT"}, "config": {"hidden": 8}}
    return ww.write_record(path, arrays, metadata=metadata, source_keys={"w": "old.w"})


def convert(path: Path) -> tuple[str, ...]:
    hw.convert(path, "model.mpk", precision=[{"pattern": "^head", "dtype": "keep"}, {"pattern": "", "dtype": "half"}])
    hw.convert(path, "model.mpk", precision=[("^head", "keep"), ("", "float16")])
    done = hw.convert(path, "model.mpk", top_level_key="model", precision="half", key_remap=[("old", "new")])
    assert_type(done, hw.Conversion)
    return done.warnings if hw.convert(path, "model.mpk", golden=path / "golden.npz").golden is None else ()


def open_checkpoint(path: Path) -> dict[str, Any]:
    with hw.open_checkpoint(path) as checkpoint:
        return {key: tensor.shape for key, tensor in checkpoint.state_dict(key_remap=[("a", "b")]).items()}


def mistakes(net: Net, record: ww.Record, config: Config, x: nn.Array) -> None:
    ww.opne_record("model.mpk")  # type: ignore[attr-defined]
    ww.nn.Lienar(x)  # type: ignore[attr-defined]
    ww.open_record(3)  # type: ignore[arg-type]
    ww.open_record("model.mpk", mmpa=False)  # type: ignore[call-arg]
    ww.load("my_package")  # type: ignore[call-arg]
    print(ww.bind(Net, record).blokcs)  # type: ignore[attr-defined]
    ww.bind(Net, record, prefx="net.")  # type: ignore[call-overload]
    ww.bind(3, record)  # type: ignore[call-overload]
    ww.bind(Block.init, record)  # type: ignore[arg-type]
    ww.bind(Net.init, record, dtype=3)  # type: ignore[call-overload]
    ww.state_dict(Net)  # type: ignore[arg-type]
    ww.Length("12")  # type: ignore[arg-type]
    nn.Linear(3, 2)  # type: ignore[arg-type]
    print(ww.bind_report(Net, record).mising)  # type: ignore[attr-defined]
    ww.check(record, record)  # type: ignore[arg-type]
    print(ww.check(net, record).parts)  # type: ignore[attr-defined]
    hw.golden(net, x)  # type: ignore[call-arg, arg-type]
    ww.Shape("C", 3)  # type: ignore[arg-type]
    ww.write_record("model.mpk", {"w": "text"})  # type: ignore[dict-item]
    print(record.metdata)  # type: ignore[attr-defined]
    print(record.info("w").shpae)  # type: ignore[attr-defined]
    print(record.config(Config).hiden)  # type: ignore[attr-defined]
    config.hidden = "many"  # type: ignore[assignment]
    nn.Conv2d.init(3, 8)  # type: ignore[call-arg]
    nn.gelu(x, "erf")  # type: ignore[arg-type]
    print(nn.LSTM.init(3, 8)(x).shape)  # type: ignore[attr-defined]
    hw.open_chekpoint("model.pt")  # type: ignore[attr-defined]
    hw.convert("model.pt", "model.mpk", presicion="half")  # type: ignore[call-arg]
    hw.convert("model.pt", "model.mpk", precision="float16")  # type: ignore[arg-type]
    hw.convert("model.pt", "model.mpk", precision=["half"])  # type: ignore[list-item]
    hw.convert("model.pt", "model.mpk", precision=[("^head", 16)])  # type: ignore[list-item]
    hw.convert("model.pt", "model.mpk", reindex="no")  # type: ignore[arg-type]
    hw.open_checkpoint("model.pt").state_dict(top_levle_key="model")  # type: ignore[call-arg]
    hw.open_checkpoint("model.pt").state_dict(precision="float16")  # type: ignore[arg-type]
