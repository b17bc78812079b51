"""Make clip_style.pt and expected.npz: a checkpoint of a small model like OpenAI's CLIP, in the middle of its training.

The weights as a training script leaves them: wrapped in DataParallel, an optimizer and the configuration beside them,
two towers, and of the image tower's layers some pruned away. Run by hand where torch is installed; the tests read only
the files. Made with torch 2.13.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
CONFIG: dict[str, Any] = {
    "embed_dim": 8,
    "image_size": 16,
    "mean": (0.48, 0.46, 0.41),
    "vision": {"width": 12, "heads": 2, "patch_size": 4, "layers": [0, 2, 5]},
    "text": {"width": 8, "heads": 2, "layers": [0], "vocabulary": 30, "context": 6},
}
SIZES = {"image": (2, 3, 16, 16), "tokens": (2, 6)}


class Block(nn.Module):
    """A residual attention block, with CLIP's names."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 2 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(2 * width, width))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """Blocks under the numbers that they had before others were pruned; a sequence is the first axis."""

    def __init__(self, width: int, heads: int, layers: list[int]) -> None:
        super().__init__()
        self.resblocks = nn.ModuleDict({str(layer): Block(width, heads) for layer in layers})

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        for block in self.resblocks.values():
            x = block(x, mask)
        return x


class Vision(nn.Module):
    """The image tower."""

    def __init__(self, embed_dim: int, image_size: int, sizes: dict[str, Any]) -> None:
        super().__init__()
        width, patch = sizes["width"], sizes["patch_size"]
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty((image_size // patch) ** 2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, sizes["heads"], sizes["layers"])
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, embed_dim))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        patches = self.conv1(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(image), 1, -1), patches], 1) + self.positional_embedding
        x = self.transformer(self.ln_pre(x).transpose(0, 1))
        return self.ln_post(x[0]) @ self.proj


class Clip(nn.Module):
    """Two towers, of which the text tower's names have no prefix."""

    def __init__(self, embed_dim: int, image_size: int, vision: dict[str, Any], text: dict[str, Any]) -> None:
        super().__init__()
        width = text["width"]
        self.positional_embedding = nn.Parameter(torch.empty(text["context"], width))
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(2.6593))
        self.visual = Vision(embed_dim, image_size, vision)
        self.transformer = Transformer(width, text["heads"], text["layers"])
        self.token_embedding = nn.Embedding(text["vocabulary"], width)
        self.ln_final = nn.LayerNorm(width)
        self.register_buffer("attn_mask", torch.full((text["context"],) * 2, -torch.inf).triu(1), persistent=False)

    def forward(self, image: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        x = (self.token_embedding(tokens) + self.positional_embedding).transpose(0, 1)
        x = self.ln_final(self.transformer(x, self.attn_mask)[-1]) @ self.text_projection
        similar = nn.functional.cosine_similarity(self.visual(image)[:, None], x[None], dim=-1)
        return self.logit_scale.exp() * similar


def trained() -> tuple[nn.DataParallel[Clip], torch.optim.Optimizer]:
    """Return a model in which no parameter is at one or zero, after one step."""
    model = nn.DataParallel(Clip(CONFIG["embed_dim"], CONFIG["image_size"], CONFIG["vision"], CONFIG["text"]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "logit_scale" not in name:
                parameter.normal_(float("ln_" in name and "weight" in name), 0.3)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    scores = model(torch.rand(SIZES["image"]), torch.randint(30, SIZES["tokens"]))
    nn.functional.cross_entropy(scores, torch.arange(2)).backward()
    optimizer.step()
    return model.eval(), optimizer


def main() -> None:
    torch.manual_seed(21)
    model, optimizer = trained()
    saved = {
        "epoch": 32,
        "name": "tiny",
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "config": CONFIG,
    }
    torch.save(saved, HERE / "clip_style.pt")
    image = torch.rand(SIZES["image"])
    with torch.no_grad():
        features = model.module.visual(image)
        halved = model.module.visual.half().float()(image)
    np.savez_compressed(HERE / "expected.npz", image=image, features=features, features_of_halved_weights=halved)


if __name__ == "__main__":
    main()
