"""Convolution and its transpose of arrays, with any number of spatial axes.

A convolution copies the elements under each output ("im2col") a block of outputs at a time, and multiplies matrices.
The transpose multiplies matrices, a block of inputs at a time, and adds the products where they belong.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wheelweights.nn._arrays import Array

COLUMN_BYTES = 8 << 20  # memory for the elements under one block of outputs (not less than one line of outputs needs)
CACHED_BYTES = 2 << 20  # so much of it is used where that makes matrices of more than NARROW columns
NARROW = 64
FEW = 8  # outputs of a group: for so few, copying the elements under an output takes longer than the product


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def convolved(
    x: Array, weight: Array, bias: Array | None, *, stride: tuple[int, ...], dilation: tuple[int, ...], groups: int
) -> Array:
    """Convolve a batch that has its padding; all arrays of one dtype."""
    x, kernel = np.ascontiguousarray(x), weight.shape[2:]
    size = [
        (length - gap * (width - 1) - 1) // step + 1
        for length, gap, width, step in zip(x.shape[2:], dilation, kernel, stride, strict=True)
    ]
    copied = math.prod(weight.shape[1:]) * math.prod(x.shape[2:]) * x.itemsize
    if (
        set(stride) == {1}
        and len(weight) // groups <= FEW
        and math.prod(kernel) > 1
        and copied <= min(COLUMN_BYTES, CACHED_BYTES)
        and x.size
    ):
        return _convolved_flat(x, weight, bias, size=size, dilation=dilation, groups=groups)
    gaps = [hop * gap for hop, gap in zip(x.strides[2:], dilation, strict=True)]
    steps = [hop * step for hop, step in zip(x.strides[2:], stride, strict=True)]
    channels = weight.shape[1]
    under = np.ndarray(  # the elements under each output, not yet copied
        (len(x), groups, channels, *kernel, *size),
        x.dtype,
        x,
        strides=(x.strides[0], x.strides[1] * channels, x.strides[1], *gaps, *steps),
    )
    result = np.empty((len(x), groups, len(weight) // groups, math.prod(size)), x.dtype)
    matrices = weight.reshape(groups, len(weight) // groups, -1)
    offsets = None if bias is None else bias.reshape(groups, -1, 1)
    for images, outputs, columns in _columns(under, len(kernel)):
        block = result[images, :, :, outputs]
        np.matmul(matrices, columns, out=block)
        if offsets is not None:
            block += offsets
    return result.reshape(len(x), len(weight), *size)


@np.errstate(over="ignore", invalid="ignore")  # in the places left out, too, where infinities of two lines may meet
def _convolved_flat(
    x: Array, weight: Array, bias: Array | None, *, size: list[int], dilation: tuple[int, ...], groups: int
) -> Array:
    """Convolve with stride 1 and few outputs in a group, where copying the elements under each output takes longest.

    Seen as one row of numbers, an image lies under an offset of the kernel as one piece, a copy of which is quick. So
    outputs are made for every place of that row, and those whose kernel hangs over the end of a line are left out.
    """
    lengths, outputs, depth = x.shape[2:], len(weight) // groups, math.prod(weight.shape[1:])
    rows = x.reshape(len(x) * groups, weight.shape[1], *lengths)
    hops = rows.strides[2:]
    span = sum((length - 1) * hop for length, hop in zip(size, hops, strict=True)) // x.itemsize + 1
    gaps = [hop * gap for hop, gap in zip(hops, dilation, strict=True)]
    shape = (*rows.shape[:2], *weight.shape[2:], span)
    under = np.ndarray(shape, x.dtype, rows, strides=(*rows.strides[:2], *gaps, x.itemsize))
    matrices = np.concatenate([weight.reshape(groups, outputs, depth)] * len(x))
    offsets = None if bias is None else np.concatenate([bias.reshape(groups, outputs, *[1] * len(size))] * len(x))
    result = np.empty((len(rows), outputs, *size), x.dtype)
    parts = list(_parts(len(rows), 1, span, depth * x.itemsize))
    columns = np.empty((parts[0][0].stop, *under.shape[1:]), x.dtype)
    places = np.empty((len(columns), outputs, size[0], *lengths[1:]), x.dtype)
    for part, _ in parts:
        many = part.stop - part.start
        np.copyto(columns[:many], under[part])
        products = places[:many].reshape(many, outputs, -1)[..., :span]
        np.matmul(matrices[part], columns[:many].reshape(many, depth, span), out=products)
        np.add(places[:many, :, *map(slice, size)], 0 if offsets is None else offsets[part], out=result[part])
    return result.reshape(len(x), len(weight), *size)


def _columns(under: Array, axes: int) -> Iterator[tuple[slice, slice, Array]]:
    """Yield blocks of images and of outputs with their matrices: one per image and group, a column for each output.

    `under` is (images, groups, channels of a group, *kernel, *size). The next block overwrites the one before.
    """
    (images, groups), depth = under.shape[:2], math.prod(under.shape[2 : 3 + axes])
    if under.flags.c_contiguous:  # one element under each output: the input itself
        yield slice(None), slice(None), under.reshape(images, groups, depth, math.prod(under.shape[3 + axes :]))
        return
    lines, line = under.shape[3 + axes], math.prod(under.shape[4 + axes :])
    memory: Array | None = None
    for some, rows in _parts(images, lines, line, groups * depth * under.itemsize):
        where: Any = (some, ..., rows, *[slice(None)] * (axes - 1))
        block = under[where]
        memory = np.empty(block.size, under.dtype) if memory is None else memory
        columns = memory[: block.size].reshape(block.shape)
        np.copyto(columns, block)
        yield some, slice(rows.start * line, rows.stop * line), columns.reshape(len(block), groups, depth, -1)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def transposed(
    x: Array, weight: Array, *, stride: tuple[int, ...], dilation: tuple[int, ...], extra: tuple[int, ...], groups: int
) -> Array:
    """Return the transposed convolution of a batch before any padding is cut off; `extra` zeros behind."""
    kernel, size = weight.shape[2:], x.shape[2:]
    full = [
        (length - 1) * step + gap * (width - 1) + 1 + more
        for length, step, gap, width, more in zip(size, stride, dilation, kernel, extra, strict=True)
    ]
    result = np.zeros((len(x), groups, weight.shape[1], *full), x.dtype)
    inputs = x.reshape(len(x), groups, x.shape[1] // groups, math.prod(size))
    matrices = weight.reshape(groups, inputs.shape[2], math.prod(weight.shape[1:])).swapaxes(1, 2)
    line = math.prod(size[1:])
    for images, lines in _parts(len(x), size[0], line, groups * matrices.shape[1] * x.itemsize):
        block = inputs[images, ..., lines.start * line : lines.stop * line]
        product = matrices * block if block.shape[2] == 1 else matrices @ block
        product = product.reshape(len(block), groups, *weight.shape[1:], -1, *size[1:])
        counts = product.shape[-len(size) :]
        for offset in np.ndindex(*kernel):
            begins = [place * gap for place, gap in zip(offset, dilation, strict=True)]
            begins[0] += lines.start * stride[0]
            ends = [begin + (count - 1) * step + 1 for begin, count, step in zip(begins, counts, stride, strict=True)]
            where: Any = (images, ..., *map(slice, begins, ends, stride))
            result[where] += product[:, :, :, *offset]
    return result.reshape(len(x), groups * weight.shape[1], *full)


def _parts(images: int, lines: int, line: int, column_bytes: int) -> Iterator[tuple[slice, slice]]:
    """Yield blocks of images and of their lines, for matrices with `line` columns a line; the first is the largest."""
    columns = min(COLUMN_BYTES // max(1, column_bytes), max(NARROW, CACHED_BYTES // max(1, column_bytes)))
    at_once = max(1, columns // max(1, line))
    many, few = max(1, min(images, at_once // max(1, lines))), min(lines, at_once)
    for image, first in itertools.product(range(0, images, many), range(0, lines, few)):
        yield slice(image, min(images, image + many)), slice(first, min(lines, first + few))


def padded(x: Array, margins: list[tuple[int, int]]) -> Array:
    if not any(itertools.chain(*margins)):
        return x
    lengths = [before + length + behind for length, (before, behind) in zip(x.shape[2:], margins, strict=True)]
    result = np.zeros((*x.shape[:2], *lengths), x.dtype)
    inner: Any = [slice(before, before + length) for length, (before, _) in zip(x.shape[2:], margins, strict=True)]
    result[..., *inner] = x
    return result
