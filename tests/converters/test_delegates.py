"""What delegates would take of a file; XNNPACK is asked, the others' rules are held against their documents."""

from __future__ import annotations

import json

import numpy as np
import pytest
from int8_cases import CASES
from lowered_cases import LOWERED, graph_of
from tiny_models import tiny_model
from xnnpack import taken_by_xnnpack

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.builder import Builder
from edge_sdk.converters.tflite.delegate_tables import CORE_ML, EDGE_TPU, GPU, NNAPI, XNNPACK
from edge_sdk.converters.tflite.delegates import Readiness, readiness
from edge_sdk.converters.tflite.exportable import dry_file
from edge_sdk.converters.tflite.writer import write
from edge_sdk.errors import FormatError
from edge_sdk.ops.activation import HardSwish, LogSoftmax, Relu, Softmax
from edge_sdk.ops.conv import Conv2D, ConvTranspose2D, DepthwiseConv2D
from edge_sdk.ops.linear import Linear, MatMul
from edge_sdk.ops.pool import GlobalAvgPool
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.ops.shape import Concat, Pad
from edge_sdk.spec import QuantParams, Spec
from edge_sdk.workspace import Workspace


def _places_taken(found: Readiness) -> set[int]:
    return set(range(found.operators)) - {left.index for left in found.left_out}


@pytest.mark.parametrize("case", LOWERED, ids=str)
def test_xnnpack_takes_the_operators_that_are_predicted(case):
    """Every row of the operator table: the same operators as the interpreter gave to the delegate."""
    graph, workspace, _ = graph_of(case)
    data = write(graph, workspace).data

    (found,) = readiness(data, [XNNPACK])

    assert _places_taken(found) == taken_by_xnnpack(data)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_xnnpack_takes_the_quantized_operators_that_are_predicted(case):
    """Every row of the table of 8-bit operators."""
    graph, workspace, _ = case.program()
    data = write(graph, workspace).data

    (found,) = readiness(data, [XNNPACK])

    assert _places_taken(found) == taken_by_xnnpack(data)


@pytest.mark.parametrize("precision", ["none", "fp16", "dynamic", "int8"])
@pytest.mark.parametrize(
    ("name", "side"), [("mobilenetv2", 32), ("mobilenet_v3_small", 32), ("resnet18", 32), ("alexnet_caffe", 96)]
)
def test_xnnpack_takes_the_parts_of_networks_that_are_predicted(name, side, precision):
    """Whole networks in each precision, operator by operator."""
    model = pretrained.load(name, weights=None, num_classes=5, image_size=side)
    data = dry_file(model, precision).data

    (found,) = readiness(data, [XNNPACK])

    assert _places_taken(found) == taken_by_xnnpack(data)
    assert found.taken > 0


def test_shares_and_multiply_adds_are_those_counted_by_hand(tmp_path):
    """A dense layer, a convolution, a depthwise and a transposed one, and a product of matrices; a log softmax is not
    taken.
    """
    g, arrays = Builder("counted"), Workspace()

    def weight(name: str, *shape: int):
        arrays[name] = np.ones(shape, np.float32)
        return g.param(name, Spec(shape))

    x = g.input("x", Spec((1, 6, 6, 4)))
    y = g.add(Conv2D(padding="same"), x, weight("conv", 8, 3, 3, 4), weight("bias", 8))
    y = g.add(DepthwiseConv2D(padding="same"), y, weight("depthwise", 1, 3, 3, 8), weight("bias2", 8))
    y = g.add(ConvTranspose2D((2, 2)), y, weight("transposed", 3, 2, 2, 8), weight("bias3", 3))
    y = g.add(GlobalAvgPool(), y)
    y = g.add(Linear(), y, weight("dense", 5, 3), weight("bias4", 5))
    y = g.add(MatMul(), y, weight("matrix", 5, 7))
    graph = g.build(g.add(LogSoftmax(), y, name="y"))
    by_hand = 36 * 8 * 9 * 4 + 36 * 8 * 9 + 36 * 8 * 3 * 4 + 3 * 5 + 5 * 7

    xnnpack, gpu = readiness(write(graph, arrays).data, [XNNPACK, GPU])

    assert xnnpack.multiply_adds == xnnpack.taken_multiply_adds == by_hand
    assert [left.operator for left in gpu.left_out] == ["LOG_SOFTMAX"]
    assert gpu.left_out[0].output == "y"
    assert (gpu.operators, gpu.taken, gpu.parts) == (7, 6, 1)
    assert json.loads(json.dumps(gpu.to_dict()))["share_of_operators"] == 6 / 7


def _one(op, shape: tuple[int, ...], *weights: tuple[int, ...], precision: str = "float32") -> bytes:
    g, arrays = Builder("one"), Workspace()
    inputs = [g.input("x", Spec(shape))]
    for index, size in enumerate(weights):
        arrays[f"w{index}"] = np.ones(size, np.float32)
        inputs.append(g.param(f"w{index}", Spec(size)))
    return write(g.build(g.add(op, *inputs, name="y")), arrays, precision).data


@pytest.mark.parametrize(
    ("delegate", "data", "reason"),
    [
        (CORE_ML, _one(Softmax(), (1, 5)), None),
        (CORE_ML, _one(ReduceMean((1, 2), keep_dims=True), (1, 4, 4, 2)), None),
        (CORE_ML, _one(GlobalAvgPool(), (1, 4, 4, 2)), "drops the axes"),
        (CORE_ML, _one(ReduceMean((3,), keep_dims=True), (1, 4, 4, 2)), "rows and columns"),
        (CORE_ML, _one(Pad(((0, 0), (1, 1), (1, 1), (0, 0))), (1, 4, 4, 2)), None),
        (CORE_ML, _one(Pad(((0, 0), (0, 0), (0, 0), (0, 1))), (1, 4, 4, 2)), "the batch or the channels"),
        (CORE_ML, _one(Linear(), (2, 8), (4, 8)), "2 vectors"),
        (CORE_ML, _one(Linear(), (1, 512), (8, 512), precision="int8"), "up to 6 is known"),
        (NNAPI, _one(Linear(), (1, 512), (8, 512), precision="int8"), "version 9, up to 5"),
        (NNAPI, _one(LogSoftmax(), (1, 5)), None),
        (GPU, _one(Linear(), (1, 512), (8, 512), precision="int8"), None),
        (EDGE_TPU, _one(Relu(), (1, 5)), "computes no float32"),
    ],
)
def test_rules_are_those_of_the_documents(delegate, data, reason):
    """By hand from the sources that each delegate names."""
    (found,) = readiness(data, [delegate])

    reasons = [left.reason for left in found.left_out]
    assert [reason in text for text in reasons] == ([] if reason is None else [True])


def test_joined_batches_are_not_for_core_ml():
    """Only channels can be joined there."""
    g = Builder("joined")
    a, b = (g.input(name, Spec((1, 2, 2, 3))) for name in "ab")
    rows, channels = (write(g.build(g.add(Concat(axis), a, b)), Workspace()).data for axis in (1, 3))

    assert readiness(channels, [CORE_ML])[0].taken == 1
    assert "along axis 1" in readiness(rows, [CORE_ML])[0].left_out[0].reason


def test_the_edge_tpu_stops_at_the_first_operator_that_it_lacks():
    """What its compiler does: everything behind stays on the processor, and the reason says behind what."""
    g, spec = Builder("stopped"), Spec((1, 8), "int8", QuantParams((0.05,), (0,)))
    value = g.input("x", spec)
    for name, op in (("first", Relu()), ("second", HardSwish()), ("third", Relu())):
        (value,) = g.append(op, [value], [spec], name=name)

    (found,) = readiness(write(g.build(value), Workspace()).data, [EDGE_TPU])

    assert [(left.output, left.reason) for left in found.left_out] == [
        ("second", "it is not among the operators of the delegate"),
        ("third", "it comes after HARD_SWISH, which is not taken"),
    ]


def test_float16_weights_belong_to_what_reads_them(tmp_path):
    """Their DEQUANTIZE is taken with the layer, or left out with it."""
    path = tmp_path / "half.tflite"
    edge.export(tiny_model(), path, quantize="fp16")

    xnnpack, core_ml = readiness(path, [XNNPACK, CORE_ML])

    assert xnnpack.left_out == ()
    assert [left.operator for left in core_ml.left_out] == ["MEAN"]


def test_a_damaged_file_is_refused(tmp_path):
    """As everywhere, with the name of the file."""
    (tmp_path / "bad.tflite").write_bytes(b"\0\0\0\0TFL3 and no more")

    for path in (tmp_path / "bad.tflite", tmp_path / "missing.tflite"):
        with pytest.raises(FormatError, match=path.name):
            readiness(path)
