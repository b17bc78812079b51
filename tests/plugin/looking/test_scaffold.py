"""`scaffold`: the source of dataclasses that a file binds to, whatever its names and shapes are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hatch_wheelweights as hw
import wheelweights as ww
from hatch_wheelweights.checkpoint.module_classes import ModuleClass
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.looking.scaffold.modules import Tensor, modules_of
from hatch_wheelweights.looking.scaffold.source import source_of
from looking.generated import bound, running, target
from making.small_files import small_record, small_wheel, wheel, write

if TYPE_CHECKING:
    from collections.abc import Mapping

Shape = tuple[int, ...]


def written(shapes: Mapping[str, Shape], classes: Mapping[str, ModuleClass] | None = None) -> str:
    """Return the source for tensors of float32, from the first import on, after binding it to such tensors."""
    source = source_for({key: (shape, "float32") for key, shape in shapes.items()}, classes)
    bound(source, {key: np.zeros(shape, np.float32) for key, shape in shapes.items()})
    return source.partition("from __future__ import annotations\n\n")[2]


def source_for(tensors: Mapping[str, tuple[Shape, str]], classes: Mapping[str, ModuleClass] | None = None) -> str:
    found = [Tensor(key, shape, dtype, key) for key, (shape, dtype) in tensors.items()]
    return source_of(modules_of(found, classes or {}, "model.pt"), "Dataclasses.", has_layers=True)


def fields(source: str) -> list[str]:
    """Return the lines of the last class up to its function, without its docstring."""
    body = source.rpartition("@dataclass\n")[2].partition("\n    @classmethod")[0]
    return [line.strip() for line in body.splitlines()[2:] if line.strip()]


def conv(filters: int, channels: int, kernel: int) -> Shape:
    return (filters, channels, kernel, kernel)


# -------------------------------------------------------------------------------------------------------- Whole sources


def test_a_file_of_plain_layers_binds_by_its_annotations() -> None:
    arrays = {"fc1.weight": np.ones((3, 2), np.float32), "fc1.bias": np.ones(3, np.float32), "scale": np.ones((), "f2")}
    ww.write_record("model.mpk", arrays)
    source = hw.scaffold("model.mpk")
    assert source == (
        '"""Dataclasses for model.mpk: 3 tensors, 10 values, 38 B.\n'
        "\n"
        "They hold the arrays and settings of the model. What it computes is not in the file.\n"
        "\n"
        "    net = ww.bind(Net, record)\n"
        '"""\n'
        "\n"
        "from __future__ import annotations\n"
        "\n"
        "from dataclasses import dataclass\n"
        "\n"
        "import numpy as np\n"
        "from numpy.typing import NDArray\n"
        "from wheelweights import nn\n"
        "\n"
        "\n"
        "@dataclass\n"
        "class Net:\n"
        '    """The model."""\n'
        "\n"
        "    fc1: nn.Linear\n"
        "    scale: NDArray[np.float16]  # ()\n"
    )
    assert bound(source, ww.open_record("model.mpk")).fc1.bias.tolist() == [1, 1, 1]


def test_equal_blocks_are_one_class_whose_differences_are_parameters() -> None:
    shapes: dict[str, Shape] = {}
    for name, channels, filters in (("layer1.0", 8, 8), ("layer1.1", 8, 8), ("layer2.0", 8, 16)):
        shapes |= {f"{name}.conv.weight": conv(filters, channels, 3)}
        shapes |= {f"{name}.bn.{part}": (filters,) for part in ("weight", "bias", "running_mean", "running_var")}
    shapes |= {"layer2.0.skip.0.weight": conv(16, 8, 1), "layer2.0.skip.1.weight": (16, 16)}
    assert written(shapes) == (
        "from dataclasses import dataclass\n"
        "from typing import Annotated, Self\n"
        "\n"
        "import wheelweights as ww\n"
        "from wheelweights import nn\n"
        "\n"
        "\n"
        "@dataclass\n"
        "class Layer:\n"
        '    """`layer1.0` and 2 more."""\n'
        "\n"
        "    conv: nn.Conv2d\n"
        "    bn: nn.BatchNorm\n"
        "    # nn.Linear or nn.Embedding: names and shapes do not tell\n"
        "    skip: tuple[nn.Conv2d, nn.Linear] | None = None\n"
        "\n"
        "    @classmethod\n"
        "    def init(cls, out_channels: int, skip: bool = False) -> Self:\n"
        "        # Not in the file: stride, padding, dilation and groups of conv and skip\n"
        "        # Not in the file: eps of bn\n"
        "        return cls(\n"
        "            conv=nn.Conv2d.init(8, out_channels, 3, bias=False),\n"
        "            bn=nn.BatchNorm.init(out_channels),\n"
        "            skip=(\n"
        "                (\n"
        "                    nn.Conv2d.init(8, 16, 1, bias=False),\n"
        "                    nn.Linear.init(16, 16, bias=False),\n"
        "                )\n"
        "                if skip\n"
        "                else None\n"
        "            ),\n"
        "        )\n"
        "\n"
        "\n"
        "@dataclass\n"
        "class Net:\n"
        '    """The model."""\n'
        "\n"
        "    layer1: Annotated[list[Layer], ww.Length(2)]\n"
        "    layer2: Annotated[list[Layer], ww.Length(1)]\n"
        "\n"
        "    @classmethod\n"
        "    def init(cls) -> Self:\n"
        "        return cls(\n"
        "            layer1=[Layer.init(8) for _ in range(2)],\n"
        "            layer2=[Layer.init(16, skip=True)],\n"
        "        )\n"
    )


def test_classes_and_settings_are_those_of_the_file() -> None:
    shapes = {"stem.weight": conv(8, 3, 7), "net.0.weight": (4, 8), "norm.weight": (3,), "act.w": (1,)}
    classes = {
        "": ModuleClass("mynet.Net", {"width": 8}),
        "stem": ModuleClass("torch.nn.modules.conv.Conv2d", {"stride": (2, 2), "padding": "same", "groups": 1}),
        "net": ModuleClass("torch.nn.modules.container.Sequential", {}),
        "net.0": ModuleClass("torch.nn.modules.linear.Linear", {}),
        "net.1": ModuleClass("torch.nn.modules.activation.ReLU", {"inplace": True}),
        "norm": ModuleClass("mynet.Norm", {"eps": 1e-6, "training": False}),
        "act": ModuleClass("mynet.Act", {}),
        "drop": ModuleClass("torch.nn.modules.dropout.Dropout", {"p": 0.1}),
    }
    assert written(shapes, classes) == (
        "from dataclasses import dataclass\n"
        "from typing import Annotated, Self\n"
        "\n"
        "import numpy as np\n"
        "import wheelweights as ww\n"
        "from numpy.typing import NDArray\n"
        "from wheelweights import nn\n"
        "\n"
        "\n"
        "@dataclass\n"
        "class Norm:\n"
        '    """`norm`: mynet.Norm."""\n'
        "\n"
        "    # Settings in the file: eps=1e-06\n"
        "\n"
        "    weight: NDArray[np.float32]  # (3,)\n"
        "\n"
        "    @classmethod\n"
        "    def init(cls) -> Self:\n"
        "        return cls(weight=np.zeros((3,), np.float32))\n"
        "\n"
        "\n"
        "@dataclass\n"
        "class Act:\n"
        '    """`act`: mynet.Act."""\n'
        "\n"
        "    w: NDArray[np.float32]  # (1,)\n"
        "\n"
        "    @classmethod\n"
        "    def init(cls) -> Self:\n"
        "        return cls(w=np.zeros((1,), np.float32))\n"
        "\n"
        "\n"
        "@dataclass\n"
        "class Net:\n"
        '    """The model: mynet.Net."""\n'
        "\n"
        "    # Settings in the file: width=8\n"
        "    # Without tensors: drop = Dropout(p=0.1)\n"
        "\n"
        "    stem: nn.Conv2d\n"
        "    # net in the file: Linear, ReLU\n"
        "    net: Annotated[list[nn.Linear], ww.Length(1)]\n"
        "    norm: Norm\n"
        "    act: Act\n"
        "\n"
        "    @classmethod\n"
        "    def init(cls) -> Self:\n"
        "        # Not in the file: dilation of stem\n"
        "        return cls(\n"
        '            stem=nn.Conv2d.init(3, 8, 7, stride=2, padding="same", bias=False),\n'
        "            net=[nn.Linear.init(8, 4, bias=False)],\n"
        "            norm=Norm.init(),\n"
        "            act=Act.init(),\n"
        "        )\n"
    )


# --------------------------------------------------------------------------------------------------------------- Layers


ATTENTION = {"in_proj_weight": (6, 2), "in_proj_bias": (6,), "out_proj.weight": (2, 2), "out_proj.bias": (2,)}
LAYERS: dict[str, tuple[str, dict[str, Shape], str]] = {
    "linear": ("fc", {"weight": (3, 2), "bias": (3,)}, "nn.Linear.init(2, 3)"),
    "embedding": ("tok_emb", {"weight": (9, 2)}, "nn.Embedding.init(9, 2)"),
    "convolution": ("c", {"weight": (4, 2, 3, 1), "bias": (4,)}, "nn.Conv2d.init(2, 4, (3, 1))"),
    "convolution over a line": ("c", {"weight": (4, 2, 3)}, "nn.Conv1d.init(2, 4, 3, bias=False)"),
    "transposed": ("c", {"weight": (4, 2, 3, 3), "bias": (2,)}, "nn.ConvTranspose2d.init(4, 2, 3)"),
    "batch norm": ("n", {"running_mean": (2,), "running_var": (2,)}, "nn.BatchNorm.init(2, affine=False)"),
    "layer norm": ("ln", {"weight": (2,), "bias": (2,)}, "nn.LayerNorm.init(2)"),
    "layer norm over axes": ("n", {"weight": (2, 3), "bias": (2, 3)}, "nn.LayerNorm.init((2, 3))"),
    "group norm": ("gn", {"weight": (2,), "bias": (2,)}, "replace(nn.GroupNorm.init(1, 2), num_groups=None)"),
    "rms norm": ("norm", {"weight": (2,)}, "nn.RMSNorm.init(2)"),
    "lstm": ("r", {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2)}, "nn.LSTM.init(3, 2, bias=False)"),
    "gru": (
        "r",
        {"weight_ih_l0": (6, 3), "weight_hh_l0": (6, 2), "bias_ih_l0": (6,), "bias_hh_l0": (6,)},
        "nn.GRU.init(3, 2)",
    ),
    "attention": ("a", ATTENTION, "replace(nn.MultiheadAttention.init(2, 1), num_heads=None)"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_told_by_names_and_shapes(name: str) -> None:
    field, shapes, made = LAYERS[name]
    # A norm beside it has settings, so that there is a function that makes all
    source = written({f"{field}.{part}": shape for part, shape in shapes.items()} | {"z_ln.weight": (5,)})
    assert f"{field}={made}" in source
    assert f"    {field}: {made.removeprefix('replace(').partition('.init')[0]}\n" in source


OWN: dict[str, dict[str, Shape]] = {
    "three axes of a kernel": {"weight": (2, 1, 3, 3, 3)},
    "a recurrent layer of one gate": {"weight_ih_l0": (2, 3), "weight_hh_l0": (2, 2)},
    "a vector with any name": {"weight": (3,)},
    "a bias that fits nowhere": {"weight": (3, 2), "bias": (7,)},
    "no values": {"weight": (0, 2), "bias": (0,)},
    "one more parameter": {"weight": (3, 2), "bias": (3,), "scale": (3,)},
    "half an attention": {"in_proj_weight": (6, 2), "out_proj.weight": (3, 2)},
    "a matrix that is (in, out)": {"weight": (2, 3), "bias": (3,)},
}


@pytest.mark.parametrize("name", OWN)
def test_what_is_no_layer_is_a_class_of_its_own(name: str) -> None:
    source = written({f"part.{inner}": shape for inner, shape in OWN[name].items()})
    assert "class Part:\n" in source
    assert fields(source)[-1].startswith("part: Part")


def test_integers_are_no_weights_of_a_layer() -> None:
    source = source_for({"fc.weight": ((3, 2), "int8")})
    assert "    weight: NDArray[np.int8]  # (3, 2)\n" in source
    assert fields(source) == ["fc: Fc"]


def test_square_matrices_beside_some_that_are_in_out_are_not_taken_for_linear_layers() -> None:
    source = written({"c_fc.weight": (2, 8), "c_fc.bias": (8,), "c_proj.weight": (2, 2), "c_proj.bias": (2,)})
    assert "    # Most likely (in, out), as x @ weight + bias takes it; nn.Linear has (out, in)\n" in source
    assert fields(source) == ["c_fc: CFc", "c_proj: CFc"]


def test_a_convolution_of_single_channels_after_another_is_taken_for_a_depthwise_one() -> None:
    source = written({"first.weight": conv(8, 1, 3), "second.weight": conv(8, 1, 3)})
    assert "first=nn.Conv2d.init(1, 8, 3, bias=False)" in source
    assert "second=nn.Conv2d.init(8, 8, 3, groups=8, bias=False)" in source
    assert "Not in the file: stride, padding, dilation and groups of first and second\n" in source


def test_a_number_that_a_call_needs_and_the_file_lacks_is_refused_by_the_call() -> None:
    shapes: dict[str, Shape] = {f"attn.{name}": shape for name, shape in ATTENTION.items()}
    source = source_for({key: (shape, "float32") for key, shape in shapes.items()})
    net = bound(source, {key: np.zeros(shape, np.float32) for key, shape in shapes.items()})
    x = np.zeros((1, 1, 2), np.float32)
    with pytest.raises(ww.nn.LayerError, match="num_heads is not set"):
        net.attn(x, x, x)


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        ({"stride": (2, 1), "padding": 1, "dilation": 1, "groups": 2}, "stride=(2, 1), padding=1, groups=2"),
        ({"stride": "fast", "padding": -1, "dilation": 10**40, "groups": 3}, ""),
        ({"padding": (1, 1, 1), "groups": True, "stride": None}, ""),
        ({"padding": (1, 1), "padding_mode": "reflect"}, ""),
    ],
)
def test_settings_that_a_layer_cannot_have_are_not_in_the_file(settings: dict[str, Any], made: str) -> None:
    known = {"c": ModuleClass("torch.nn.modules.conv.Conv2d", settings)}
    source = written({"c.weight": conv(4, 2, 3), "c.bias": (4,)}, known)
    channels = 2 * settings["groups"] if made else 2
    assert f"c=nn.Conv2d.init({channels}, 4, 3{', ' if made else ''}{made})" in source
    assert ("Not in the file" in source) != bool(made)
    assert ("nn.Conv2d cannot pad with 'reflect' as the file says: " in source) == ("padding_mode" in settings)


@pytest.mark.parametrize(
    ("padding", "what"),
    [
        ((1, 2), "pad its input by (1, 2) with numpy.pad, mode 'wrap'"),
        ("same", "pad its input with numpy.pad, mode 'wrap', so that its size stays"),
        (None, "pad its input with numpy.pad, mode 'wrap'"),
        ("valid", None),
        (0, None),
    ],
)
def test_padding_that_a_layer_cannot_do_is_told_with_what_to_do_instead(padding: Any, what: str | None) -> None:
    known = {"c": ModuleClass("torch.nn.modules.conv.Conv2d", {"padding": padding, "padding_mode": "circular"})}
    source = written({"c.weight": conv(4, 2, 3)}, known)
    comment = " ".join(line.strip(" #") for line in source.splitlines() if line.startswith("    # "))
    told = what and f"nn.Conv2d cannot pad with 'circular' as the file says: {what}".replace("'wrap'", '"wrap"')
    assert comment.partition(" Not in")[0] == (told or "")


def test_the_function_that_makes_a_model_has_a_name_that_no_field_has() -> None:
    shapes = {f"{name}.weight": conv(2, 2, 1) for name in ("init", "make", "start", "init_", "fine")}
    assert "    def init__(cls) -> Self:\n" in written(shapes)


def class_names(source: str) -> list[str]:
    return [line[6:-1] for line in source.splitlines() if line.startswith("class ")]


def test_modules_of_one_field_are_one_class_only_under_one_name() -> None:
    names = ("intermediate", "pooler", "head1", "head2")
    source = written({f"{name}.dense.weight": (4, 2) for name in names})
    assert class_names(source) == ["Intermediate", "Pooler", "Head", "Net"]
    pairs = {f"{name}.{layer}.weight": (4, 2) for name in names for layer in ("up", "down")}
    assert class_names(written(pairs)) == ["Intermediate", "Net"]


def test_a_bare_module_of_torch_is_called_as_it_is_in_the_model() -> None:
    known = dict.fromkeys(("", "down", "up"), ModuleClass("torch.nn.modules.module.Module", {}))
    assert class_names(written({"down.w": (1,), "up.w": (2, 2)}, known)) == ["Down", "Up", "Net"]


def test_classes_keep_the_numbers_of_their_names() -> None:
    known = {
        "": ModuleClass("models.T5", {}),
        "a": ModuleClass("models.Conv2", {}),
        "b": ModuleClass("others.Conv2", {}),
    }
    source = written({"a.w": (1,), "b.w": (2,), "layer1.w": (3, 3)}, known)
    assert class_names(source) == ["Conv2", "Conv2_2", "Layer", "T5"]


# ----------------------------------------------------------------------------------------------------------- Containers


def test_a_list_of_different_items_is_a_tuple_and_a_long_one_a_list() -> None:
    short = {f"f.{i}.weight": (2, 2) if i % 2 else conv(2, 2, 1) for i in range(4)}
    assert fields(written(short))[-1] == "f: tuple[nn.Conv2d, nn.Linear, nn.Conv2d, nn.Linear]"
    long = {f"f.{i}.weight": (2, 2) if i % 2 else conv(2, 2, 1) for i in range(40)}
    assert fields(written(long))[-1] == "f: Annotated[list[nn.Conv2d | nn.Linear], ww.Length(40)]"


def test_gaps_in_a_list_are_items_without_tensors() -> None:
    source = written({"f.1.weight": (2, 2), "f.1.bias": (2,), "f.4.weight": (2, 2)})
    assert fields(source)[-1] == "f: Annotated[list[NoTensors | nn.Linear], ww.Length(5)]"
    assert "class NoTensors:\n" in source


def test_a_list_with_wide_gaps_is_a_dict() -> None:
    assert fields(written({"f.1.w": (2,), "f.900000000.w": (2,)}))[-1] == "f: dict[str, F]"


def test_arrays_of_several_dtypes_and_shapes_are_one_list() -> None:
    source = source_for({"w.0": ((2,), "float32"), "w.1": ((2, 2), "int64")})
    assert fields(source) == ["w: Annotated[list[NDArray[Any]], ww.Length(2)]"]


def test_a_dtype_that_numpy_lacks_is_told() -> None:
    assert fields(source_for({"w": ((2,), "bfloat16")})) == ["w: NDArray[Any]  # (2,), bfloat16"]


def test_names_that_no_field_can_have_lie_beside_the_others() -> None:
    source = written({"class.weight": (2, 2), "a-b.weight": conv(1, 1, 1), "fine.weight": (2, 2), "__x": (1,)})
    assert fields(source) == [
        "# nn.Linear or nn.Embedding: names and shapes do not tell",
        "fine: nn.Linear",
        "# What has names that no field can have",
        "others: dict[str, nn.Linear | nn.Conv2d | NDArray[np.float32]] = field(",
        'metadata={"flatten": True}',
        ")",
    ]
    assert '"class": nn.Linear.init(2, 2, bias=False),\n' in source


def test_a_model_that_is_a_list_binds() -> None:
    source = written({"0.weight": (2, 2), "1.weight": (2, 2)})
    assert 'items: Annotated[list[nn.Linear], ww.Length(2)] = field(metadata={"flatten": True})' in source


def test_what_the_source_uses_has_other_names_where_fields_have_these() -> None:
    source = written({"nn.weight": (2, 2), "np": (2,), "list.0.weight": (2, 2), "Net.weight": (2, 2), "init.w": (2,)})
    assert "from builtins import list as list_\n" in source
    assert "import numpy as np_\n" in source
    assert "class Net2:\n" in source
    assert fields(source) == [
        "# nn.Linear or nn.Embedding: names and shapes do not tell",
        "nn: nn_.Linear",
        "np: NDArray[np_.float32]  # (2,)",
        "# nn.Linear or nn.Embedding: names and shapes do not tell",
        "list: Annotated[list_[nn_.Linear], ww.Length(1)]",
        "Net: nn_.Linear",
        "init: Init",
    ]


# ---------------------------------------------------------------------------------------------------------- Other files


def test_a_record_of_burn_has_its_own_layout(corpus: Path) -> None:
    path = corpus / "burn" / "modern_lstm_burn_0.17_half.mpk"
    source = hw.scaffold(path)
    bound(source, ww.open_record(path))
    assert "from wheelweights import nn" not in source
    assert "\nBurn wrote the record: its linear layers keep (in, out), its norms gamma and beta.\n" in source
    assert "    layers: Annotated[list[Layer], ww.Length(2)]\n" in source


def cases(corpus: Path) -> list[tuple[Path, dict[str, Any]]]:
    models = json.loads((corpus / "burn" / "cases.json").read_text(encoding="utf-8"))["models"]
    found: list[tuple[Path, dict[str, Any]]] = []
    for name, case in models.items():
        options = {"key_remap": [tuple(rule) for rule in case.get("key_remap", [])]}
        key = case.get("top_level_key", "my_model" if name == "config" else None)
        found.append((corpus / "burn" / case["file"], options | {"top_level_key": key}))
    readable = [path for path in sorted((corpus / "burn" / "reader").glob("*.pt")) if path.stem != "broken"]
    return [*found, *((path, {}) for path in readable)]


def test_all_checkpoints_of_burn_bind(corpus: Path) -> None:
    models = cases(corpus)
    assert len(models) == 17 + 22
    for path, options in models:
        hw.convert(path, "model.mpk", **options)
        bound(hw.scaffold(path, **options), ww.open_record("model.mpk"))


def test_a_wheel_leads_to_its_only_record_or_to_the_one_that_is_named() -> None:
    small_wheel()
    (path,) = map(str, Path().glob("*.whl"))
    with pytest.raises(ww.WheelweightsError) as caught:
        hw.scaffold(path)
    assert str(caught.value) == (
        f"{path}: expected a wheel with one record, found 2: `demo/1.mpk`, `demo/2.mpk`\n"
        f"  Name one of them: {path}/demo/1.mpk"
    )
    named = hw.scaffold(f"{path}/demo/1.mpk")
    assert "class Net:" in named
    write("one.whl", wheel({"demo/1.mpk": small_record()}))
    assert hw.scaffold("one.whl").partition("\n")[2] == named.partition("\n")[2]


# ------------------------------------------------------------------------------------------------------------- Refusals


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (
            ["a", "a.b"],
            "tensor `a`: expected keys that a dataclass can have, found a tensor of this name, and `a.b` below",
        ),
        (["a.b", "a"], "tensor `a`: expected keys that a dataclass can have, found a tensor of this name, and others"),
        ([".a"], "tensor `.a`: expected keys that a dataclass can have, found a key that begins with an empty name"),
        ([".".join("a" * 80)], "modules that are nested 79 deep, and classes for 64 at most"),
    ],
)
def test_keys_that_no_dataclass_can_have_are_refused(keys: list[str], found: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        source_for(dict.fromkeys(keys, ((2,), "float32")))
    assert found in str(caught.value)
    assert str(caught.value).endswith("\n  Rename it with key_remap.")


def test_options_of_a_conversion_do_not_go_with_a_record() -> None:
    ww.write_record("model.mpk", {"w": np.zeros(2, np.float32)})
    with pytest.raises(hw.ConfigError, match="expected a checkpoint to convert, found a record"):
        hw.scaffold("model.mpk", precision="half")


# ------------------------------------------------------------------------------------------------------------- Any keys

WORDS = (
    *("weight", "bias", "running_mean", "running_var", "num_batches_tracked", "in_proj_weight", "out_proj"),
    *("weight_ih_l0", "weight_hh_l0", "0", "1", "2", "3", "10", "007", "class", "None", "_", "__x", "__init__"),
    *("self", "cls", "nn", "np", "list", "int", "field", "Self", "Net", "init", "make", "others", "items", "a", "b"),
    *("layer1", "layer2", "layers", "norm", "emb", "a-b", "type", "dataclass", "replace", "mro", "x", ""),
)
parts = st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=3)
names = st.lists(parts, min_size=1, max_size=5).map(".".join)
shapes = st.lists(st.sampled_from([0, 1, 2, 3, 4, 6, 8]), max_size=4).map(tuple)
dtypes = st.sampled_from(["float32", "float32", "float16", "int64", "bool"])


def assert_binds(tensors: Mapping[str, tuple[Shape, str]]) -> None:
    try:
        source = source_for(tensors)
    except CheckpointError:
        return
    assert source.replace("\n", "").isprintable()
    bound(source, {key: np.zeros(shape, dtype) for key, (shape, dtype) in tensors.items()})


@given(st.dictionaries(names, st.tuples(shapes, dtypes), max_size=12))
def test_any_keys_bind_or_are_refused(tensors: dict[str, tuple[Shape, str]]) -> None:
    assert_binds(tensors)


@given(
    st.dictionaries(names, st.sampled_from([shapes for _, shapes, _ in LAYERS.values()] + [*OWN.values()]), max_size=9)
)
def test_any_layers_bind_or_are_refused(modules: dict[str, dict[str, Shape]]) -> None:
    assert_binds(
        {f"{name}.{part}": (shape, "float32") for name, inner in modules.items() for part, shape in inner.items()}
    )


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_name_of_a_class_or_a_setting_is_code(name: str, value: str) -> None:
    known = {"": ModuleClass(name, {name: value}), "fc": ModuleClass(name, {name: value, "stride": value})}
    known |= {"c": ModuleClass(f"torch.nn.{name}", {}), "act": ModuleClass(name, {value: name})}
    source = source_for({"fc.weight": ((2, 2), "float32"), "c.w": ((1,), "float32")}, known)
    with running(source) as module:
        assert {"fc", "c"} <= set(getattr(module, target(source).partition(".")[0]).__dataclass_fields__)


@pytest.mark.parametrize("name", ["w{}", "w-{}", "w.{}"])
def test_the_source_grows_with_the_tensors_alone(name: str) -> None:
    source = source_for({name.format(i): ((2,), "float32") for i in range(50_000)})
    assert source.count("\n") < 50_100
    compile(source, "generated", "exec")


def test_a_list_of_as_many_classes_as_items_compiles() -> None:
    source = source_for({f"w.{i}.a{i}": ((2,), "float32") for i in range(2_000)})
    compile(source, "generated", "exec")
    assert fields(source)[-1] == "w: Annotated[list[Any], ww.Length(2000)]"


def test_more_modules_than_any_model_has_are_refused() -> None:
    tensors: dict[str, tuple[Shape, str]] = {
        f"{'.'.join(f'{i}_{j}' for j in range(60))}.w": ((1,), "int8") for i in range(1700)
    }
    with pytest.raises(CheckpointError, match=r"^model\.pt: expected at most 100,000 modules, found more$"):
        source_for(tensors)
