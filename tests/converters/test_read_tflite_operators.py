"""Every operator that is written to .tflite files, read back and computed: what the file does in the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from int8_cases import CASES as INT8_CASES
from int8_cases import WIDE_CASES
from lowered_cases import LOWERED, graph_of

from edge_sdk.converters.tflite import read_graph
from edge_sdk.converters.tflite.flatfile import FlatModel
from edge_sdk.converters.tflite.lowering import Lowering
from edge_sdk.converters.tflite.reading import FOLDERS, READERS
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.ops.quantization import Dequantize, Quantize
from edge_sdk.session import Session

# Why stored numbers of a row may be one step from the runtime's, and for which share of them they are not.
NOT_EQUAL = {
    "adaptive_avg_pool2d_uneven": (
        0.7,
        "one step apart in a quarter of the numbers; perhaps the runtime rounds that MEAN otherwise",
    )
}


@pytest.fixture
def path(tmp_path) -> Path:
    """Where to write a file."""
    return tmp_path / "case.tflite"


@pytest.mark.parametrize("case", LOWERED, ids=str)
def test_each_row_comes_back(case, path):
    """Written, read and run by the reference kernels, each row gives what the runtime does with the file."""
    graph, workspace, feeds = graph_of(case)
    path.write_bytes(write(graph, workspace).data)
    wanted = TFLiteModel.open(path).invoke(feeds)

    read, weights = read_graph(path, quantized=isinstance(case.op, Quantize | Dequantize))

    found = Session(read, weights, "reference").run(feeds)
    for ours, theirs in zip(found.values(), wanted.values(), strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        scale = float(np.max(np.abs(theirs), initial=0)) or 1.0
        # XNNPACK rounds halves to even, the reference away from zero: one unit apart.
        tolerance = 1 / scale if isinstance(case.op, Quantize) else 1e-5
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=tolerance)


@pytest.mark.parametrize("case", [case for case in LOWERED if case.symbolic_batch], ids=str)
def test_an_open_batch_stays_open(case, path):
    """Twice the examples go through the graph of a file that leaves their number open."""
    graph, workspace, feeds = graph_of(case, symbolic=True)
    if len(graph.inputs) != 1 or not graph.specs[graph.outputs[0]].symbolic:
        pytest.skip("only operators of one input keep examples apart")
    x = np.concatenate([feeds["x0"], feeds["x0"]])
    path.write_bytes(write(graph, workspace).data)
    wanted = TFLiteModel.open(path).invoke({"x0": x})

    read, weights = read_graph(path)

    found = Session(read, weights, "reference", batch=len(x)).run({read.inputs[0]: x})
    for ours, theirs in zip(found.values(), wanted.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(np.abs(theirs).max(initial=1)))


@pytest.mark.parametrize("case", [*INT8_CASES, *WIDE_CASES], ids=str)
def test_integer_rows_come_back_bit_for_bit(case, path):
    """Stored numbers equal those of the runtime, but for what is exempt by name and reason."""
    graph, workspace, feeds = case.program()
    path.write_bytes(write(graph, workspace).data)
    wanted = TFLiteModel.open(path).invoke(feeds)

    read, weights = read_graph(path, quantized=True)

    found = Session(read, weights, "reference").run(feeds)
    share, _ = NOT_EQUAL.get(case.name, (1.0, ""))
    for ours, theirs in zip(found.values(), wanted.values(), strict=True):
        assert ours.dtype == theirs.dtype
        assert np.mean(ours == theirs) >= share
        assert np.abs(ours.astype(np.float64) - theirs).max() <= (share < 1)


def test_all_that_is_written_can_be_read():
    """No lowering writes an operator that has no reader."""
    written = set()
    for case in LOWERED:
        graph, workspace, _ = graph_of(case)
        lowering = Lowering(graph, workspace, FlatModel(), "float16")
        lowering.run()
        written.update(lowering.operators)

    assert written <= {*READERS, *FOLDERS}
    assert len(written) > 40
