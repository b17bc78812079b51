"""Models of many kinds, small: what people have checkpoints of, and names that are hard to have as fields."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

torch = pytest.importorskip("torch")
nn = torch.nn


class Parts(nn.Module):
    """A module with parts: modules, parameters, or, for a tensor, a buffer."""

    def __init__(self, /, **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            if torch.is_tensor(part) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)


def parameter(*shape: int) -> Any:
    return nn.Parameter(torch.randn(shape))


def repeated(count: int, make: Callable[[int], Any]) -> Any:
    return nn.ModuleList(make(number) for number in range(count))


# --------------------------------------------------------------------------------------------------------- Convolutions


class BasicBlock(nn.Module):
    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters, eps=1e-3)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters, eps=1e-3)
        projection = nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)
        self.downsample = None if stride == 1 else nn.Sequential(*projection)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(BasicBlock(8, 8, 1), BasicBlock(8, 8, 1))
        self.layer2 = nn.Sequential(BasicBlock(8, 16, 2), BasicBlock(16, 16, 1))
        self.layer3 = nn.Sequential(BasicBlock(16, 32, 2), *(BasicBlock(32, 32, 1) for _ in range(3)))
        self.fc = nn.Linear(32, 10)


class InvertedResidual(nn.Module):
    def __init__(self, channels: int, filters: int, times: int, stride: int) -> None:
        super().__init__()
        hidden = channels * times
        widening = [] if times == 1 else [normed(channels, hidden, 1)]
        depthwise = normed(hidden, hidden, 3, stride=stride, groups=hidden)
        narrowing = nn.Conv2d(hidden, filters, 1, bias=False), nn.BatchNorm2d(filters)
        self.conv = nn.Sequential(*widening, depthwise, *narrowing)


def normed(channels: int, filters: int, kernel: int, *, stride: int = 1, groups: int = 1) -> Any:
    conv = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(filters), nn.ReLU6())


def mobilenet() -> Any:
    shapes = [(8, 4, 1, 1), (4, 6, 6, 2), (6, 6, 6, 1)]
    blocks = [InvertedResidual(*shape) for shape in shapes]
    features = nn.Sequential(normed(3, 8, 3, stride=2), *blocks, normed(6, 16, 1))
    return Parts(features=features, classifier=nn.Sequential(nn.Dropout(), nn.Linear(16, 10)))


def vgg() -> Any:
    convolutions = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3)]
    head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2))
    return Parts(features=nn.Sequential(*convolutions), classifier=head)


def densenet() -> Any:
    def layer(channels: int) -> Any:
        first = {"norm1": nn.BatchNorm2d(channels), "conv1": nn.Conv2d(channels, 4, 1, bias=False)}
        return Parts(**first, norm2=nn.BatchNorm2d(4), conv2=nn.Conv2d(4, 2, 3, padding=1, bias=False))

    def block(channels: int, count: int) -> Any:
        return Parts(**{f"denselayer{i + 1}": layer(channels + 2 * i) for i in range(count)})

    features = OrderedDict(conv0=nn.Conv2d(3, 4, 7), denseblock1=block(4, 2), denseblock2=block(8, 3))
    return Parts(features=nn.Sequential(features), classifier=nn.Linear(14, 2))


def double(channels: int, filters: int) -> Any:
    first = nn.Conv2d(channels, filters, 3, padding=1)
    return Parts(conv1=first, norm=nn.GroupNorm(2, filters), conv2=nn.Conv2d(filters, filters, 3, padding=1))


def unet() -> Any:
    ups = [nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)]
    return Parts(
        down=nn.ModuleList([double(3, 8), double(8, 16)]),
        middle=double(16, 32),
        up=nn.ModuleList(ups),
        joined=nn.ModuleList([double(32, 16), double(16, 8)]),
        final=nn.Conv2d(8, 1, 1),
    )


def autoencoder() -> Any:
    decoder = [nn.ConvTranspose2d(16, 8, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 3, 2, 1, 1, bias=False)]
    encoder = [nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1)]
    return Parts(encoder=nn.Sequential(*encoder), decoder=nn.Sequential(*decoder), square=nn.ConvTranspose1d(4, 4, 3))


# -------------------------------------------------------------------------------------------------------- Transformers


def bert() -> Any:
    size = 8

    def output(inputs: int) -> Any:
        return Parts(dense=nn.Linear(inputs, size), LayerNorm=nn.LayerNorm(size, eps=1e-12))

    def layer(_: int) -> Any:
        own = Parts(query=nn.Linear(size, size), key=nn.Linear(size, size), value=nn.Linear(size, size))
        attention = Parts(self=own, output=output(size))
        return Parts(attention=attention, intermediate=Parts(dense=nn.Linear(size, 32)), output=output(32))

    embeddings = Parts(
        word_embeddings=nn.Embedding(30, size),
        position_embeddings=nn.Embedding(16, size),
        LayerNorm=nn.LayerNorm(size, eps=1e-12),
        position_ids=torch.arange(16)[None],
    )
    pooler = Parts(dense=nn.Linear(size, size))
    return Parts(embeddings=embeddings, encoder=Parts(layer=repeated(4, layer)), pooler=pooler, cls=pooler)


def vit() -> Any:
    def block(_: int) -> Any:
        attention = Parts(qkv=nn.Linear(16, 48), proj=nn.Linear(16, 16))
        mlp = Parts(fc1=nn.Linear(16, 64), fc2=nn.Linear(64, 16))
        return Parts(norm1=nn.LayerNorm(16, eps=1e-6), attn=attention, norm2=nn.LayerNorm(16, eps=1e-6), mlp=mlp)

    embedded = {"cls_token": parameter(1, 1, 16), "pos_embed": parameter(1, 5, 16)}
    patches = Parts(proj=nn.Conv2d(3, 16, 4, 4))
    return Parts(**embedded, patch_embed=patches, blocks=repeated(3, block), norm=nn.LayerNorm(16))


def gpt2() -> Any:
    def matrix(inputs: int, outputs: int) -> Any:
        return Parts(weight=parameter(inputs, outputs), bias=parameter(outputs))

    def block(_: int) -> Any:
        mask = torch.ones(1, 1, 8, 8).bool()
        attention = Parts(bias=mask, c_attn=matrix(8, 24), c_proj=matrix(8, 8))
        mlp = Parts(c_fc=matrix(8, 32), c_proj=matrix(32, 8))
        return Parts(ln_1=nn.LayerNorm(8), attn=attention, ln_2=nn.LayerNorm(8), mlp=mlp)

    tables = {"wte": nn.Embedding(30, 8), "wpe": nn.Embedding(8, 8)}
    model = Parts(transformer=Parts(**tables, h=repeated(3, block), ln_f=nn.LayerNorm(8)))
    model.lm_head = nn.Linear(8, 30, bias=False)
    model.lm_head.weight = model.transformer.wte.weight
    return model


def llama() -> Any:
    def linear(inputs: int, outputs: int) -> Any:
        return nn.Linear(inputs, outputs, bias=False)

    def layer(_: int) -> Any:
        attention = Parts(q_proj=linear(8, 8), k_proj=linear(8, 4), v_proj=linear(8, 4), o_proj=linear(8, 8))
        mlp = Parts(gate_proj=linear(8, 16), up_proj=linear(8, 16), down_proj=linear(16, 8))
        norms = {"input_layernorm": nn.RMSNorm(8, eps=1e-6), "post_attention_layernorm": nn.RMSNorm(8, eps=1e-6)}
        return Parts(self_attn=attention, mlp=mlp, **norms)

    inner = Parts(embed_tokens=nn.Embedding(30, 8), layers=repeated(3, layer), norm=nn.RMSNorm(8))
    return Parts(model=inner, lm_head=linear(8, 30))


def whisper() -> Any:
    def attention() -> Any:
        linear = {name: nn.Linear(8, 8, bias=name != "key") for name in ("query", "key", "value", "out")}
        return Parts(**linear)

    def block(*, crossed: bool) -> Any:
        cross = {"cross_attn": attention(), "cross_attn_ln": nn.LayerNorm(8)} if crossed else {}
        mlp = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))
        return Parts(attn=attention(), attn_ln=nn.LayerNorm(8), **cross, mlp=mlp, mlp_ln=nn.LayerNorm(8))

    convolutions = {"conv1": nn.Conv1d(8, 8, 3, padding=1), "conv2": nn.Conv1d(8, 8, 3, 2, 1)}
    encoder = Parts(
        **convolutions,
        positional_embedding=torch.zeros(10, 8),
        blocks=repeated(2, lambda _: block(crossed=False)),
        ln_post=nn.LayerNorm(8),
    )
    decoder = Parts(
        token_embedding=nn.Embedding(20, 8),
        positional_embedding=parameter(10, 8),
        blocks=repeated(3, lambda _: block(crossed=True)),
        ln=nn.LayerNorm(8),
    )
    return Parts(encoder=encoder, decoder=decoder)


def clip() -> Any:
    def transformer(size: int, count: int) -> Any:
        def block(_: int) -> Any:
            mlp = OrderedDict(c_fc=nn.Linear(size, 4 * size), gelu=nn.GELU(), c_proj=nn.Linear(4 * size, size))
            parts = {"attn": nn.MultiheadAttention(size, 2), "ln_1": nn.LayerNorm(size)}
            return Parts(**parts, mlp=nn.Sequential(mlp), ln_2=nn.LayerNorm(size))

        return Parts(resblocks=repeated(count, block))

    visual = Parts(
        conv1=nn.Conv2d(3, 8, 4, 4, bias=False),
        class_embedding=parameter(8),
        positional_embedding=parameter(5, 8),
        ln_pre=nn.LayerNorm(8),
        transformer=transformer(8, 2),
        proj=parameter(8, 6),
    )
    text = {"token_embedding": nn.Embedding(20, 4), "ln_final": nn.LayerNorm(4), "logit_scale": parameter()}
    return Parts(visual=visual, transformer=transformer(4, 3), text_projection=parameter(4, 6), **text)


def torch_transformer() -> Any:
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return Parts(
        encoder=nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False),
        decoder=nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 4, 16), 3),
        cross=nn.MultiheadAttention(8, 2, kdim=4, vdim=6, add_bias_kv=True),
        plain=nn.MultiheadAttention(8, 2, bias=False),
    )


# --------------------------------------------------------------------------------------------------------------- Others


def recurrent() -> Any:
    return Parts(
        emb=nn.Embedding(20, 6),
        lstm=nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True),
        gru=nn.GRU(10, 4, bias=False),
        projected=nn.LSTM(6, 5, proj_size=3),
        rnn=nn.RNN(6, 5),
        cell=nn.LSTMCell(6, 5),
        out=nn.Linear(4, 2),
    )


def norms() -> Any:
    return Parts(
        bn=nn.BatchNorm2d(4, affine=False),
        batch=nn.BatchNorm1d(4, track_running_stats=False),
        gn=nn.GroupNorm(2, 4),
        norm=nn.GroupNorm(2, 4),
        instance=nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        rms_norm=nn.RMSNorm(4, eps=1e-6),
        ln=nn.LayerNorm((3, 4)),
        unbiased_ln=nn.LayerNorm(4, bias=False),
        bn3=nn.BatchNorm3d(2, eps=1e-3),
        prelu=nn.PReLU(),
        cube=nn.Conv3d(1, 2, 3),
    )


def weight_norms() -> Any:
    return Parts(
        weight=nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
        spectral=nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)),
        orthogonal=nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)),
    )


def tied() -> Any:
    model = Parts(embed_tokens=nn.Embedding(12, 4), bag=nn.EmbeddingBag(10, 3), lm_head=nn.Linear(4, 12, bias=False))
    model.lm_head.weight = model.embed_tokens.weight
    return model


def parameter_lists() -> Any:
    mixed = nn.ParameterDict({"class": parameter(2), "fine": nn.Parameter(torch.zeros(3).double())})
    return Parts(
        params=nn.ParameterList(parameter(i + 1) for i in range(3)),
        named=nn.ParameterDict({"a": parameter(2), "b-c": parameter(2, 2)}),
        mixed=mixed,
    )


def odd_names() -> Any:
    names = ["class", "my-layer", "0", "fine", "__private", "None", "\ufb01", "é"]
    deep = nn.ModuleDict({name: nn.Linear(1 + i % 2, 2) for i, name in enumerate(names)})
    deep["a b"] = nn.ModuleDict({"x": nn.Conv2d(1, 1, 1)})
    module_names = ["nn", "np", "ww", "init", "list", "int", "cls", "Net", "self", "type", "field", "others", "mro"]
    model = Parts(deep=deep, sparse=nn.ModuleDict({"10": nn.Linear(1, 1), "5000": nn.Linear(1, 2)}))
    for name in module_names:
        setattr(model, name, nn.ModuleList([nn.LayerNorm(2)] * 2) if name == "list" else nn.Linear(2, 1))
    return model


def a_list() -> Any:
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1), nn.Sequential(nn.Conv2d(1, 1, 1)))


def a_layer() -> Any:
    return nn.Linear(2, 3)


def half() -> Any:
    return bert().half()


def bfloat16() -> Any:
    return clip().bfloat16()


class T5(nn.Module):
    """Three matrices that are one, and a class whose name ends with a number."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Embedding(20, 8)
        self.encoder = Parts(embed_tokens=self.shared, block=repeated(3, lambda i: self.attention(first=i == 0)))
        self.lm_head = nn.Linear(8, 20, bias=False)
        self.lm_head.weight = self.shared.weight

    def attention(self, *, first: bool) -> Any:
        parts = {name: nn.Linear(8, 8, bias=False) for name in "qkvo"}
        return Parts(**parts, **({"relative_attention_bias": nn.Embedding(32, 4)} if first else {}))


def diffusion_unet() -> Any:
    def block(channels: int, filters: int) -> Any:
        convolutions = {"conv1": nn.Conv2d(channels, filters, 3, padding=1), "time": nn.Linear(32, filters)}
        shortcut = {} if channels == filters else {"conv_shortcut": nn.Conv2d(channels, filters, 1)}
        return Parts(norm1=nn.GroupNorm(4, channels), **convolutions, **shortcut)

    return Parts(down=repeated(2, lambda i: block(8, 8 + 8 * i)), up=repeated(2, lambda i: block(24 - 8 * i, 16)))


def efficientnet() -> Any:
    def block(channels: int, filters: int, *, stride: int) -> Any:
        squeeze = Parts(reduce=nn.Conv2d(channels, 2, 1), expand=nn.Conv2d(2, channels, 1))
        depthwise = nn.Conv2d(channels, channels, 5, stride, 2, groups=channels, bias=False)
        return InvertedBlock(depthwise=depthwise, squeeze=squeeze, project=nn.Conv2d(channels, filters, 1, bias=False))

    blocks = block(8, 8, stride=1), block(8, 16, stride=2), block(16, 16, stride=1)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, bias=False), nn.BatchNorm2d(8), nn.SiLU(), *blocks, nn.Linear(16, 5))


class InvertedBlock(Parts):
    pass


def odd_dicts() -> Any:
    """Dicts of so many kinds that their annotations take several lines, and every name of a function is a field."""
    kinds = {
        "en-de": nn.Linear(1, 2),
        "en-fr": nn.Conv2d(1, 2, 1),
        "en-it": nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.LSTM(1, 2)),
        "en-\\": nn.ModuleDict({"a'b": nn.GRU(1, 2)}),
        'en-"': Parts(w=parameter(2)),
    }
    names = {name: parameter(i + 1) for i, name in enumerate(("init", "make", "start", "init_"))}
    return Parts(translations=nn.ModuleDict(kinds), **kinds, **names)


MODELS: dict[str, Callable[[], Any]] = {
    make.__name__: make
    for make in (
        *(ResNet, mobilenet, vgg, densenet, unet, autoencoder),
        *(bert, vit, gpt2, llama, whisper, clip, torch_transformer),
        *(recurrent, norms, weight_norms, tied, parameter_lists, odd_names, a_list, a_layer, half, bfloat16),
        *(T5, diffusion_unet, efficientnet, odd_dicts),
    )
}
