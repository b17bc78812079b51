"""The command `digits`: shows a held-out image and what the network reads in it."""

from __future__ import annotations

import argparse
import time
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

import wheelweights as ww
from digits.model import load, record
from wheelweights.nn import softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHADES = " .:-=+*#%@"


def main(argv: list[str] | None = None) -> None:
    """Run the command; exit with 1 when the record is not usable or `--check` fails, with 2 on wrong usage."""
    parser = argparse.ArgumentParser("digits", description="Read a handwritten digit.")
    parser.add_argument("image", nargs="?", type=int, default=0, help="number of a held-out image (default: 0)")
    parser.add_argument("--check", action="store_true", help="compare the network and its parts with torch's")
    arguments = parser.parse_args(argv)
    number = arguments.image

    images, labels, torch_logits = held_out()
    if not 0 <= number < len(images):
        parser.exit(2, f"digits: image: expected 0 to {len(images) - 1}, found {number}\n")
    start = time.perf_counter()
    try:
        model = load()
    except ww.WheelweightsError as error:
        parser.exit(1, f"digits: {error}\n")
    loaded = time.perf_counter()
    logits = model(images)
    end = time.perf_counter()

    digit, probability = logits[number].argmax(), softmax(logits[number]).max()
    accuracy = np.mean(logits.argmax(axis=1) == labels)
    difference = np.abs(logits - torch_logits).max()
    print(picture(images[number]))
    print(f"image {number}: {digit}, with probability {probability:.1%} (labelled {labels[number]})")
    print(f"all {len(images)} held-out images: {accuracy:.2%} correct, logits within {difference:.1e} of torch's")
    print(f"loaded in {1e3 * (loaded - start):.1f} ms, computed in {1e3 * (end - loaded):.1f} ms")
    if arguments.check:
        try:
            print(ww.check(model, record()))
        except ww.WheelweightsError as error:
            parser.exit(1, f"digits: {error}\n")


def held_out() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """Return the images `(n, 8, 8)` that training never saw, their labels `(n,)` and torch's logits `(n, 10)`."""
    with resources.files("digits").joinpath("held_out.npz").open("rb") as file, np.load(file) as arrays:
        return arrays["images"], arrays["labels"], arrays["logits"]


def picture(image: NDArray[np.uint8]) -> str:
    """Return an image of values 0 to 16 as eight lines of characters, two to a pixel."""
    return "\n".join("".join(2 * SHADES[value * 9 // 16] for value in row) for row in image.tolist())
