"""Every operator of a forward graph, written to a .tflite file and run in the mobile runtime."""

from __future__ import annotations

import numpy as np
import pytest
from lowered_cases import LOWERED, graph_of

from edge_sdk.converters.tflite.lowering import LOWERINGS
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.op import OPERATORS
from edge_sdk.ops.quantization import Quantize
from edge_sdk.session import Session

TRAINING_ONLY = "part of a training step, which is not exported"
GRADIENT = "built by differentiation only"
FOREIGN = "read from ONNX files, which compute shapes and masks with it; a network that needs it is not exported"

WITHOUT_LOWERING = {
    **dict.fromkeys(("apply", "power", "remainder", "compare", "bitwise", "where"), FOREIGN),
    **dict.fromkeys(
        ("softmax_cross_entropy", "sigmoid_cross_entropy", "mean_squared_error", "l1_loss", "huber_loss"),
        TRAINING_ONLY,
    ),
    **dict.fromkeys(("sgd_update", "adam_update", "rmsprop_update", "global_norm", "clip_by_norm"), TRAINING_ONLY),
    **dict.fromkeys(("linear_sgd_update", "linear_adam_update", "linear_rmsprop_update"), TRAINING_ONLY),
    **dict.fromkeys(("grouped_sgd_update", "grouped_adam_update", "grouped_rmsprop_update"), TRAINING_ONLY),
    "grouped_cast": TRAINING_ONLY,
    **dict.fromkeys(
        ("gradient_factor", "loss_scale_update", "accept_updates", "start_mean", "finish_mean"), TRAINING_ONLY
    ),
    **dict.fromkeys(
        ("batch_norm_training", "batch_norm_training_again", "batch_norm_training_gathered"), TRAINING_ONLY
    ),
    **dict.fromkeys(("conv2d_statistics", "depthwise_conv2d_statistics", "normalise_pixels"), TRAINING_ONLY),
    **dict.fromkeys(("fake_quantize", "symmetric_scale"), TRAINING_ONLY),
    **dict.fromkeys(("sum_like", "broadcast_like", "reshape_like"), GRADIENT),
}


@pytest.mark.parametrize("case", LOWERED, ids=str)
def test_the_file_computes_what_the_session_does(case):
    """Each row of the operator table, in the runtime."""
    graph, workspace, feeds = graph_of(case)
    wanted = Session(graph, workspace, device="reference").run(feeds)

    outputs = TFLiteModel(write(graph, workspace).data).invoke(feeds)

    assert len(outputs) == len(wanted)
    for found, expected in zip(outputs.values(), wanted.values(), strict=True):
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        scale = float(np.max(np.abs(expected), initial=0)) or 1.0
        # XNNPACK rounds halves to even, the builtin kernels and the reference away from zero: one unit apart.
        tolerance = 1 / scale if isinstance(case.op, Quantize) else 1e-5
        np.testing.assert_allclose(found / scale, expected / scale, atol=tolerance)


@pytest.mark.parametrize("case", [case for case in LOWERED if case.symbolic_batch], ids=str)
def test_an_open_batch_takes_any_size(case):
    """A file written with an open batch gives every example what a fixed one gives it."""
    graph, workspace, feeds = graph_of(case, symbolic=True)
    if len(graph.inputs) != 1 or not graph.specs[graph.outputs[0]].symbolic:
        pytest.skip("only operators of one input keep examples apart")
    x = np.concatenate([feeds["x0"], feeds["x0"][:1]])
    wanted = Session(graph, workspace, device="reference", batch=len(x)).run({"x0": x})
    file = TFLiteModel(write(graph, workspace).data)

    outputs = [file.invoke({"x0": part}) for part in (x, x[:1], x)]

    for name, expected in zip(outputs[0], wanted.values(), strict=True):
        scale = float(np.max(np.abs(expected), initial=0)) or 1.0
        np.testing.assert_allclose(outputs[0][name] / scale, expected / scale, atol=1e-5)
        np.testing.assert_allclose(outputs[1][name], outputs[0][name][:1], rtol=1e-5, atol=1e-5 * scale)
        np.testing.assert_array_equal(outputs[2][name], outputs[0][name])


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operator_is_lowered_or_exempt_with_a_reason(name):
    """An operator is added with its lowering, or with the reason why it has none."""
    op = OPERATORS[name]
    if not op.__module__.startswith("edge_sdk."):
        pytest.skip("declared by another test")

    assert (op in LOWERINGS) != (name in WITHOUT_LOWERING or "grad" in name.split("_"))


@pytest.mark.parametrize("op", sorted(LOWERINGS, key=lambda op: op.name), ids=lambda op: op.name)
def test_every_lowering_is_tested_by_a_row(op):
    """The table has a row for each operator that can be written."""
    assert any(type(case.op) is op for case in LOWERED)
