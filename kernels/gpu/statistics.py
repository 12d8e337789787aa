"""Convolutions that also gather the statistics of what they make, for the batch norm that follows."""

from __future__ import annotations

from edge_sdk.kernel import Call, kernel
from edge_sdk.kernels.gpu import conv, depthwise_conv
from edge_sdk.kernels.gpu.launch import sequence
from edge_sdk.kernels.gpu.moments import gather, gathering_scratch
from edge_sdk.ops.statistics import Conv2DStatistics, DepthwiseConv2DStatistics
from edge_sdk.spec import Array, Spec

Statistics = Conv2DStatistics | DepthwiseConv2DStatistics


def statistics_scratch(op: Statistics, x: Spec, w: Spec, *rest: Spec) -> tuple[Spec, ...]:
    """Return the scratch in which `gather` merges pieces of parts."""
    return (gathering_scratch(op.infer_outputs((x, w, *rest))[0]),)


@kernel(Conv2DStatistics, "gpu", scratch=statistics_scratch, binds=True)
def conv2d_statistics(
    op: Conv2DStatistics, out: tuple[Array, Array], x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...],
) -> Call:  # fmt: skip
    return sequence([conv.forward(op.convolution, out[0], x, w, b, None), gather(out[1], out[0], scratch[0])])


@kernel(DepthwiseConv2DStatistics, "gpu", scratch=statistics_scratch, binds=True)
def depthwise_conv2d_statistics(
    op: DepthwiseConv2DStatistics, out: tuple[Array, Array], x: Array, w: Array, b: Array | None = None, *,
    scratch: tuple[Array, ...],
) -> Call:  # fmt: skip
    return sequence([depthwise_conv.forward(op.convolution, out[0], x, w, b), gather(out[1], out[0], scratch[0])])
