"""The network: the layers of `train.py` once more, as dataclasses whose values come from the record in this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import wheelweights as ww
from wheelweights.nn import BatchNorm2d, Conv2d, Linear, max_pool2d, relu

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ConvBlock", "Digits", "load", "record"]


@dataclass
class ConvBlock:
    """A convolution that keeps the image's size, batch normalisation, ReLU."""

    conv: Conv2d
    norm: BatchNorm2d

    @classmethod
    def init(cls, in_channels: int, out_channels: int) -> ConvBlock:
        """Return a block with random weights."""
        return cls(Conv2d.init(in_channels, out_channels, 3, padding=1, bias=False), BatchNorm2d.init(out_channels))

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the features, `(n, out_channels, h, w)`."""
        return relu(self.norm(self.conv(x)))


@dataclass
class Digits:
    """Logits of the ten digits for 8x8 images."""

    encoder: list[ConvBlock]
    head: list[Linear]

    @classmethod
    def init(cls) -> Digits:
        """Return a network with random weights."""
        return cls([ConvBlock.init(1, 32), ConvBlock.init(32, 64)], [Linear.init(256, 64), Linear.init(64, 10)])

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits `(n, 10)` of images `(n, 8, 8)` with values 0 to 16."""
        x = np.divide(images[:, None], 16, dtype=np.float32)
        for block in self.encoder:
            x = max_pool2d(block(x), 2)
        hidden, output = self.head
        return output(relu(hidden(x.reshape(len(x), -1))))


def record() -> ww.Record:
    """Return the record in this package; raise WheelweightsError when it is missing."""
    return ww.load("digits", "digits.mpk")


def load() -> Digits:
    """Return the trained network; raise WheelweightsError when its record is missing or does not fit."""
    return ww.bind(Digits.init, record())
