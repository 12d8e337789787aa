"""What holds for every pass: the same function, arguments left as they were, a second run finds nothing to do."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from graph.random_graphs import feeds_for, interpret, largest, programs
from hypothesis import HealthCheck, given, settings
from tiny_models import tiny_model

from edge_sdk.builder import Builder
from edge_sdk.ops.activation import Tanh
from edge_sdk.passes.common_subexpressions import common_subexpressions
from edge_sdk.passes.constant_folding import constant_folding
from edge_sdk.passes.dead_code import dead_code
from edge_sdk.passes.fold_batch_norm import fold_batch_norm
from edge_sdk.passes.freeze import freeze
from edge_sdk.passes.fuse_activation import fuse_activation
from edge_sdk.passes.mixed_precision import mixed_precision
from edge_sdk.passes.pipelines import PIPELINES, run_pipeline
from edge_sdk.passes.to_inference import to_inference
from edge_sdk.serialize import graph_to_json
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, Spec
from edge_sdk.verify import verify
from edge_sdk.workspace import Workspace

# In float64 a pass may only reorder roundings: a few dozen operations of 1e-16 each, amplified by at most a dozen
# convolutions whose weights sum to less than 10.
TOLERANCE = 1e-9


def _freeze_all(graph, workspace):
    return freeze(graph, workspace, frozen=graph.params)


PASSES = {
    "common_subexpressions": common_subexpressions,
    "constant_folding": constant_folding,
    "dead_code": dead_code,
    "fold_batch_norm": fold_batch_norm,
    "freeze": _freeze_all,
    "fuse_activation": fuse_activation,
    "mixed_precision": mixed_precision,
    "to_inference": to_inference,
    **{f"pipeline {name}": functools.partial(run_pipeline, name) for name in PIPELINES},
}

every_pass = pytest.mark.parametrize("apply", PASSES.values(), ids=PASSES)
quickly = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def assert_same_outputs(before, after, feeds):
    """Compare two (graph, workspace) pairs on the outputs, relative to the largest value on the way."""
    batch = len(next(iter(feeds.values())))
    wanted = interpret(before[0].bind(batch), before[1], feeds)
    found = interpret(after[0].bind(batch), after[1], feeds)
    assert after[0].outputs == before[0].outputs
    for value in before[0].outputs:
        np.testing.assert_allclose(found[value], wanted[value], rtol=0, atol=TOLERANCE * largest(wanted))


@every_pass
@given(pair=programs())
@quickly
def test_a_random_program_computes_the_same(apply, pair):
    """Whatever is shared, read twice or an output: the outputs keep their names and values."""
    graph, workspace = pair

    after = apply(graph, workspace)

    verify(after[0])
    assert after[0].inputs == graph.inputs
    assert set(after[1]) == set(after[0].params)
    assert_same_outputs(pair, after, feeds_for(graph))


@every_pass
@given(pair=programs())
@quickly
def test_arguments_are_left_as_they_were(apply, pair):
    """Neither the graph's text, nor the workspace's names, nor a byte of an array changes."""
    graph, workspace = pair
    text, names, digest = graph_to_json(graph), list(workspace), workspace.digest()

    apply(graph, workspace)

    assert (graph_to_json(graph), list(workspace), workspace.digest()) == (text, names, digest)


@every_pass
def test_arrays_that_stay_are_shared(apply):
    """No pass copies the weights it does not change."""
    model = tiny_model()

    _, arrays = apply(model.graph, model.workspace)

    kept = [name for name in arrays if name in model.workspace]
    assert "head.weight" in kept
    assert all(arrays[name] is model.workspace[name] for name in kept)


@every_pass
def test_nothing_to_do_gives_an_equal_graph(apply):
    """A program without anything to simplify is left alone."""
    g = Builder("plain")
    graph = g.build(g.add(Tanh(), g.input("x", Spec((BATCH, 4))), name="y"))

    after, arrays = apply(graph, Workspace())

    assert after == graph
    assert not arrays


# Of several batch norms in a row, one run folds the first.
@pytest.mark.parametrize("name", sorted(set(PASSES) - {"fold_batch_norm", "freeze", "pipeline inference"}))
@given(pair=programs())
@quickly
def test_a_second_run_finds_nothing(name, pair):
    """The result of a pass is as far as the pass can go."""
    once = PASSES[name](*pair)

    twice = PASSES[name](*once)

    assert len(twice[0].nodes) == len(once[0].nodes)


@every_pass
@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_a_network_computes_the_same_on_each_device(apply, device):
    """Logits of the tiny network, before and after; float32 sums of at most 72 products stay within 1e-5."""
    model = tiny_model()
    random = np.random.default_rng(1)
    for name, array in model.workspace.items():
        if ".norm" in name:
            array[...] = random.uniform(0.5, 1.5, array.shape)
    image = random.standard_normal((3, 16, 16, 3), np.float32)
    wanted = Session(model.graph, model.workspace, "reference", 3).run({"image": image})["logits"]

    graph, workspace = apply(model.graph, model.workspace)
    logits = Session(graph, workspace, device, 3).run({"image": image})["logits"]

    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
