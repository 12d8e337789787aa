"""The engine passes ONNX's own tests of every operator that the reader reads.

The list is made from the reader's table: a new reader brings its tests with it. `pytest -s` prints the counts.
"""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import helper  # noqa: E402
from onnx_suites import run_suite  # noqa: E402

from edge_sdk.converters.onnx.backend import EdgeBackend  # noqa: E402
from edge_sdk.converters.onnx.table import readers  # noqa: E402
from edge_sdk.errors import UsageError  # noqa: E402

ATTAINED = {"node": 1477, "pytorch-converted": 82, "pytorch-operator": 35, "simple": 15}
"""How many passed with onnx 1.23 when this was written; another version has other tests."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.long] * (count > 50)) for kind, count in ATTAINED.items()]
)
def test_every_test_of_every_operator_that_is_read_passes(kind, capsys):
    """None fails, none is exempt without need, and none got lost."""
    outcome = run_suite(kind)

    with capsys.disabled():
        print(f"\nONNX {onnx.__version__} {kind}: {outcome}")  # noqa: T201 - the count is part of the result
    assert not outcome.failed, str(outcome)
    assert not outcome.stale, f"no longer needed in EXEMPT: {outcome.stale}"
    if onnx.__version__.startswith("1.23"):
        assert len(outcome.passed) >= ATTAINED[kind]


def test_every_reader_is_for_an_operator_of_onnx():
    """The table has no name that ONNX does not know."""
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}

    assert set(readers()) <= known


def test_the_backend_runs_a_single_node():
    """`run_node` computes one operator, and inputs that shapes depend on become constants."""
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])

    (y,) = EdgeBackend.run_node(node, [np.arange(6, dtype=np.float32), np.array([2, 3])])

    assert y.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_backend_says_which_devices_it_has():
    """The processor, and the engine's reference kernels by name."""
    assert EdgeBackend.supports_device("CPU")
    assert not EdgeBackend.supports_device("CUDA")
    with pytest.raises(UsageError, match="CUDA"):
        EdgeBackend.prepare(helper.make_model(helper.make_graph([], "g", [], [])), "CUDA")
