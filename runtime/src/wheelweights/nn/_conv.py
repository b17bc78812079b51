"""Convolution and its transpose, over one or two spatial axes; the code below the layers takes any number of them.

A convolution copies the elements under each output ("im2col") a block of outputs at a time, and multiplies matrices.
The transpose multiplies once per offset of the kernel and adds the products where they belong.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.lib.stride_tricks import as_strided

from wheelweights.nn._arrays import Array, narrowed, per_axis, unfit, widened
from wheelweights.nn._layer import Layer, of_shape, with_axes
from wheelweights.nn._starts import uniform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

    from wheelweights.nn._layer import Fault, Shapes

COLUMN_BYTES = 8 << 20  # memory for the elements under one block of outputs (not less than one line of outputs needs)
_SIZES = {1: "L", 2: "H, W"}


@dataclass(eq=False, repr=False)
class _Convolution(Layer):
    """Fields and calls that the convolutions share."""

    weight: Array
    """(out_channels, in_channels / groups, *kernel_size)"""
    bias: Array | None = None
    """(out_channels,)"""
    _: KW_ONLY
    stride: int | tuple[int, ...] = 1
    padding: int | tuple[int, ...] | Literal["same", "valid"] = 0
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    padding_mode: str = "zeros"

    axes: ClassVar[int]
    """Number of spatial axes."""

    def __post_init__(self) -> None:
        _check_padding_mode(self)

    @classmethod
    def init(
        cls,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | Literal["same", "valid"] = 0,
        *,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        rng: Generator | None = None,
    ) -> Self:
        """Return random parameters as torch starts them: all uniform within 1 / sqrt(elements under an output)."""
        kernel = per_axis(kernel_size, cls.axes, f"{cls.__name__}: kernel_size")
        _check_groups(cls.__name__, groups, in_channels, out_channels)
        return cls(
            *_random(rng, (out_channels, in_channels // groups, *kernel), out_channels if bias else None),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
        )

    @classmethod
    def __check_shapes__(cls, shapes: Shapes) -> Iterator[Fault]:
        yield from with_axes(shapes, "weight", cls.axes + 2)
        if shapes.get("weight"):
            yield from of_shape(shapes, shapes["weight"][:1], "bias")

    def __call__(self, x: Array) -> Array:
        x = np.asarray(x)
        name, axes = type(self).__name__, self.axes
        _check_parameters(self, len(self.weight))
        _check_input(name, x, axes, self.weight.shape[1] * self.groups)
        stride = per_axis(self.stride, axes, f"{name}: stride")
        dilation = per_axis(self.dilation, axes, f"{name}: dilation")
        wide, weight, bias = widened(x, self.weight, self.bias)
        padded = _padded(wide if x.ndim == axes + 2 else wide[None], self._margins(stride, dilation))
        reach = tuple(gap * (width - 1) + 1 for gap, width in zip(dilation, weight.shape[2:], strict=True))
        if any(length < far for length, far in zip(padded.shape[2:], reach, strict=True)):
            raise unfit(name, f"a size of at least {reach}, padding included", padded.shape[2:])
        result = _convolved(padded, weight, bias, stride=stride, dilation=dilation, groups=self.groups)
        return narrowed(result if x.ndim == axes + 2 else result[0], x)

    def _margins(self, stride: tuple[int, ...], dilation: tuple[int, ...]) -> list[tuple[int, int]]:
        """Return the zeros before and behind each axis."""
        name = type(self).__name__
        if self.padding == "valid":
            return [(0, 0)] * self.axes
        if self.padding == "same":
            if set(stride) != {1}:
                raise unfit(name, "stride 1 with padding 'same'", self.stride)
            total = [gap * (width - 1) for gap, width in zip(dilation, self.weight.shape[2:], strict=True)]
            return [(zeros // 2, zeros - zeros // 2) for zeros in total]
        return [(zeros, zeros) for zeros in per_axis(self.padding, self.axes, f"{name}: padding", least=0)]


class Conv1d(_Convolution):
    """Convolve (N, C, L) or (C, L), as torch.nn.Conv1d (that is, correlate). Fields and `init` as `Conv2d`."""

    axes = 1


class Conv2d(_Convolution):
    """Convolve (N, C, H, W) or (C, H, W), as torch.nn.Conv2d (that is, correlate).

    `padding` is a number, one per axis, "valid" (none) or "same" (the output has the input's size; if that takes an odd
    number of zeros, one more of them is behind than before). The only `padding_mode` is zeros.
    """

    axes = 2


@dataclass(eq=False, repr=False)
class _TransposedConvolution(Layer):
    """Fields and calls that the transposed convolutions share."""

    weight: Array
    """(in_channels, out_channels / groups, *kernel_size)"""
    bias: Array | None = None
    """(out_channels,)"""
    _: KW_ONLY
    stride: int | tuple[int, ...] = 1
    padding: int | tuple[int, ...] = 0
    output_padding: int | tuple[int, ...] = 0
    groups: int = 1
    dilation: int | tuple[int, ...] = 1
    padding_mode: str = "zeros"

    axes: ClassVar[int]
    """Number of spatial axes."""

    def __post_init__(self) -> None:
        _check_padding_mode(self)

    @classmethod
    def init(
        cls,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        *,
        output_padding: int | tuple[int, ...] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, ...] = 1,
        padding_mode: str = "zeros",
        rng: Generator | None = None,
    ) -> Self:
        """Return random parameters as torch starts them: all uniform within 1 / sqrt(elements of weight[0])."""
        kernel = per_axis(kernel_size, cls.axes, f"{cls.__name__}: kernel_size")
        _check_groups(cls.__name__, groups, in_channels, out_channels)
        return cls(
            *_random(rng, (in_channels, out_channels // groups, *kernel), out_channels if bias else None),
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            groups=groups,
            dilation=dilation,
            padding_mode=padding_mode,
        )

    @classmethod
    def __check_shapes__(cls, shapes: Shapes) -> Iterator[Fault]:
        yield from with_axes(shapes, "weight", cls.axes + 2)
        yield from with_axes(shapes, "bias", 1)
        outputs, biases = shapes.get("weight", ())[1:2], shapes.get("bias", ())
        if outputs and len(biases) == 1 and biases[0] % max(1, outputs[0]):  # as many outputs in each of the groups
            yield "bias", f"a multiple of {outputs[0]}", biases

    def __call__(self, x: Array) -> Array:
        x = np.asarray(x)
        name, axes = type(self).__name__, self.axes
        _check_parameters(self, self.weight.shape[1] * self.groups)
        _check_input(name, x, axes, len(self.weight))
        stride = per_axis(self.stride, axes, f"{name}: stride")
        padding = per_axis(self.padding, axes, f"{name}: padding", least=0)
        dilation = per_axis(self.dilation, axes, f"{name}: dilation")
        extra = per_axis(self.output_padding, axes, f"{name}: output_padding", least=0)
        if any(more >= max(step, gap) for more, step, gap in zip(extra, stride, dilation, strict=True)):
            raise unfit(name, "output_padding below stride or dilation", self.output_padding)
        wide, weight, bias = widened(x, self.weight, self.bias)
        batch = wide if x.ndim == axes + 2 else wide[None]
        full = _transposed(batch, weight, stride=stride, dilation=dilation, extra=extra, groups=self.groups)
        inner: Any = [slice(zeros, size - zeros) for zeros, size in zip(padding, full.shape[2:], strict=True)]
        result = full[..., *inner]
        if 0 in result.shape[2:]:
            raise unfit(name, f"padding that leaves something of an output of size {full.shape[2:]}", padding)
        result = np.ascontiguousarray(result) if bias is None else result + bias.reshape(-1, *(1,) * axes)
        return narrowed(result if x.ndim == axes + 2 else result[0], x)


class ConvTranspose1d(_TransposedConvolution):
    """Transpose of `Conv1d`, on (N, C, L) or (C, L). Fields and `init` as `ConvTranspose2d`."""

    axes = 1


class ConvTranspose2d(_TransposedConvolution):
    """Transpose of `Conv2d`, on (N, C, H, W) or (C, H, W): every element adds itself times the kernel to the output.

    `padding` cuts that much off every side of the output; `output_padding` adds to the far sides, less than a stride or
    dilation.
    """

    axes = 2


def _convolved(
    x: Array, weight: Array, bias: Array | None, *, stride: tuple[int, ...], dilation: tuple[int, ...], groups: int
) -> Array:
    """Convolve a batch that has its padding; all arrays of one dtype."""
    kernel, hops = weight.shape[2:], x.strides[2:]
    size = [
        (length - gap * (width - 1) - 1) // step + 1
        for length, gap, width, step in zip(x.shape[2:], dilation, kernel, stride, strict=True)
    ]
    under = as_strided(  # the elements under each output, not yet copied
        x,
        shape=(len(x), groups, weight.shape[1], *kernel, *size),
        strides=(
            x.strides[0],
            x.strides[1] * weight.shape[1],
            x.strides[1],
            *(hop * gap for hop, gap in zip(hops, dilation, strict=True)),
            *(hop * step for hop, step in zip(hops, stride, strict=True)),
        ),
        writeable=False,
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


def _columns(under: Array, axes: int) -> Iterator[tuple[slice, slice, Array]]:
    """Yield blocks of images and of outputs with their matrices: one per image and group, a column for each output.

    `under` is (images, groups, channels of a group, *kernel, *size). The next block overwrites the one before.
    """
    (images, groups), depth = under.shape[:2], math.prod(under.shape[2 : 3 + axes])
    if under.flags.c_contiguous:  # one element under each output: the input itself
        yield slice(None), slice(None), under.reshape(images, groups, depth, math.prod(under.shape[3 + axes :]))
        return
    lines, line = under.shape[3 + axes], math.prod(under.shape[4 + axes :])
    lines_at_once = max(1, COLUMN_BYTES // max(1, groups * depth * line * under.itemsize))
    many, few = max(1, min(images, lines_at_once // lines)), min(lines, lines_at_once)
    memory = np.empty(many * groups * depth * few * line, under.dtype)
    for image, first in itertools.product(range(0, images, many), range(0, lines, few)):
        where: Any = (slice(image, image + many), ..., slice(first, first + few), *[slice(None)] * (axes - 1))
        block = under[where]
        columns = memory[: block.size].reshape(block.shape)
        np.copyto(columns, block)
        outputs = slice(first * line, (first + block.shape[-axes]) * line)
        yield where[0], outputs, columns.reshape(len(block), groups, depth, -1)


def _transposed(
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
    matrices = np.moveaxis(weight.reshape(groups, -1, *weight.shape[1:]), (1, 2), (-1, -2))
    for offset in np.ndindex(*kernel):
        product = np.ascontiguousarray(matrices[:, *offset]) @ inputs
        begins = [place * gap for place, gap in zip(offset, dilation, strict=True)]
        where: Any = [slice(b, b + (n - 1) * step + 1, step) for b, n, step in zip(begins, size, stride, strict=True)]
        result[..., *where] += product.reshape(*product.shape[:-1], *size)
    return result.reshape(len(x), groups * weight.shape[1], *full)


def _padded(x: Array, margins: list[tuple[int, int]]) -> Array:
    if not any(itertools.chain(*margins)):
        return x
    lengths = [before + length + behind for length, (before, behind) in zip(x.shape[2:], margins, strict=True)]
    result = np.zeros((*x.shape[:2], *lengths), x.dtype)
    inner: Any = [slice(before, before + length) for length, (before, _) in zip(x.shape[2:], margins, strict=True)]
    result[..., *inner] = x
    return result


def _random(rng: Generator | None, shape: tuple[int, ...], biases: int | None) -> tuple[Array, Array | None]:
    bound = max(1, math.prod(shape[1:])) ** -0.5
    return uniform(rng, shape, bound), None if biases is None else uniform(rng, (biases,), bound)


def _check_padding_mode(layer: _Convolution | _TransposedConvolution) -> None:
    if layer.padding_mode != "zeros":
        remedy = "Pad the input with numpy.pad, and set padding=0."
        raise unfit(type(layer).__name__, "padding_mode `zeros`", f"`{layer.padding_mode}`", remedy)


def _check_groups(name: str, groups: int, *channels: int) -> None:
    if groups < 1 or any(number % groups for number in channels):
        raise unfit(name, f"channels that groups={groups} divides", channels)


def _check_parameters(layer: _Convolution | _TransposedConvolution, outputs: int) -> None:
    name, shape = type(layer).__name__, layer.weight.shape
    if len(shape) != layer.axes + 2:
        raise unfit(name, f"a weight of {layer.axes + 2} axes", shape)
    _check_groups(name, layer.groups, len(layer.weight))
    if layer.bias is not None and layer.bias.shape != (outputs,):
        raise unfit(name, f"a bias of shape ({outputs},)", layer.bias.shape)


def _check_input(name: str, x: Array, axes: int, channels: int) -> None:
    if x.ndim not in {axes + 1, axes + 2} or x.shape[-1 - axes] != channels:
        raise unfit(name, f"an input of shape (N, {channels}, {_SIZES[axes]}) or ({channels}, {_SIZES[axes]})", x.shape)
