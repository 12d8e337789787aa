"""Weights of few values: the right ones, no more than asked for, the same each time, in a model that runs anywhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tiny_models import tiny_model, wide_model, write_photos

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.compression.palette import k_means, nearest
from edge_sdk.errors import UsageError

LAYERS = {"conv2d", "depthwise_conv2d", "linear"}


def least_error(numbers, count):
    """The smallest sum of squared distances to `count` values, by trying every division of the sorted numbers."""
    line = np.sort(numbers.astype(np.float64))
    ways = itertools.combinations(range(1, len(line)), count - 1)
    return min(sum(((part - part.mean()) ** 2).sum() for part in np.split(line, way)) for way in ways)


@pytest.mark.parametrize("seed", range(6))
def test_k_means_is_near_the_best_there_is(seed):
    """On 14 numbers and 4 values, all divisions can be tried; Lloyd's ends are within a quarter of the best."""
    numbers = np.random.default_rng(seed).standard_normal(14).astype(np.float32)

    values = k_means(numbers, 4)

    error = ((numbers - values[nearest(numbers, values)]) ** 2).sum()
    assert least_error(numbers, 4) - 1e-5 <= error <= 1.25 * least_error(numbers, 4) + 1e-5
    assert (np.diff(values) > 0).all()


@pytest.mark.parametrize(("count", "error"), [(4, 0.1175), (16, 0.009497)])
def test_normal_numbers_cost_what_the_published_table_says(count, error):
    """Errors of the best quantizers of a normal variable (Max 1960, "Quantizing for minimum distortion", table 1)."""
    numbers = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)

    values = k_means(numbers, count)

    found = float(((numbers - values[nearest(numbers, values)]) ** 2).mean())
    assert found == pytest.approx(error, rel=0.03)


def test_few_different_numbers_are_kept_as_they_are():
    """Also where there are fewer than values, or all are equal."""
    few = np.array([0.5, -1.0, 0.5, 2.0, -1.0], np.float32)

    values, equal = k_means(few, 16), k_means(np.full(9, 3.0, np.float32), 4)

    np.testing.assert_array_equal(values[nearest(few, values)], few)
    assert len(values) == 16
    assert equal.tolist() == [3.0] * 4


@pytest.mark.parametrize("bits", [4, 6])
def test_every_layer_has_so_many_values(bits):
    """Normal, depthwise and dense layers; small ones, biases and the network's form stay."""
    model = pretrained.load("mobilenet_v3_small", weights=None, num_classes=10, image_size=64)
    graph, before = model.inference

    palettized = edge.palettize(model, bits)

    after = palettized.model.workspace
    layers = {node.inputs[1]: node.op.name for node in graph.nodes if node.op.name in LAYERS}
    assert palettized.model.graph == graph
    assert {layers[weight] for weight in palettized.tables} == LAYERS
    for weight in graph.params:
        if weight in palettized.tables:
            assert set(np.unique(after[weight])) <= set(palettized.tables[weight])
            assert len(palettized.tables[weight]) == 2**bits
        else:
            assert before[weight].size < 2048 or weight not in layers
            np.testing.assert_array_equal(after[weight], before[weight])


def test_a_palettized_model_is_trained_no_more_saved_and_run(tmp_path):
    """It tells the same colours apart, the file has its numbers, and the same call gives the same bytes."""
    photos = write_photos(tmp_path / "photos")
    model = edge.fit(wide_model(), photos, epochs=3, batch_size=6, learning_rate=0.05, seed=3).model

    palettized = edge.palettize(model).model
    palettized.save(tmp_path / "a.edge")
    edge.palettize(model).model.save(tmp_path / "b.edge")

    assert (tmp_path / "a.edge").read_bytes() == (tmp_path / "b.edge").read_bytes()
    assert edge.evaluate(tmp_path / "a.edge", photos).top1 > 0.9
    assert edge.load(tmp_path / "a.edge").provenance["palette"] == {"bits": 4, "weights": 1}
    assert len(np.unique(palettized.workspace["second.weight.folded"])) <= 16


def test_mistakes_are_named(tmp_path):
    """Other numbers of bits, and a model whose numbers are rounded already."""
    photos = write_photos(tmp_path / "photos")
    rounded = edge.quantize_aware(tiny_model(), photos, epochs=1, batch_size=6).run.model

    with pytest.raises(UsageError, match="bits is 5, wanted 4 or 6"):
        edge.palettize(tiny_model(), 5)
    with pytest.raises(UsageError, match="trained in 8-bit numbers"):
        edge.palettize(rounded)
