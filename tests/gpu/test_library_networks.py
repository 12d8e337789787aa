"""Every convolution of large networks as cuDNN sees it: sizes of results, and graphs of it and of both gradients."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from gpu.real_libraries import cudnn_functions

from edge_sdk.kernels.gpu.cudnn import Cudnn, CudnnError
from edge_sdk.kernels.gpu.cudnn_graph import TYPES, Convolution, convolution, graph_of
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.geometry import resolve_padding
from edge_sdk.pretrained.architectures import ZOO
from edge_sdk.spec import Spec

pytestmark = pytest.mark.nvidia_libraries

BATCH = 32
NHWC, CROSS_CORRELATION, FLOAT = 1, 1, 0  # of cudnn_ops.h and cudnn_cnn.h
COUNTS = {"resnet50": 53, "mobilenetv2": 35, "vgg16": 13}
"""Convolutions that are not depthwise, by the networks' papers."""


def convolutions(network: str) -> Iterator[tuple[Conv2D, Spec, Spec, Spec]]:
    """The convolutions of a network with their images, weights and results."""
    graph = ZOO[network].build(1000, (224, 224), 0)[0].bind(BATCH)
    for node in graph.nodes:
        if isinstance(node.op, Conv2D):
            yield node.op, *(graph.specs[value] for value in (*node.inputs[:2], node.output))


@pytest.mark.parametrize("network", COUNTS)
def test_results_have_the_sizes_that_cudnn_works_out(network: str) -> None:
    """What cuDNN's older interface says of a convolution's result is what our operators infer."""
    functions, found = cudnn_functions(), list(convolutions(network))

    sizes = [output_size(functions, op, x.shape, w.shape) for op, x, w, _ in found]

    assert sizes == [y.shape for *_, y in found]
    assert len(found) == COUNTS[network]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("network", COUNTS)
def test_cudnn_takes_every_convolution_and_its_gradients(network: str, dtype: str) -> None:
    """The graph of each is accepted; with a result of one more row it is not."""
    library = Cudnn(cudnn_functions(), None)

    for wanted in {each for found in convolutions(network) for each in every_way(dtype, *found)}:
        assert graph_of(library, wanted).pointer
        n, p, q, k = wanted.result
        with pytest.raises(CudnnError):
            graph_of(library, replace(wanted, result=(n, p + 1, q, k)))
        assert wanted.before == wanted.after  # which is what most engines want


def every_way(dtype: str, op: Conv2D, x: Spec, w: Spec, y: Spec) -> list[Convolution]:
    """A convolution, the same with all that may follow it, and its gradients."""
    forward = convolution(op, "result", dtype, x.shape, w.shape, y.shape)
    whole = replace(forward, biased=True, added=True, activation="relu6")
    return [forward, whole, replace(forward, sought="image"), replace(forward, sought="weights")]


def output_size(functions: Any, op: Conv2D, x: tuple[int, ...], w: tuple[int, ...]) -> tuple[int, ...]:
    """The shape (n, p, q, k) of a result by cudnnGetConvolution2dForwardOutputDim."""
    image, weights, described = (ctypes.c_void_p() for _ in range(3))

    def done(status: int) -> None:
        assert status == 0

    done(functions.cudnnCreateTensorDescriptor(ctypes.byref(image)))
    done(functions.cudnnCreateFilterDescriptor(ctypes.byref(weights)))
    done(functions.cudnnCreateConvolutionDescriptor(ctypes.byref(described)))
    (top, bottom), (left, right) = resolve_padding(op.padding, x[1:3], w[1:3], op.stride, op.dilation)
    assert (top, left) == (bottom, right)
    done(functions.cudnnSetTensor4dDescriptor(image, NHWC, FLOAT, x[0], x[3], x[1], x[2]))
    done(functions.cudnnSetFilter4dDescriptor(weights, FLOAT, NHWC, w[0], w[3], w[1], w[2]))
    geometry = (top, left, *op.stride, *op.dilation, CROSS_CORRELATION, FLOAT)
    done(functions.cudnnSetConvolution2dDescriptor(described, *geometry))
    done(functions.cudnnSetConvolutionGroupCount(described, op.groups))
    n, c, h, wide = (ctypes.c_int() for _ in range(4))
    places = (ctypes.byref(one) for one in (n, c, h, wide))
    done(functions.cudnnGetConvolution2dForwardOutputDim(described, image, weights, *places))
    done(functions.cudnnDestroyConvolutionDescriptor(described))
    done(functions.cudnnDestroyFilterDescriptor(weights))
    done(functions.cudnnDestroyTensorDescriptor(image))
    return n.value, h.value, wide.value, c.value
