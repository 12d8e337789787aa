"""Integers of one layer against every possible choice, against elimination by least squares, and where layers are deep.

No setting is chosen for these layers: they are drawn anew from many seeds, and all that is used is the default.
"""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sdk.quantization.adaptive_rounding import DEFAULT
from edge_sdk.quantization.error_feedback import Problem, descended, fed_back
from edge_sdk.spec import Array

HIGHEST = {None: np.inf, "relu": np.inf, "relu6": 6.0}
ACTIVATIONS = st.sampled_from([None, "relu", "relu6"])
SEEDS = st.integers(0, 2**32 - 1)


def drawn(
    seed: int,
    depth: int,
    activation: str | None = None,
    rows: int = 300,
    groups: int = 1,
    channels: int = 1,
    largest: int = 7,
) -> Problem:
    """A random layer: inputs that go together and are never negative, and that differ a little from the float ones."""
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((groups, rows, 3)) @ random.standard_normal((groups, 3, depth))
    exact = np.maximum(mixed + random.uniform(0.1, 1) * random.standard_normal((groups, rows, depth)) + 0.5, 0)
    weights = random.standard_normal((groups, depth, channels)).astype(np.float32)
    bias = random.standard_normal((groups, 1, channels)).astype(np.float32)
    targets = limited(exact @ weights + bias, activation)
    seen = exact + 0.05 * random.standard_normal(exact.shape)
    scales = np.abs(weights).max(axis=1, keepdims=True) / largest
    arrays = (array.astype(np.float32) for array in (seen, targets, weights, scales))
    return Problem(*arrays, bias, activation, largest, DEFAULT.ridge)


def limited(sums: Array, activation: str | None) -> Array:
    """The activation of sums."""
    return sums if activation is None else np.clip(sums, 0, HIGHEST[activation])


def errors(problem: Problem, stored: Array) -> Array:
    """What the outputs differ by, squared and summed over rows, for each channel, in float64."""
    sums = problem.inputs.astype(np.float64) @ (stored * problem.scales.astype(np.float64)) + problem.bias
    return np.square(limited(sums, problem.activation) - problem.targets).sum(axis=1)


def costs(problem: Problem, stored: Array) -> Array:
    """The errors, and the ridge as its definition says: each input's power, away from the float weight."""
    follows = (problem.targets > 0) & (problem.targets < HIGHEST[problem.activation])
    share = np.maximum(follows.mean(axis=1), 0.05) if problem.activation else 1.0
    power = np.square(problem.inputs.astype(np.float64)).sum(axis=1)[..., np.newaxis]
    away = stored * problem.scales.astype(np.float64) - problem.weights
    return errors(problem, stored) + problem.ridge * share * (power * away**2).sum(axis=1)


def nearest(problem: Problem) -> Array:
    """Each weight rounded by itself."""
    return np.clip(np.rint(problem.weights / problem.scales), -problem.largest, problem.largest).astype(np.int8)


def chosen(problem: Problem) -> Array:
    """What adaptive rounding makes of a layer."""
    return descended(problem, [nearest(problem), fed_back(problem)], DEFAULT.sweeps)


def every_choice(problem: Problem) -> Array:
    """All roundings up and down of a layer with one channel, (2^depth, depth, 1)."""
    low = np.floor(problem.weights[0] / problem.scales[0])
    ups = np.array(list(itertools.product((0, 1), repeat=len(low))))[..., np.newaxis]
    return np.clip(low + ups, -problem.largest, problem.largest)


@given(SEEDS, st.integers(1, 8), ACTIVATIONS)
@settings(max_examples=40, deadline=None)
def test_it_lies_between_nearest_and_the_best_of_all(seed, depth, activation):
    """Weights go up or down; the cost is never above nearest rounding's, never below the least of all 2^depth."""
    problem = drawn(seed, depth, activation)
    least = min(costs(problem, one[np.newaxis])[0, 0] for one in every_choice(problem))
    most = costs(problem, nearest(problem))[0, 0]

    found = chosen(problem)

    assert found.dtype == np.int8
    assert np.all(np.isin(found - np.floor(problem.weights / problem.scales), (0, 1)) | (found == -problem.largest))
    assert least * (1 - 1e-4) <= costs(problem, found)[0, 0] <= most * (1 + 1e-4)


@pytest.mark.parametrize(("activation", "share"), [(None, 0.9), ("relu", 0.75), ("relu6", 0.75)])
def test_most_of_the_way_to_the_best_of_all_is_gone(activation, share):
    """Over 40 layers of 8 inputs: that share of what the best of all roundings saves."""
    saved, possible = 0.0, 0.0
    for seed in range(40):
        problem = drawn(seed, 8, activation)
        most = costs(problem, nearest(problem))[0, 0]
        possible += 1 - min(costs(problem, one[np.newaxis])[0, 0] for one in every_choice(problem)) / most
        saved += 1 - costs(problem, chosen(problem))[0, 0] / most

    assert possible > 5
    assert saved >= share * possible


@given(SEEDS, st.integers(1, 3), st.integers(1, 4), st.integers(2, 30), ACTIVATIONS)
@settings(max_examples=30, deadline=None)
def test_no_channel_is_worse_than_nearest_on_its_rows(seed, groups, channels, depth, activation):
    """Groups and channels, behind every activation: the error alone, without the ridge."""
    problem = drawn(seed, depth, activation, groups=groups, channels=channels, largest=127)

    found = chosen(problem)

    assert np.all(errors(problem, found) <= errors(problem, nearest(problem)) * (1 + 1e-4) + 1e-6)


@given(SEEDS, st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_errors_are_fed_back_as_least_squares_say(seed, depth):
    """The strongest input first: each weight is rounded, and all to come are solved for again with it held."""
    problem = drawn(seed, depth, channels=3)
    power = np.square(problem.inputs[0].astype(np.float64)).sum(axis=0)
    order = np.argsort(-power)
    pulls = np.diag(np.sqrt(problem.ridge * power))
    system = np.concatenate([problem.inputs[0], pulls])[:, order]  # the ridge as further rows
    exact = (problem.weights[0] / problem.scales[0]).astype(np.float64)
    outputs = (problem.targets[0] - problem.bias[0]) / problem.scales[0]
    left = np.concatenate([outputs, pulls @ exact])
    solved, wanted = np.empty_like(exact), np.empty_like(exact)
    for index, column in enumerate(order):
        solved[column] = np.linalg.lstsq(system[:, index:], left, rcond=None)[0][0]
        low = np.floor(exact[column])
        wanted[column] = np.clip(np.rint(solved[column]), np.maximum(low, -7), np.minimum(low + 1, 7))
        left = left - system[:, index, np.newaxis] * wanted[column]

    found = fed_back(problem)[0]

    between = np.abs(solved - np.floor(solved) - 0.5) < 1e-3  # from a tie on, either may follow
    settled = ~np.logical_or.accumulate(between[order], axis=0)
    np.testing.assert_array_equal(found[order][settled], wanted[order][settled])


@given(SEEDS, st.integers(1, 100))
@settings(max_examples=20, deadline=None)
def test_it_ends_where_no_single_weight_helps(seed, depth):
    """Turning any one rounding over raises the cost of its channel."""
    problem = drawn(seed, depth)

    found = descended(problem, [nearest(problem)], sweeps=200)

    least = costs(problem, found)[0, 0]
    low = np.floor(problem.weights / problem.scales)
    for index in range(depth):
        other = found.copy()
        other[0, index] = np.clip(2 * low[0, index] + 1 - found[0, index], -7, 7)
        assert costs(problem, other)[0, 0] >= least * (1 - 1e-4)


@pytest.mark.long
def test_deep_layers_need_memory_for_blocks_only():
    """6000 inputs: far below their square, which is 144 MB, and much nearer than nearest on rows it never saw."""
    whole = drawn(0, 6000, rows=1200, channels=4)
    seen, held = whole.inputs[:, :900], whole.inputs[:, 900:]
    problem = Problem(
        seen, whole.targets[:, :900], whole.weights, whole.scales, whole.bias, None, whole.largest, whole.ridge
    )
    judge = Problem(
        held, whole.targets[:, 900:], whole.weights, whole.scales, whole.bias, None, whole.largest, whole.ridge
    )

    tracemalloc.start()
    found = chosen(problem)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 40e6
    assert errors(judge, found).sum() < 0.6 * errors(judge, nearest(judge)).sum()


def test_inputs_that_are_always_0_keep_the_nearest_integer():
    """Nothing is known of them, and nothing divides by them."""
    problem = drawn(3, 9, channels=2)
    problem.inputs[:, :, [2, 5]] = 0

    found = chosen(problem)

    np.testing.assert_array_equal(found[:, [2, 5]], nearest(problem)[:, [2, 5]])


def test_a_layer_that_is_given_nothing_stays_as_it_is():
    """All inputs are 0, so every integer does as well."""
    problem = drawn(4, 5, "relu", channels=2)
    problem.inputs[:] = 0

    np.testing.assert_array_equal(chosen(problem), nearest(problem))
