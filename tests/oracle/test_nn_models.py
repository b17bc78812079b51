"""Models made of `wheelweights.nn`, bound from a torch state_dict, give the outputs of the torch models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import wheelweights as ww
from looking.closeness import assert_close
from wheelweights import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings(
    "ignore:enable_nested_tensor:UserWarning", "ignore:The PyTorch API of nested:UserWarning"
)


@dataclass
class EncoderLayer:
    """torch.nn.TransformerEncoderLayer."""

    self_attn: nn.MultiheadAttention
    linear1: nn.Linear
    linear2: nn.Linear
    norm1: nn.LayerNorm
    norm2: nn.LayerNorm
    norm_first: bool = False

    def __call__(self, x: nn.Array, padding: nn.Array) -> nn.Array:
        if self.norm_first:
            x = x + self.attended(self.norm1(x), padding)
            return x + self.linear2(nn.gelu(self.linear1(self.norm2(x))))
        x = self.norm1(x + self.attended(x, padding))
        return self.norm2(x + self.linear2(nn.gelu(self.linear1(x))))

    def attended(self, x: nn.Array, padding: nn.Array) -> nn.Array:
        return self.self_attn(x, x, x, padding, need_weights=False)[0]


@dataclass
class Transformer:
    embed: nn.Embedding
    layers: list[EncoderLayer]
    norm: nn.LayerNorm
    head: nn.Linear

    def __call__(self, tokens: nn.Array) -> nn.Array:
        x, padding = self.embed(tokens), tokens == 0
        for layer in self.layers:
            x = layer(x, padding)
        return self.head(self.norm(x))


@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_encoder(norm_first: bool) -> None:
    torch.manual_seed(0)
    embed, head = torch.nn.Embedding(30, 32, padding_idx=0), torch.nn.Linear(32, 5)
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu", batch_first=True, norm_first=norm_first)
    encoder = torch.nn.TransformerEncoder(layer, 3, torch.nn.LayerNorm(32))
    whole = torch.nn.ModuleDict({"embed": embed, "encoder": encoder, "head": head}).eval()
    for parameter in whole.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    tokens = torch.randint(1, 30, (4, 11))
    tokens[0, 7:], tokens[2, 3:] = 0, 0

    state = {key.removeprefix("encoder."): tensor.numpy() for key, tensor in whole.state_dict().items()}
    layers = [
        EncoderLayer(
            nn.MultiheadAttention.init(32, 4, batch_first=True),
            nn.Linear.init(32, 64),
            nn.Linear.init(64, 32),
            nn.LayerNorm.init(32),
            nn.LayerNorm.init(32),
            norm_first,
        )
        for _ in range(3)
    ]
    started = Transformer(nn.Embedding.init(30, 32), layers, nn.LayerNorm.init(32), nn.Linear.init(32, 5))
    model: Any = ww.bind(started, state)
    with torch.no_grad():
        hidden = encoder(embed(tokens), src_key_padding_mask=tokens == 0)
        expected = head(hidden).numpy()
    seen = tokens.numpy() != 0  # torch may give zeros for padding, which has no meaning
    assert_close(model(tokens.numpy())[seen], expected[seen])


@dataclass
class Tagger:
    embed: nn.Embedding
    lstm: nn.LSTM
    head: nn.Linear

    def __call__(self, tokens: nn.Array) -> nn.Array:
        x, _ = self.lstm(self.embed(tokens))
        return nn.log_softmax(self.head(x))


def test_lstm_tagger_binds_from_the_type_alone() -> None:
    torch.manual_seed(0)
    embed, head = torch.nn.Embedding(20, 8), torch.nn.Linear(24, 6)
    lstm = torch.nn.LSTM(8, 12, 2, bidirectional=True)
    whole = torch.nn.ModuleDict({"embed": embed, "lstm": lstm, "head": head}).eval()
    tokens = torch.randint(0, 20, (9, 3))
    model = ww.bind(Tagger, {key: tensor.numpy() for key, tensor in whole.state_dict().items()})
    with torch.no_grad():
        expected = torch.log_softmax(head(lstm(embed(tokens))[0]), -1)
    assert_close(model(tokens.numpy()), np.asarray(expected))
