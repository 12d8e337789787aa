"""ONNX's nine light networks: real topologies whose weights are constants, with the outputs that ONNX ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edge_sdk as edge

onnx = pytest.importorskip("onnx")

from onnx import numpy_helper  # noqa: E402
from onnx_suites import photo  # noqa: E402

from edge_sdk.converters.onnx import read, read_graph  # noqa: E402
from edge_sdk.passes.pipelines import run_pipeline  # noqa: E402

FOLDER = Path(onnx.__file__).parent / "backend/test/data/light"
COMPUTED_BYTES = 1 << 30
"""The weights are not in the files: these compute them, up to 143 million numbers."""
SHUFFLES = {"shufflenet": 16}
LONG = ("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "zfnet512")
NETWORKS = [
    "shufflenet",
    "squeezenet",
    *(pytest.param(name, marks=pytest.mark.long) for name in LONG),
    pytest.param("vgg19", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_light_network_gives_the_output_that_onnx_ships(name):
    """Within 1e-5 of the largest, on a graph in which nothing is transposed but ShuffleNet's channels."""
    wanted = numpy_helper.to_array(onnx.load_tensor(FOLDER / f"light_{name}_output_0.pb"))
    found = read_graph(onnx.load(FOLDER / f"light_{name}.onnx"), open_batch=True, computed_bytes=COMPUTED_BYTES)
    ((image, border),) = ((each, each.layout) for each in found.inputs.values())
    x = border.hold(photo((1, 3, 224, 224)))

    graph, workspace = run_pipeline("inference", found.graph, found.workspace)
    (y,) = edge.Session(graph, workspace, batch=1).run({image.value: np.ascontiguousarray(x)}).values()

    ((_, output),) = found.outputs.items()
    assert np.abs(output.layout.release(y) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert sum(node.op.name == "transpose" for node in graph.nodes) == SHUFFLES.get(name, 0)


def test_a_light_network_is_a_model_of_a_thousand_classes():
    """As a classifier: photos in, logits out, the softmax left out, the last layer ready to be exchanged."""
    model = read(FOLDER / "light_squeezenet.onnx", computed_bytes=COMPUTED_BYTES)

    assert model.num_classes == 1000
    assert model.graph.specs["image"].shape == (-1, 224, 224, 3)
    assert all(node.op.name != "softmax" for node in model.graph.nodes)
    assert "head.weight" in model.graph.params
