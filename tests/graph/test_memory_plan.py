"""No two values that are needed at the same time share a byte of the arena, whatever the program."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from graph.random_graphs import feeds_for, interpret, largest, programs
from hypothesis import HealthCheck, given, settings
from tiny_models import tiny_model

from edge_sdk.builder import Builder
from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.memory_plan import ALIGNMENT, place_blocks, plan_memory
from edge_sdk.ops.activation import Relu, Tanh
from edge_sdk.ops.control import FullLike
from edge_sdk.ops.elementwise import Add, Mul
from edge_sdk.pretrained.zoo import load
from edge_sdk.session import Session
from edge_sdk.spec import Spec
from edge_sdk.training.optimizers import SGD, Adam
from edge_sdk.training.step import training_session, training_step
from edge_sdk.workspace import Workspace

quickly = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def scratch_of(graph, device="cpu"):
    """What each node's kernel needs beside its outputs."""
    load_device(device)
    found = []
    for node in graph.nodes:
        specs = [graph.specs[value] for value in node.inputs]
        kernel = find_kernel(node.op, device, specs)
        found.append((*kernel.scratch_specs(node.op, specs), *kernel.packed_specs(node.op, specs)))
    return found


def lifetimes(graph):
    """The first and last step at which the contents of each value must be there, from the definition alone."""
    born = dict.fromkeys(graph.inputs, -1)
    dies = dict.fromkeys(graph.inputs, -1)
    for step, node in enumerate(graph.nodes):
        for value in node.outputs:
            born[value] = dies[value] = step
        for position, value in enumerate(node.inputs):
            name = node.op.input_names[min(position, len(node.op.input_names) - 1)]
            if value in born and name not in node.op.shape_only:
                dies[value] = step
    for value in (*graph.outputs, *graph.updates.values()):
        if value in born:
            dies[value] = len(graph.nodes)
    return {value: (born[value], dies[value]) for value in born}


def may_overwrite(graph, old, new):
    """Whether the node of `new` may write it over its input `old`: the operator says so and reads it in one place."""
    node = graph.producer(new)
    if node is None or node.inputs.count(old) != 1:
        return False
    position = node.op.overwrites(node.outputs.index(new))
    return position is not None and position < len(node.inputs) and node.inputs[position] == old


def assert_sound(graph, scratch, plan):
    """Check a plan against the definition: everything has a place, and places in use do not overlap."""
    computed = {*graph.inputs, *(value for node in graph.nodes for value in node.outputs)}
    assert set(plan.blocks) | set(plan.aliases) == computed
    assert not set(plan.blocks) & set(plan.aliases)
    alive = lifetimes(graph)
    used = [(value, *alive[value], plan.blocks[value].offset, graph.specs[value].bytes) for value in plan.blocks]
    for step, (specs, blocks) in enumerate(zip(scratch, plan.scratch, strict=True)):
        used += [(None, step, step, block.offset, spec.bytes) for spec, block in zip(specs, blocks, strict=True)]
    for _, _, _, offset, size in used:
        assert offset % ALIGNMENT == 0
        assert offset + size <= plan.arena_bytes
    for left, right in itertools.combinations(used, 2):
        (name1, first1, last1, offset1, size1), (name2, first2, last2, offset2, size2) = sorted(
            (left, right), key=lambda use: use[1:3]
        )
        together = first1 <= last2 and first2 <= last1
        overlap = offset1 < offset2 + size2 and offset2 < offset1 + size1
        if together and overlap and size1 and size2:
            assert name1 is not None, "scratch lies in a value"
            assert name2 is not None, "scratch lies in a value"
            assert last1 == first2, f"{name1} and {name2} are both needed"
            assert may_overwrite(graph, name1, name2), f"{name2} is written over {name1}"
    for new, state in plan.aliases.items():
        assert graph.updates[state] == new
        assert may_overwrite(graph, state, new)
        later = graph.nodes[graph.nodes.index(graph.producer(new)) + 1 :]
        assert state not in graph.outputs
        assert not any(state in node.inputs for node in later), f"{state} is read after it was overwritten"


@given(pair=programs("float32", updates=True))
@quickly
def test_values_in_use_never_overlap(pair):
    """The property itself, on random programs with updates, shared values and several outputs."""
    graph = pair[0].bind(3)
    scratch = scratch_of(graph)

    assert_sound(graph, scratch, plan_memory(graph, scratch))


@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=["sgd", "adam"])
def test_training_steps_are_sound(optimizer):
    """Forward, backward and updates in place."""
    graph = training_step(tiny_model(), optimizer, learning_rate=0.1, clip_norm=1.0).graph.bind(2)
    scratch = scratch_of(graph)

    plan = plan_memory(graph, scratch)

    assert_sound(graph, scratch, plan)
    assert {"head.weight", "stem.norm.mean", "step"} <= set(plan.aliases.values())


def test_a_network_of_the_zoo_is_sound():
    """A hundred and fifty nodes with shortcuts."""
    graph = load("mobilenetv2", weights=None, num_classes=2, image_size=32).graph.bind(2)
    scratch = scratch_of(graph)

    assert_sound(graph, scratch, plan_memory(graph, scratch))


@pytest.mark.parametrize(("dtype", "device", "tolerance"), [("float32", "cpu", 1e-4), ("float64", "reference", 1e-12)])
def test_a_planned_run_computes_what_separate_arrays_do(dtype, device, tolerance):
    """Outputs and updated parameters of random programs; float32 errors grow through up to a dozen convolutions."""

    @given(pair=programs(dtype, updates=True))
    @settings(quickly, max_examples=60)
    def check(pair):
        graph, workspace = pair[0].bind(2), pair[1].copy()
        feeds = feeds_for(graph)
        wanted = interpret(graph, workspace, feeds)
        kept = {name: workspace[name].copy() for name in graph.params if name not in graph.updates}
        given_feeds = {name: array.copy() for name, array in feeds.items()}

        result = Session(graph, workspace, device).run(feeds)

        limit = tolerance * largest(wanted)
        for value in graph.outputs:
            np.testing.assert_allclose(result[value], wanted[value], rtol=0, atol=limit)
        for state, new in graph.updates.items():
            np.testing.assert_allclose(workspace[state], wanted[new], rtol=0, atol=limit)
        for name, array in kept.items():
            np.testing.assert_array_equal(workspace[name], array)
        for name, array in given_feeds.items():
            np.testing.assert_array_equal(feeds[name], array)

    check()


def chain(*, keep=False):
    """Ten activations in a row on 1 KiB; with `keep`, each is an output."""
    g = Builder("chain")
    values = [g.input("x", Spec((256,)))]
    for _ in range(10):
        values.append(g.add(Tanh(), values[-1]))
    return g.build(*(values[1:] if keep else values[-1:]))


def test_a_chain_of_activations_needs_one_buffer():
    """Each is written over the one before."""
    plan = plan_memory(chain(), [()] * 10)

    assert plan.arena_bytes == 1024
    assert {block.offset for block in plan.blocks.values()} == {0}
    assert plan.live_bytes(10) == [1024] * 10


def test_outputs_live_to_the_end():
    """Ten outputs need ten buffers; the input dies where the first is written."""
    assert plan_memory(chain(keep=True), [()] * 10).arena_bytes == 10 * 1024


def test_a_value_that_is_read_again_is_not_overwritten():
    """In x · tanh(x), tanh(x) needs a place of its own, the product may take either."""
    g = Builder("net")
    x = g.input("x", Spec((256,)))
    graph = g.build(g.add(Mul(), g.add(Tanh(), x), x))

    assert plan_memory(graph, [(), ()]).arena_bytes == 2048


def test_a_value_of_which_only_the_shape_is_read_may_be_overwritten():
    """full_like does not need the contents of x, which died at relu."""
    g = Builder("net")
    x = g.input("x", Spec((256,)))
    y = g.add(Relu(), x)
    graph = g.build(g.add(Add(), y, g.add(FullLike(value=1.0), x)))

    plan = plan_memory(graph, [()] * 3)

    assert plan.blocks["x"] == plan.blocks[y]
    assert plan.arena_bytes == 2048


def test_scratch_shares_memory_with_the_dead_and_not_with_the_living():
    """The scratch of the last step may lie where earlier values were."""
    g = Builder("net")
    x = g.input("x", Spec((1024,)))
    small = g.add(FullLike(value=1.0), g.add(Relu(), x))
    graph = g.build(g.add(Tanh(), small))

    plan = plan_memory(graph, [(), (), (Spec((256,)),)])

    assert plan.scratch[2][0].offset != plan.blocks[graph.outputs[0]].offset
    assert_sound(graph, [(), (), (Spec((256,)),)], plan)


def test_an_update_whose_old_value_is_an_output_is_copied():
    """Users who ask for the parameter as an output get it as it was."""
    g = Builder("net")
    state, step = g.param("state", Spec((2,))), g.param("step", Spec((2,)))
    g.update(state, g.add(Add(), state, step))
    arrays = Workspace({"state": np.zeros(2, np.float32), "step": np.ones(2, np.float32)})

    session = Session(g.build(state), arrays)

    assert [session.run({})["state"].tolist() for _ in range(2)] == [[0, 0], [1, 1]]
    assert not session.memory.aliases


@pytest.mark.parametrize("recompute", [None, "activations"])
def test_the_arena_is_hardly_larger_than_what_is_in_use_at_once(recompute):
    """Within a twentieth, for training steps of networks whose values, gradients and scratch differ in size by far."""
    for name, batch in (("alexnet", 4), ("mobilenet_v2", 2)):
        model = load(name, weights=None, num_classes=2, image_size=128)
        memory = training_session(model, batch, recompute=recompute).memory

        in_use = max(memory.live_bytes(1 + max(block.last for block in memory.blocks.values())))

        assert in_use <= memory.arena_bytes <= 1.05 * in_use


def test_another_order_is_tried_where_the_first_leaves_a_gap():
    """By size 5 lies on 6, 4 below where 6 was, and the 3 finds only 2 between: 14, where 12 are in use at once."""
    requests = [(4 * 64, 3, 4), (5 * 64, 2, 3), (3 * 64, 3, 3), (6 * 64, 1, 2)]

    blocks, arena = place_blocks(requests)

    assert arena == 12 * 64
    assert [(block.size, block.first, block.last) for block in blocks] == requests
    for left, right in itertools.combinations(blocks, 2):
        apart = left.offset + left.size <= right.offset or right.offset + right.size <= left.offset
        assert apart or left.last < right.first or right.last < left.first
