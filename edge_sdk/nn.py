"""Layers: a thin hand on the Builder that declares a layer's parameters and their initial arrays with its nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_sdk import initializers
from edge_sdk.builder import Builder
from edge_sdk.errors import ShapeError, UsageError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.model import INPUT, OUTPUT
from edge_sdk.op import Op
from edge_sdk.ops.activation import HardSigmoid, HardSwish, LeakyRelu, Relu, Relu6, Sigmoid, Silu, Tanh
from edge_sdk.ops.conv import Conv2D, DepthwiseConv2D
from edge_sdk.ops.elementwise import Add, Mul
from edge_sdk.ops.geometry import Padding, Pair
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.norm import BatchNorm, LocalResponseNorm
from edge_sdk.ops.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool, MaxPool2D
from edge_sdk.ops.random import Dropout
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.ops.shape import Concat, Flatten, Split
from edge_sdk.spec import BATCH, Array, Spec, Value
from edge_sdk.workspace import Workspace

ACTIVATIONS: dict[str, Op] = {
    "relu": Relu(),
    "relu6": Relu6(),
    "leaky_relu": LeakyRelu(),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "hard_sigmoid": HardSigmoid(),
    "hard_swish": HardSwish(),
    "silu": Silu(),
}

Layer = Callable[[Value], Value]


class Network:
    """A graph in the making with its weights. Layers take a value and a name, and return a value.

    Parameters are called `<name>.weight`, `.bias`, `.scale`, `.offset`, `.mean` and `.variance`. `stages` are the
    feature maps at which a backbone is cut, of strides 4, 8, 16, …
    """

    def __init__(self, name: str, image: tuple[int, int, int], seed: int = 0) -> None:
        self.builder = Builder(name)
        self.workspace = Workspace()
        self.seed = seed
        self.stages: list[Value] = []
        self.image = self.builder.input(INPUT, Spec((BATCH, *image)))

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: int,
        name: str,
        stride: int = 1,
        padding: Padding | int = "same",
        groups: int = 1,
        dilation: int = 1,
        *,
        bias: bool = False,
    ) -> Value:
        """A convolution with He-normal weights; `padding` as a number is that many pixels on every side."""
        inputs = self._channels(x)
        if groups < 1 or inputs % groups or channels % groups:
            raise ShapeError(f"conv {name!r}: {groups} groups do not divide {inputs} inputs and {channels} outputs")
        shape = (channels, kernel, kernel, inputs // groups)
        fan_out = kernel * kernel * channels // groups
        weight = self._param(f"{name}.weight", lambda r: initializers.he_normal(r, shape, fan_out), shape)
        op = Conv2D((stride, stride), _sides(padding), (dilation, dilation), groups)
        return self.builder.add(op, x, weight, *self._bias(name, channels, wanted=bias), name=name)

    def depthwise(
        self, x: Value, kernel: int, name: str, stride: int = 1, padding: Padding | int = "same", *, bias: bool = False
    ) -> Value:
        """A convolution of each channel by itself, with He-normal weights."""
        channels = self._channels(x)
        shape = (1, kernel, kernel, channels)
        weight = self._param(f"{name}.weight", lambda r: initializers.he_normal(r, shape, kernel * kernel), shape)
        op = DepthwiseConv2D((stride, stride), _sides(padding))
        return self.builder.add(op, x, weight, *self._bias(name, channels, wanted=bias), name=name)

    def linear(self, x: Value, outputs: int, name: str) -> Value:
        """A dense layer with Xavier-uniform weights and a bias of zeros."""
        inputs = self._channels(x)
        shape = (outputs, inputs)
        weight = self._param(f"{name}.weight", lambda r: initializers.xavier_uniform(r, shape, inputs, outputs), shape)
        return self.builder.add(Linear(), x, weight, *self._bias(name, outputs, wanted=True), name=name)

    def batch_norm(self, x: Value, name: str, epsilon: float = 1e-5) -> Value:
        """Batch normalization in its inference form; `to_training` changes it."""
        channels = self._channels(x)
        initial = {"scale": 1.0, "offset": 0.0, "mean": 0.0, "variance": 1.0}
        params = [
            self._param(f"{name}.{part}", lambda _, v=value: initializers.constant((channels,), v), (channels,))
            for part, value in initial.items()
        ]
        return self.builder.add(BatchNorm(epsilon), x, *params, name=name)

    def activation(self, x: Value, kind: str, name: str = "") -> Value:
        """An activation function by name; raises UsageError with a suggestion for an unknown one."""
        if kind not in ACTIVATIONS:
            raise UsageError(
                f"activation {kind!r} is not one of {', '.join(ACTIVATIONS)}{suggestion(kind, ACTIVATIONS)}"
            )
        return self.builder.add(ACTIVATIONS[kind], x, name=name or kind)

    def add(self, a: Value, b: Value, name: str = "add") -> Value:
        """The sum of two values of one shape."""
        return self.builder.add(Add(), a, b, name=name)

    def residual(self, x: Value, body: Layer, shortcut: Layer | None = None, activation: str | None = None) -> Value:
        """body(x) + shortcut(x), the shortcut x itself when left out, then an activation (He et al. 2016)."""
        y = self.add(body(x), x if shortcut is None else shortcut(x))
        return y if activation is None else self.activation(y, activation)

    def sequential(self, x: Value, layers: Sequence[Layer]) -> Value:
        """The layers one after the other."""
        for layer in layers:
            x = layer(x)
        return x

    def stage(self, x: Value) -> Value:
        """Say that x is the last feature map of its size, and return it."""
        self.stages.append(x)
        return x

    def squeeze_and_excite(self, x: Value, channels: int, name: str, gate: str = "hard_sigmoid") -> Value:
        """Each channel of x times a gate that two dense layers, the first of `channels` outputs, make of all means.

        (Hu et al. 2018.) The layers are 1×1 convolutions called `<name>.squeeze` and `<name>.excite`.
        """
        y = self.builder.add(ReduceMean((1, 2), keep_dims=True), x, name=f"{name}.mean")
        y = self.activation(self.conv(y, channels, 1, f"{name}.squeeze", bias=True), "relu")
        y = self.activation(self.conv(y, self._channels(x), 1, f"{name}.excite", bias=True), gate)
        return self.builder.add(Mul(), x, y, name=f"{name}.scaled")

    def concat(self, values: Sequence[Value]) -> Value:
        """The channels of several values, one after the other."""
        return self.builder.add(Concat(len(self.builder.spec(values[0]).shape) - 1), *values)

    def halves(self, x: Value) -> tuple[Value, Value]:
        """The first and the second half of the channels."""
        half = self._channels(x) // 2
        first, second = self.builder.add_multi(Split(len(self.builder.spec(x).shape) - 1, (half, half)), x)
        return first, second

    def local_response_norm(self, x: Value, size: int = 5, alpha: float = 1e-4, beta: float = 0.75) -> Value:
        """Each channel divided by a power of the squares of its neighbours (Krizhevsky et al. 2012)."""
        return self.builder.add(LocalResponseNorm(size, alpha, beta), x)

    def average_pool(self, x: Value, kernel: int, stride: int, padding: Padding | int = "valid") -> Value:
        """The mean of each window."""
        return self.builder.add(AvgPool2D((kernel, kernel), (stride, stride), _sides(padding)), x)

    def max_pool(
        self, x: Value, kernel: int, stride: int, padding: Padding | int = "valid", *, ceil: bool = False
    ) -> Value:
        """The largest value of each window."""
        return self.builder.add(MaxPool2D((kernel, kernel), (stride, stride), _sides(padding), ceil), x)

    def adaptive_average_pool(self, x: Value, size: Pair) -> Value:
        """The mean over a grid of windows."""
        return self.builder.add(AdaptiveAvgPool2D(size), x)

    def global_average_pool(self, x: Value) -> Value:
        """The mean over all pixels, (n, c)."""
        return self.builder.add(GlobalAvgPool(), x)

    def flatten(self, x: Value) -> Value:
        """(n, …) as (n, rest)."""
        return self.builder.add(Flatten(), x)

    def dropout(self, x: Value, rate: float) -> Value:
        """Dropout, the identity until `to_training`."""
        return self.builder.add(Dropout(rate), x)

    def head(self, x: Value, classes: int) -> tuple[Graph, Workspace]:
        """Finish with the classifier: a dense layer called `head` whose output is `logits` (n, classes)."""
        inputs = self._channels(x)
        shape = (classes, inputs)
        weight = self._param("head.weight", lambda r: initializers.truncated_normal(r, shape, 0.01), shape)
        logits = self.builder.add(Linear(), x, weight, *self._bias("head", classes, wanted=True), name=OUTPUT)
        return self.builder.build(logits), self.workspace

    def convolutional_head(self, x: Value, classes: int) -> tuple[Graph, Workspace]:
        """Finish with a 1×1 convolution called `head`, relu and the mean over all pixels, which is `logits`.

        (Lin et al. 2014, "Network in network".)
        """
        shape = (classes, 1, 1, self._channels(x))
        weight = self._param("head.weight", lambda r: initializers.truncated_normal(r, shape, 0.01), shape)
        y = self.builder.add(Conv2D(), x, weight, *self._bias("head", classes, wanted=True), name="head")
        logits = self.builder.add(GlobalAvgPool(), self.activation(y, "relu"), name=OUTPUT)
        return self.builder.build(logits), self.workspace

    def _bias(self, name: str, channels: int, *, wanted: bool) -> tuple[Value, ...]:
        if not wanted:
            return ()
        return (self._param(f"{name}.bias", lambda _: initializers.constant((channels,), 0), (channels,)),)

    def _param(self, name: str, initial: Callable[..., Array], shape: tuple[int, ...]) -> Value:
        value = self.builder.param(name, Spec(shape))
        self.workspace.draw_later(name, lambda: initial(initializers.generator(self.seed, name)))
        return value

    def _channels(self, x: Value) -> int:
        return self.builder.spec(x).shape[-1]


def _sides(padding: Padding | int) -> Padding:
    return ((padding, padding), (padding, padding)) if isinstance(padding, int) else padding
