"""cuDNN and cuBLAS where there is a GPU: every row by every engine that may run, twice, and in a captured graph."""

from __future__ import annotations

import numpy as np
import pytest
from gpu.device_calls import call_on_device
from gpu.library_rows import Row, convolutions, products
from tiny_models import tiny_model

from edge_sdk.kernel import load_device
from edge_sdk.kernels.gpu import cublas, cudnn, cudnn_conv
from edge_sdk.training.step import training_session

load_device("gpu")

pytestmark = pytest.mark.gpu

LIBRARIES = ("cublas", *cudnn_conv.ALGORITHMS, *cudnn_conv.WHOLE)


@pytest.fixture(autouse=True)
def both_libraries() -> None:
    """Skip where one of them is missing."""
    if cudnn.current_cudnn() is None or cublas.current_cublas() is None:
        pytest.skip(f"cuDNN: {cudnn.report()}; cuBLAS: {cublas.report()}")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("row", [*convolutions(), *products()], ids=str)
def test_libraries_compute_the_operator_the_same_each_time(row: Row, dtype: str) -> None:
    """Within the row's tolerance of the naive kernel, and to the last bit the same when it is computed again."""
    for kernel in row.kernels(dtype, LIBRARIES):
        first, second = (call_on_device(kernel, row.op, row.as_type(dtype)) for _ in range(2))

        assert row.worst_error(kernel, dtype) <= 1, kernel.algorithm
        assert [y.tobytes() for y in first] == [y.tobytes() for y in second], kernel.algorithm


def test_libraries_are_captured_in_a_graph() -> None:
    """Four steps, of which three are replayed, end with the bytes of another four; libraries are in the plan."""
    ends = []
    for _ in range(2):
        model = tiny_model()
        session = training_session(model, 4, "sgd", 0.01, device="gpu", recompute=None)
        rng = np.random.default_rng(1)
        for _ in range(4):
            feeds = {
                "image": rng.standard_normal((4, *model.preprocess.shape), np.float32),
                "label": rng.integers(0, len(model.labels), 4).astype(np.int32),
            }
            session.run(feeds)
        ends.append({name: session.workspace[name].tobytes() for name in session.graph.params})

    assert {step.algorithm for step in session.plan.steps} & set(LIBRARIES)
    assert ends[0] == ends[1]
