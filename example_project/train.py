"""Train the network and write `weights/digits.pt`, `weights/golden.npz` and `src/digits/held_out.npz`.

Building and using the package needs neither this script nor torch: the files are committed. They were made with
Python 3.11, torch 2.13.0 (CPU), scikit-learn 1.9.1 and numpy 2.4.6, in some ten seconds:

    python -m pip install torch scikit-learn hatch-wheelweights && python train.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from hatch_wheelweights import golden

HERE = Path(__file__).parent
EPOCHS = 60
BATCH = 64


class ConvBlock(nn.Module):
    """A convolution that keeps the image's size, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features, `(n, out_channels, h, w)`."""
        return torch.relu(self.norm(self.conv(x)))


class Digits(nn.Module):
    """Logits of the ten digits for 8x8 images; `digits.model` computes the same without torch."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(ConvBlock(1, 32), nn.MaxPool2d(2), ConvBlock(32, 64), nn.MaxPool2d(2))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(n, 10)` of images `(n, 8, 8)` with values 0 to 16."""
        logits: Tensor = self.head(self.encoder(images[:, None].float() / 16))
        return logits


def train(images: Tensor, labels: Tensor) -> Digits:
    """Return a network trained on the images, in evaluation mode."""
    model = Digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in torch.randperm(len(images)).split(BATCH):
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        schedule.step()
        print(f"epoch {epoch + 1:2}: loss {total / len(images):.4f}")
    return model.eval()


def write_golden(model: Digits, images: Tensor) -> None:
    """Write what the network and its parts compute for some images: `digits --check` compares it without torch."""
    parts = ["encoder.0", "encoder.2", "head.2", "head.4"]  # those with weights
    golden(model, images, path=HERE / "weights" / "golden.npz", modules=parts)


def main() -> None:
    """Train on 1,437 images, measure on the other 360, write the files."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # sums in one order: the same weights on every run
    torch.use_deterministic_algorithms(mode=True)

    images, labels = load_digits(return_X_y=True)
    images, labels = images.reshape(-1, 8, 8).astype(np.uint8), labels.astype(np.uint8)
    split = train_test_split(images, labels, test_size=360, stratify=labels, random_state=0)
    train_images, test_images, train_labels, test_labels = split

    model = train(torch.from_numpy(train_images), torch.from_numpy(train_labels).long())
    with torch.inference_mode():
        logits = model(torch.from_numpy(test_images)).numpy()
    print(f"{np.mean(logits.argmax(1) == test_labels):.2%} of {len(test_labels)} held-out images")

    torch.save(model.state_dict(), HERE / "weights" / "digits.pt")
    write_golden(model, torch.from_numpy(test_images[:4]))
    np.savez_compressed(HERE / "src" / "digits" / "held_out.npz", images=test_images, labels=test_labels, logits=logits)


if __name__ == "__main__":
    main()
