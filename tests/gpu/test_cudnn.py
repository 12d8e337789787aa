"""Convolutions through cuDNN: described to the real library, whose reading of the descriptors is then computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gpu.computed_cudnn import ENGINES, UNSUPPORTED, ComputedCudnn, Engine, compute
from gpu.device_calls import call_on_device
from gpu.library_rows import Row, convolutions
from gpu.real_libraries import cudnn_functions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from op_cases.case import normal

from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.kernels.gpu import cudnn, cudnn_conv
from edge_sdk.kernels.gpu.cudnn_engines import NEVER, Engines, engines_of, may_run
from edge_sdk.kernels.gpu.cudnn_graph import IMAGE, RESULT, TYPES, WEIGHTS, Convolution, convolution, graph_of
from edge_sdk.kernels.gpu.cudnn_names import Attribute, Note, Type
from edge_sdk.ops.conv import Conv2D, Conv2DGradInput, Conv2DGradWeight
from edge_sdk.spec import Spec

for _device in ("gpu", "reference"):
    load_device(_device)

pytestmark = pytest.mark.nvidia_libraries

WANTED = Convolution(
    "result", "float32", (2, 8, 8, 4), (6, 3, 3, 4), (2, 8, 8, 6), (1, 1), (1, 1), (1, 1), (1, 1), rounds=False
)
Opens = Callable[..., ComputedCudnn]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Opens:
    """Open the stand-in, with its own folder of remembered engines, in the place of a GPU's cuDNN."""
    functions = cudnn_functions()
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))

    def open_it(engines: tuple[Engine, ...] = ENGINES) -> ComputedCudnn:
        library = ComputedCudnn(functions, engines)
        monkeypatch.setattr(cudnn, "current_cudnn", lambda: library)
        return library

    return open_it


def is_followed(row: Row) -> bool:
    """Whether a convolution adds anything to its result, or applies an activation."""
    return isinstance(row.op, Conv2D) and (len(row.inputs) > 2 or row.op.activation is not None)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("row", list(convolutions()), ids=str)
def test_what_cudnn_is_told_is_the_operator(row: Row, dtype: str, opened: Opens) -> None:
    """Tensors and geometry as cuDNN reads them from its descriptors, at the addresses given, are the operator's."""
    opened()

    kernels = row.kernels(dtype, cudnn_conv.ALGORITHMS)

    assert len(kernels) == (3 if dtype == "float16" else 2)
    assert max(row.worst_error(kernel, dtype) for kernel in kernels) <= 1


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("row", [row for row in convolutions() if is_followed(row)], ids=str)
def test_what_follows_a_convolution_is_computed_with_it(row: Row, dtype: str, opened: Opens) -> None:
    """Bias, residual and activation as operations of the same graph, by engines that keep what is not a number."""
    opened()

    kernels = row.kernels(dtype, cudnn_conv.WHOLE)

    assert len(kernels) == (1 if row.op.activation else 3 if dtype == "float16" else 2)
    assert max(row.worst_error(kernel, dtype) for kernel in kernels) <= 1


def test_where_nothing_follows_there_is_nothing_to_compute_with_it(opened: Opens) -> None:
    """A convolution alone has its own alternatives; they are not offered twice."""
    opened()

    assert not [row for row in convolutions() if not is_followed(row) and row.kernels("float32", cudnn_conv.WHOLE)]


def test_infinite_results_stay_so(opened: Opens) -> None:
    """What is not a number, or infinite, is not cut to the largest number by the activation."""
    opened()
    x, w = np.zeros((1, 1, 3, 1), np.float32), np.ones((1, 1, 1, 1), np.float32)
    x[0, 0, :, 0] = (np.nan, np.inf, -np.inf)
    row = Row("ends", Conv2D(activation="relu"), (x, w), 1e-6)

    for kernel in row.kernels("float32", (*cudnn_conv.WHOLE, *cudnn_conv.ALGORITHMS)):
        (y,) = call_on_device(kernel, row.op, [x, w])
        assert np.array_equal(y[0, 0, :, 0], [np.nan, np.inf, 0], equal_nan=True)


@st.composite
def geometries(draw: st.DrawFn) -> tuple[Conv2D, tuple[int, ...], tuple[int, ...]]:
    """A convolution with its image and weights, where a window fits."""
    kernel, stride, dilation = (draw(st.tuples(*[st.integers(1, most)] * 2)) for most in (3, 3, 2))
    pads = st.tuples(st.integers(0, 2), st.integers(0, 2))
    padding = draw(st.sampled_from(["same", "valid"]) | st.tuples(pads, pads))
    groups, per_group, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    sizes = [draw(st.integers((k - 1) * d + 1, 9)) for k, d in zip(kernel, dilation, strict=True)]
    op = Conv2D(stride, padding, dilation, groups)
    return op, (2, *sizes, groups * per_group), (groups * outputs, *kernel, per_group)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(geometries())
def test_any_geometry_and_both_gradients(
    opened: Opens, geometry: tuple[Conv2D, tuple[int, ...], tuple[int, ...]]
) -> None:
    """Strides that leave pixels over, padding that is cut off or differs at both ends, dilation, groups."""
    opened((Engine(1),))
    op, image, weights = geometry
    x, w = normal(*image, seed=1), normal(*weights, seed=2)
    dy = normal(*op.infer(Spec(image), Spec(weights)).shape, seed=3)
    at = (op.stride, op.padding, op.dilation, op.groups)

    rows = (
        Row("forward", op, (x, w), 1e-6),
        Row("input", Conv2DGradInput(*at, input_size=(image[1], image[2])), (dy, w), 1e-6),
        Row("weight", Conv2DGradWeight(*at, kernel_size=(weights[1], weights[2])), (dy, x), 1e-6),
    )
    for row in rows:
        (kernel,) = row.kernels("float32", cudnn_conv.ALGORITHMS)
        assert row.worst_error(kernel, "float32") <= 1, row


def test_engines_that_depend_on_time_or_round_are_not_taken(opened: Opens) -> None:
    """Of float32, engines with neither TF32 nor another order of sums each time; TF32 where it is asked for."""
    library = opened()
    engines = engines_of(library)
    rounding = convolution(
        Conv2D(precision="bfloat16", padding="same"), "result", "float32", WANTED.image, WANTED.weights, WANTED.result
    )

    exact, fast = engines.count(WANTED), engines.count(rounding)

    assert (exact, fast) == (2, 3)
    assert engines.kept.get(repr(WANTED)) == [(1, ((3, 1), (5, 0))), (5, ((3, 1),))]
    assert engines.kept.get(repr(rounding)) == [(4, ((3, 1),)), (1, ((3, 1), (5, 0))), (5, ((3, 1),))]


def test_a_search_is_remembered_on_disk(opened: Opens) -> None:
    """A second process asks for no proposals; another device, or another version, does."""
    first = opened()
    found = Engines(first, "one GPU").count(WANTED)

    second = opened()
    again = Engines(second, "one GPU")
    assert (found, again.count(WANTED), again.plan(WANTED, 1).configuration.index) == (2, 2, 5)
    assert second.asked.searches == 0

    Engines(second, "another GPU").count(WANTED)
    assert second.asked.searches > 0


def test_what_failed_for_want_of_memory_is_tried_again_by_the_next_process(opened: Opens) -> None:
    """A failure that may pass is not written down; one that lasts is."""
    short = Engines(opened((Engine(1, fails=4004), Engine(2, fails=UNSUPPORTED))), "one GPU")
    assert (short.count(WANTED), short.count(WANTED)) == (0, 0)
    assert short.library.asked.plans == [1, 2]

    again = Engines(opened((Engine(1), Engine(2, fails=UNSUPPORTED))), "one GPU")

    assert again.count(WANTED) == 1
    assert again.kept.without_engine() == (0, 1)


def test_bfloat16_is_told_as_such(opened: Opens) -> None:
    """Its bits are read and written as bfloat16: 1 · 2 + 3 · 0.5 = 3.5 in bits."""
    image, weights, result = (np.zeros(8, np.uint16) for _ in range(3))
    image[:2], weights[:2] = (0x3F80, 0x4040), (0x4000, 0x3F00)  # 1, 3 and 2, 0.5
    wanted = convolution(Conv2D(), "result", "bfloat16", (1, 1, 1, 2), (1, 1, 1, 2), (1, 1, 1, 1))
    places = {number: array.ctypes.data for number, array in ((IMAGE, image), (WEIGHTS, weights), (RESULT, result))}

    compute(graph_of(opened(), wanted), places)

    assert result[0] == 0x4060


def test_a_remembered_engine_that_does_not_run_is_searched_anew(opened: Opens) -> None:
    """What a file says is checked by the library: another driver, or a damaged file, costs a search and no more."""
    Engines(opened(), "one GPU").count(WANTED)
    other = opened((Engine(3),))

    plan = Engines(other, "one GPU").plan(WANTED, 1)

    assert plan.configuration.index == 3
    assert other.asked.searches > 0


def test_a_remembered_engine_must_still_be_one_that_may_run(opened: Opens) -> None:
    """An engine that a file names but that depends on time is not taken."""
    engines = Engines(opened(), "one GPU")
    engines.kept.put(repr(WANTED), [(7, ((3, 1),))])

    assert engines.plan(WANTED, 0).configuration.index == 1


def test_without_an_engine_our_own_kernel_runs(opened: Opens) -> None:
    """Where cuDNN has nothing that gives the same bytes each time, none of its alternatives applies."""
    opened((Engine(7, notes=frozenset({Note.NONDETERMINISTIC})),))

    kernel = find_kernel(Conv2D(padding="same"), "gpu", [Spec(WANTED.image), Spec(WANTED.weights)])

    assert kernel is not None
    assert kernel.algorithm == "conv2d"


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("sought", ["result", "image", "weights"])
def test_the_real_engines_say_how_they_compute(sought: str, dtype: str) -> None:
    """Among the engines that cuDNN makes without a GPU are some that may run; gradients also have some that may not."""
    library = cudnn.Cudnn(cudnn_functions(), None)
    wanted = convolution(Conv2D(padding="same"), sought, dtype, WANTED.image, WANTED.weights, WANTED.result)
    graph = graph_of(library, wanted)

    noted = []
    for index in range(100):
        try:
            engine = library.engine(graph, index)
        except cudnn.CudnnError:
            continue
        noted.append(frozenset(engine.numbers(Attribute.ENGINE_NUMERICAL_NOTE, Type.NUMERICAL_NOTE, 2 * len(Note))))

    assert any(may_run(wanted, notes) for notes in noted)
    if sought != "result" and dtype != "bfloat16":
        assert any(notes & NEVER for notes in noted)
