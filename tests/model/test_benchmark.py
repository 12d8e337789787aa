"""What is benchmarked is the model as it is: on its device."""

from __future__ import annotations

import pytest
from tiny_models import tiny_model

from edge_sdk.benchmark import benchmark_inference, benchmark_training
from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.ops.linear import Linear
from edge_sdk.spec import Spec


@pytest.mark.parametrize("benchmark", [benchmark_inference, benchmark_training])
def test_a_model_is_timed_on_its_device(benchmark):
    """The kernels are those of the device that the model runs on, not of the processor."""
    load_device("reference")
    naive = find_kernel(Linear(), "reference", [Spec((1, 2)), Spec((3, 2))])

    found = benchmark(tiny_model().replace(device="reference"), 2, 1)

    assert naive is not None
    assert naive.algorithm in [node.algorithm for node in found.nodes if node.op == "linear"]
