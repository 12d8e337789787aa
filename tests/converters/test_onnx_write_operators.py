"""Every operator of a forward graph, written to an ONNX file and run by ONNX's reference evaluator and ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from int8_cases import CASES as INT8_CASES
from onnx_written import REFERENCE_LIMITS, WRITTEN, evaluated, graph_of

from edge_sdk.builder import Builder
from edge_sdk.converters.onnx.write_model import write
from edge_sdk.converters.onnx.writing import WRITERS
from edge_sdk.errors import ExportError, UsageError
from edge_sdk.op import OPERATORS
from edge_sdk.ops.conv import ConvTranspose2D
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.logic import Bitwise
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.ops.resize import Resize
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, QuantParams, Spec
from edge_sdk.workspace import Workspace

TRAINING_ONLY = "part of a training step, which is not exported"
GRADIENT = "built by differentiation only"
# A .tflite file takes the mean of uneven windows in several operators, each of which rounds.
OFTEN_APART = {"adaptive_avg_pool2d_uneven": 0.25}
WITHOUT_WRITER = {
    **dict.fromkeys(
        ("softmax_cross_entropy", "sigmoid_cross_entropy", "mean_squared_error", "l1_loss", "huber_loss"),
        TRAINING_ONLY,
    ),
    **dict.fromkeys(("sgd_update", "adam_update", "rmsprop_update", "global_norm", "clip_by_norm"), TRAINING_ONLY),
    **dict.fromkeys(("linear_sgd_update", "linear_adam_update", "linear_rmsprop_update"), TRAINING_ONLY),
    **dict.fromkeys(("fake_quantize", "symmetric_scale"), TRAINING_ONLY),
    **dict.fromkeys(("grouped_sgd_update", "grouped_adam_update", "grouped_rmsprop_update"), TRAINING_ONLY),
    "grouped_cast": TRAINING_ONLY,
    **dict.fromkeys(
        ("gradient_factor", "loss_scale_update", "accept_updates", "start_mean", "finish_mean"), TRAINING_ONLY
    ),
    **dict.fromkeys(
        ("batch_norm_training", "batch_norm_training_again", "batch_norm_training_gathered"), TRAINING_ONLY
    ),
    **dict.fromkeys(("conv2d_statistics", "depthwise_conv2d_statistics", "normalise_pixels"), TRAINING_ONLY),
    **dict.fromkeys(("sum_like", "broadcast_like", "reshape_like"), GRADIENT),
}
engines = pytest.mark.parametrize("engine", ["reference", "onnxruntime"])
SHIFTS = ("bitwise-shift-left", "bitwise-shift-right")
NEEDS_18 = ("bitwise-and", "bitwise-or")
SAME = 1e-5


def opset_for(case) -> int:
    """The default, but where operators are newer."""
    return 21 if case.name in NEEDS_18 or isinstance(case.op, Dequantize | Quantize) else 17


def assert_close(found, expected, tolerance=SAME) -> None:
    """Shapes, types and numbers, relative to the largest."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    scale = float(np.max(np.abs(expected), initial=0)) or 1.0
    np.testing.assert_allclose(found / scale, expected / scale, atol=tolerance / scale if tolerance == 1 else tolerance)


def skip_limits(name: str, engine: str) -> None:
    """Skip what the reference evaluator is wrong about."""
    if engine == "reference" and name in REFERENCE_LIMITS:
        pytest.skip(f"the reference evaluator {REFERENCE_LIMITS[name]}")


@engines
@pytest.mark.parametrize("case", [case for case in WRITTEN if case.name not in SHIFTS], ids=str)
def test_the_file_computes_what_the_session_does(case, engine):
    """Each row of the operator table, checked by ONNX and evaluated by others than us."""
    skip_limits(case.name, engine)
    graph, workspace, feeds = graph_of(case)
    wanted = Session(graph, workspace, device="reference").run(feeds)

    outputs = evaluated(graph, workspace, feeds, engine=engine, opset=opset_for(case))

    assert len(outputs) == len(wanted)
    for found, expected in zip(outputs, wanted.values(), strict=True):
        # Halves go to the even number in ONNX, away from zero here: one unit apart.
        assert_close(found, expected, 1 if isinstance(case.op, Quantize) else SAME)


@engines
@pytest.mark.parametrize("opset", [13, 21])
@pytest.mark.parametrize("case", [case for case in WRITTEN if case.symbolic_batch], ids=str)
def test_an_open_batch_takes_any_size_in_the_oldest_and_newest_opset(case, opset, engine):
    """A file with an open batch gives each number of examples what a Session of that batch gives."""
    skip_limits(case.name, engine)
    graph, workspace, feeds = graph_of(case, symbolic=True)
    if len(graph.inputs) != 1 or not graph.specs[graph.outputs[0]].symbolic:
        pytest.skip("only operators of one input keep examples apart")
    x = np.concatenate([feeds["x0"], feeds["x0"][:1]])
    wanted = Session(graph, workspace, device="reference", batch=len(x)).run({"x0": x})

    outputs = evaluated(graph, workspace, {"x0": x}, engine=engine, opset=opset)

    for found, expected in zip(outputs, wanted.values(), strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize("case", [case for case in WRITTEN if case.inputs and case.inputs[0].ndim == 4], ids=str)
def test_images_are_taken_channels_first(case):
    """With NCHW inputs the same numbers come out, for every operator on tensors of four axes."""
    if case.name in (*SHIFTS, *NEEDS_18):
        pytest.skip("needs another opset")
    graph, workspace, feeds = graph_of(case)
    wanted = Session(graph, workspace, device="reference").run(feeds)
    turned = {name: np.moveaxis(x, 3, 1) if x.ndim == 4 else x for name, x in feeds.items()}

    outputs = evaluated(graph, workspace, turned, engine="onnxruntime", image_layout="nchw")

    for found, expected in zip(outputs, wanted.values(), strict=True):
        assert_close(found, expected)


@engines
@pytest.mark.parametrize("case", INT8_CASES, ids=str)
def test_an_8_bit_operator_is_within_a_step(case, engine):
    """QDQ form: real numbers between quantizations; rounding of sums and means may differ by one step.

    The evaluator knows QuantizeLinear from opset 19 on.
    """
    skip_limits(case.name, engine)
    graph, workspace, feeds = case.program()
    wanted = Session(graph, workspace, device="reference").run(feeds)

    outputs = evaluated(graph, workspace, feeds, engine=engine, opset=21 if engine == "reference" else 17)

    for found, expected in zip(outputs, wanted.values(), strict=True):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        apart = np.abs(found.astype(np.float64) - expected.astype(np.float64))
        assert apart.max() <= 1 if found.dtype.kind == "i" else apart.max() <= 1e-5 * np.abs(expected).max()
        assert np.mean(apart > 0) <= OFTEN_APART.get(case.name, 0.15)


@pytest.mark.parametrize(("weights", "tolerance"), [("float16", 2e-3), ("int8", 0.05)])
def test_grouped_transposed_convolutions_store_fewer_bits_too(weights, tolerance):
    """Half or a quarter of the bytes, none left in float32, and the results of the float weights, nearly."""
    g, arrays = Builder("groups"), Workspace()
    arrays["w"] = np.random.default_rng(0).standard_normal((32, 3, 3, 16)).astype(np.float32)
    x = g.input("x", Spec((1, 5, 6, 32)))
    graph = g.build(g.add(ConvTranspose2D(groups=2), x, g.param("w", Spec((32, 3, 3, 16))), name="y"))
    feeds = {"x": np.random.default_rng(1).standard_normal((1, 5, 6, 32)).astype(np.float32)}
    (wanted,) = Session(graph, arrays, device="reference").run(feeds).values()

    (found,) = evaluated(graph, arrays, feeds, engine="onnxruntime", weights=weights)

    written = write(graph, arrays, weights=weights)
    assert written.float_weights == ()
    assert written.proto.ByteSize() < arrays["w"].nbytes * {"float16": 0.6, "int8": 0.4}[weights]
    assert 0 < np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operator_is_written_or_exempt_with_a_reason(name):
    """An operator is added with its ONNX form, or with the reason why it has none."""
    op = OPERATORS[name]
    if not op.__module__.startswith("edge_sdk."):
        pytest.skip("declared by another test")

    assert (op in WRITERS) != (name in WITHOUT_WRITER or "grad" in name.split("_"))


@pytest.mark.parametrize("op", sorted(WRITERS, key=lambda op: op.name), ids=lambda op: op.name)
def test_every_writer_is_tested_by_a_row(op):
    """The table has a row for each operator that can be written."""
    assert any(type(case.op) is op for case in WRITTEN)


@pytest.mark.parametrize("case", [case for case in WRITTEN if case.name in SHIFTS], ids=str)
def test_shifts_of_numbers_with_a_sign_are_refused(case):
    """ONNX has none; the message names operator and node."""
    with pytest.raises(ExportError, match=r"bitwise \(node 'y'\) of int8"):
        write(*graph_of(case)[:2])


def test_an_opset_without_an_operator_is_refused():
    """The message names the operator and the first opset that has it."""
    g = Builder("bits")
    spec = Spec((3,), "int32")
    graph = g.build(g.add(Bitwise("and"), g.input("a", spec), g.input("b", spec), name="y"))

    with pytest.raises(ExportError, match=r"'y' needs ONNX's operator BitwiseAnd, which opset 17 does not have.* 18"):
        write(graph, {})


def test_16_bit_activations_need_a_new_opset():
    """With biases of 64 bits, which are written as real numbers; before opset 21 it is refused."""
    g, workspace = Builder("wide"), {}
    x = g.input("x", Spec((2, 3), "int16", QuantParams((0.5,), (0,))))
    weight = g.param("w", Spec((1, 3), "int8", QuantParams((0.25,), (0,))))
    bias = g.param("b", Spec((1,), "int64", QuantParams((0.125,), (0,))))
    workspace["w"], workspace["b"] = np.array([[1, 2, 4]], np.int8), np.array([8], np.int64)
    (y,) = g.append(Linear(), (x, weight, bias), [Spec((2, 1), "int16", QuantParams((0.5,), (0,)))], name="y")
    graph = g.build(y)

    (found,) = evaluated(graph, workspace, {"x": np.array([[2, 4, 6], [0, 0, 8]], np.int16)}, opset=21)

    # (2 + 8 + 24) / 8 + 1 = 5.25 and 32 / 8 + 1 = 5, in halves; 10.5 goes to the even 10
    np.testing.assert_array_equal(found, np.array([[10], [10]], np.int16))
    with pytest.raises(ExportError, match="16 bits need opset 21 or later, got 17"):
        write(graph, workspace)


@pytest.mark.parametrize("opset", [12, 22])
def test_other_opsets_are_refused(opset):
    """Only those that are tested are written."""
    g = Builder("resize")
    graph = g.build(g.add(Resize((4, 4)), g.input("x", Spec((BATCH, 2, 2, 3)))))

    with pytest.raises(UsageError, match="opsets 13 to 21"):
        write(graph, {}, opset=opset)
