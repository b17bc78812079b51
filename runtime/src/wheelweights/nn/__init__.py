"""Layers and functions for a forward pass in numpy, with torch's names and torch's results in evaluation mode.

A layer is a plain dataclass. Its array fields carry torch's parameter names, so that the keys of a `state_dict` are the
field paths of a model made of such layers; its settings carry the names and defaults of torch's constructor. There are
three ways to make one,

    conv = nn.Conv2d(weight, bias, stride=2)             # from arrays
    conv = nn.Conv2d.init(3, 8, 3, stride=2, rng=rng)    # random, as torch starts it; torch's constructor arguments
    net = ww.bind(Net.init, record)                      # the settings of `Net.init()`, the arrays of a record

and one way to use it, `y = conv(x)`. The last one makes no random numbers: `Net.init` is called inside `skeleton()`,
where layers start with placeholders for their arrays.

`bind` asks a dataclass whether the shapes of its arrays fit each other, if it has the class method
`__check_shapes__(shapes)`, as every layer here has: see the README.

Layers:
    Linear, Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Embedding, BatchNorm (also as BatchNorm1d, BatchNorm2d),
    LayerNorm, GroupNorm, RMSNorm, LSTM, GRU, MultiheadAttention
Functions:
    relu, leaky_relu, elu, gelu, silu, sigmoid, hardsigmoid, hardswish, tanh, softplus, softmax, log_softmax,
    max_pool1d, max_pool2d, avg_pool1d, avg_pool2d, adaptive_avg_pool1d, adaptive_avg_pool2d, linear,
    scaled_dot_product_attention

Whatever follows from the arrays (sizes, channels, the layers and directions of an LSTM) is not a field. Two settings do
not follow from them, and must be given before a call: `num_heads` of MultiheadAttention and `num_groups` of GroupNorm.
LSTM and GRU keep their parameters, whose number varies, in one dict under torch's names (`weight_ih_l0`, ...), and bind
from keys such as `lstm.weight_ih_l0`.

Shapes are torch's, a missing batch axis included. A result has the float dtype of the input, whatever that of the
parameters, and is computed in at least float32. Inputs and parameters are never written to, so the read-only views of a
record can be used directly; parameters are converted at every call if the computation has another dtype.

Not included: training (gradients, dropout, updates of running statistics), padding modes other than zeros, packed
sequences, the `output_size` of a transposed convolution. A wrong shape or setting raises `LayerError`.
"""

from wheelweights.nn._arrays import Array, LayerError
from wheelweights.nn._attention import MultiheadAttention, scaled_dot_product_attention
from wheelweights.nn._conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from wheelweights.nn._embedding import Embedding
from wheelweights.nn._functional import (
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    log_softmax,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from wheelweights.nn._linear import Linear, linear
from wheelweights.nn._norm import BatchNorm, BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm, RMSNorm
from wheelweights.nn._pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    avg_pool1d,
    avg_pool2d,
    max_pool1d,
    max_pool2d,
)
from wheelweights.nn._recurrent import GRU, LSTM
from wheelweights.skeleton import skeleton

__all__ = [
    "GRU",
    "LSTM",
    "Array",
    "BatchNorm",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Embedding",
    "GroupNorm",
    "LayerError",
    "LayerNorm",
    "Linear",
    "MultiheadAttention",
    "RMSNorm",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "elu",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool1d",
    "max_pool2d",
    "relu",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "skeleton",
    "softmax",
    "softplus",
    "tanh",
]
