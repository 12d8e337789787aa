"""Moves of elements beyond the operator table: wide and narrow ones, all types, more elements than threads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from gpu.reference_checks import assert_like_reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from op_cases.case import normal

from edge_sdk.builder import Builder
from edge_sdk.kernels.gpu import launch
from edge_sdk.kernels.gpu import shape as gpu_shape
from edge_sdk.kernels.gpu.driver import current_driver
from edge_sdk.ops.indexing import Gather
from edge_sdk.ops.pool import MaxPool2D, MaxPool2DGrad
from edge_sdk.ops.resize import Resize
from edge_sdk.ops.shape import BroadcastTo, Cast, Concat, Flatten, Pad, ReshapeLike, Slice, Split, Transpose
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, DTYPES, Spec
from edge_sdk.workspace import Workspace

TYPES = sorted(DTYPES - {"bfloat16"})
quickly = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
shapes = st.lists(st.sampled_from([1, 2, 3, 4, 8, 16]), min_size=1, max_size=5).map(tuple)


def numbered(*shape, dtype="float32"):
    """Every element another number, as far as the type has so many."""
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


@quickly
@given(shapes, st.data(), st.sampled_from(TYPES))
def test_padding(shape, data, dtype):
    """Any axes, by any widths, of any type; empty arrays too."""
    paddings = tuple(
        data.draw(st.tuples(st.sampled_from([0, 0, 1, 4, 8]), st.sampled_from([0, 0, 3, 8]))) for _ in shape
    )

    assert_like_reference(Pad(paddings, 1.0), numbered(*shape, dtype=dtype))


@quickly
@given(shapes, st.data(), st.sampled_from(TYPES))
def test_slices(shape, data, dtype):
    """Any block, also one of no elements."""
    begin = tuple(data.draw(st.integers(0, size)) for size in shape)
    size = tuple(data.draw(st.integers(0, whole - first)) for whole, first in zip(shape, begin, strict=True))

    assert_like_reference(Slice(begin, size), numbered(*shape, dtype=dtype))


@quickly
@given(shapes, st.data(), st.sampled_from(TYPES))
def test_transposes(shape, data, dtype):
    """Any order of axes: exchanges, moves of whole lines, and what is neither."""
    permutation = tuple(data.draw(st.permutations(range(len(shape)))))

    assert_like_reference(Transpose(permutation), numbered(*shape, dtype=dtype))


@quickly
@given(shapes, st.data())
def test_broadcasts(shape, data):
    """Any axes are repeated, and new ones come in front."""
    repeated = tuple(1 if data.draw(st.booleans()) else size for size in shape)

    assert_like_reference(BroadcastTo((2, *shape)), numbered(*repeated))


@pytest.mark.parametrize("sizes", [(4, 8, 16), (3, 5, 1), (4, 0, 6), (16,)])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int64"])
def test_parts(axis, sizes, dtype):
    """Concatenating and splitting along each axis, where everything moves by 16 bytes and where not."""
    others = [2, 4, 8]
    parts = [numbered(*others[:axis], size, *others[axis + 1 :], dtype=dtype) for size in sizes]

    assert_like_reference(Concat(axis), *parts)
    assert_like_reference(Split(axis, sizes), np.concatenate(parts, axis))


@pytest.mark.parametrize("shape", [(33, 65), (2, 31, 40), (3, 64, 1), (1, 7, 5, 33)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "bool", "float64"])
def test_exchanges_of_several_tiles(shape, dtype, monkeypatch):
    """Tiles that are not full, and more of them than blocks."""
    monkeypatch.setattr(gpu_shape, "MAX_BLOCKS", 2)
    axes = range(len(shape))

    assert_like_reference(Transpose((*axes[:-2], axes[-1], axes[-2])), numbered(*shape, dtype=dtype))
    assert_like_reference(Transpose((0, *axes[2:], 1)), numbered(*shape, dtype=dtype))


@pytest.mark.parametrize("op", [Pad(((0, 0), (1, 2), (0, 3))), Slice((0, 1, 2), (-1, 5, 20)), Transpose((1, 0, 2))])
def test_more_elements_than_threads(op, monkeypatch):
    """Threads go on until all is moved."""
    monkeypatch.setattr(launch, "MAX_BLOCKS", 1)

    assert_like_reference(op, numbered(5, 9, 24))
    assert_like_reference(op, numbered(5, 9, 23))


@pytest.mark.parametrize(("source", "target"), list(itertools.product(TYPES, TYPES)))
def test_casts(source, target):
    """From every type to every other, what both can hold; floats are cut towards zero, and anything but 0 is true."""
    values = np.array([0, 1, 2.5, 100.75, 77, 3] if source != "bool" else [0, 1])
    signed = np.dtype(source).kind in "if" and np.dtype(target).kind in "ifb"

    assert_like_reference(Cast(target), np.concatenate([values, -values] if signed else [values]).astype(source))


def test_casts_of_special_numbers():
    """Infinities, numbers that are none, and those beyond the range of 16 bits stay what they are."""
    x = np.array([np.inf, -np.inf, np.nan, 1e30, 1e-30, -0.0, 65519.0, 65520.0])

    with np.errstate(over="ignore"):
        for source, target in itertools.permutations(["float16", "float32", "float64"], 2):
            assert_like_reference(Cast(target), x.astype(source))


@given(st.lists(st.floats(-70000, 70000), min_size=1, max_size=64))
@quickly
def test_doubles_are_rounded_once(values):
    """On the way to 16 bits they are not first rounded to 32: a number just above the middle of two goes up."""
    x = np.array([*values, 1 + 2**-11 + 2**-40, 1 + 3 * 2**-11 - 2**-40, -(1 + 2**-11 + 2**-40)])

    with np.errstate(over="ignore"):
        assert_like_reference(Cast("float16"), x)


def test_a_reshape_in_place_keeps_everything():
    """The output may be the input's memory."""
    driver = current_driver()
    x = driver.allocate(24).view(np.float32)
    driver.write(x, np.arange(6, dtype=np.float32))

    gpu_shape.reshape_like(ReshapeLike(), x.reshape(2, 3), x, x)()

    assert driver.read(x).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_session_of_moves_and_pools():
    """Bound together, in memory that they share, run twice: what the naive kernels compute."""
    g = Builder("moves")
    x = g.input("x", Spec((BATCH, 8, 8, 8)))
    indices = g.input("indices", Spec((3,), "int32"))
    pooled = g.add(MaxPool2D((3, 3), (2, 2), "same"), g.add(Pad(((0, 0), (1, 1), (1, 1), (0, 0))), x))
    large = g.add(Resize((10, 10), "nearest"), pooled)  # equal neighbours, of which the first counts
    dy = g.add(MaxPool2DGrad((3, 3), (2, 2), "same"), pooled, large)
    first, second = g.add_multi(Split(3, (4, 4)), dy)
    exchanged = g.add(Transpose((0, 3, 1, 2)), g.add(Concat(3), second, first))
    y = g.add(Flatten(), g.add(Gather(1), exchanged, indices))
    graph = g.build(y)
    feeds = {"x": normal(2, 8, 8, 8), "indices": np.array([6, 0, 6], np.int32)}

    session = Session(graph, Workspace(), "gpu", batch=2)
    results = [session.run(feeds)[y] for _ in range(2)]

    wanted = Session(graph, Workspace(), "reference", batch=2).run(feeds)[y]
    for result in results:
        np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-6)
