"""Blocks that several families are made of: normalised convolutions and inverted residuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_sdk.nn import Network
from edge_sdk.spec import Value

DIVISOR = 8


def scaled_channels(channels: float, width: float = 1.0) -> int:
    """Channels · width as a multiple of 8, and not more than a tenth below it (Howard et al. 2017, their code)."""
    wanted = channels * width
    nearest = max(DIVISOR, int(wanted + DIVISOR / 2) // DIVISOR * DIVISOR)
    return nearest if nearest >= 0.9 * wanted else nearest + DIVISOR


def ends_of_stages(strides: Sequence[int]) -> frozenset[int]:
    """Return after which blocks a feature map is the last of its size, from stride 4 on; the stem's stride is 2."""
    ends, reduction = set(), 2
    for index, stride in enumerate(strides):
        reduction *= stride
        if reduction >= 4 and (index + 1 == len(strides) or strides[index + 1] == 2):
            ends.add(index)
    return frozenset(ends)


@dataclass(frozen=True)
class NormalisedLayers:
    """Convolutions without bias, each with a batch norm `<name>.norm` behind `<name>.conv`, and an activation.

    `padding` "even" is half the kernel on every side, as in PyTorch; "same" is TensorFlow's rule.
    """

    net: Network
    activation: str = "relu"
    epsilon: float = 1e-5
    padding: Literal["even", "same"] = "even"

    def conv(
        self, x: Value, channels: int, kernel: int, name: str, stride: int = 1, groups: int = 1, *, active: bool = True
    ) -> Value:
        """A convolution, batch norm and activation."""
        y = self.net.conv(x, channels, kernel, f"{name}.conv", stride, self._padding(kernel), groups)
        return self._finished(y, name, active=active)

    def depthwise(self, x: Value, kernel: int, name: str, stride: int = 1, *, active: bool = True) -> Value:
        """A convolution of each channel by itself, batch norm and activation."""
        y = self.net.depthwise(x, kernel, f"{name}.conv", stride, self._padding(kernel))
        return self._finished(y, name, active=active)

    def inverted_residual(
        self, x: Value, name: str, kernel: int, stride: int, hidden: int, channels: int, squeezed: int = 0
    ) -> Value:
        """Widen to `hidden` channels, filter each of them, narrow to `channels` (Sandler et al. 2018).

        With `squeezed` channels, squeeze-and-excitation comes before the narrowing (Howard et al. 2019).
        """
        inputs = self.net.builder.spec(x).shape[3]
        y = x if hidden == inputs else self.conv(x, hidden, 1, f"{name}.expand")
        y = self.depthwise(y, kernel, f"{name}.depthwise", stride)
        y = self.net.squeeze_and_excite(y, squeezed, name) if squeezed else y
        y = self.conv(y, channels, 1, f"{name}.project", active=False)
        return self.net.add(y, x, f"{name}.add") if stride == 1 and inputs == channels else y

    def _padding(self, kernel: int) -> int | Literal["same"]:
        return kernel // 2 if self.padding == "even" else "same"

    def _finished(self, y: Value, name: str, *, active: bool) -> Value:
        y = self.net.batch_norm(y, f"{name}.norm", self.epsilon)
        return self.net.activation(y, self.activation) if active else y
