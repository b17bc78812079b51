"""Layers for convolution and its transpose, over one or two spatial axes."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from wheelweights.nn._arrays import Array, narrowed, per_axis, unfit, widened
from wheelweights.nn._convolution import convolved, padded, transposed
from wheelweights.nn._layer import Layer, of_shape, with_axes
from wheelweights.nn._starts import uniform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

    from wheelweights.nn._layer import Fault, Shapes

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
        full = padded(wide if x.ndim == axes + 2 else wide[None], self._margins(stride, dilation))
        reach = tuple(gap * (width - 1) + 1 for gap, width in zip(dilation, weight.shape[2:], strict=True))
        if any(length < far for length, far in zip(full.shape[2:], reach, strict=True)):
            raise unfit(name, f"a size of at least {reach}, padding included", full.shape[2:])
        result = convolved(full, weight, bias, stride=stride, dilation=dilation, groups=self.groups)
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
        full = transposed(batch, weight, stride=stride, dilation=dilation, extra=extra, groups=self.groups)
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
