"""How much a network would miss each of its channels: by the loss on labelled photos, or by the weights alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from edge_sdk.autodiff import gradient
from edge_sdk.builder import Builder
from edge_sdk.compression.coupled_channels import CoupledChannels, is_writer, readers
from edge_sdk.graph import Graph
from edge_sdk.model import INPUT, OUTPUT, Model
from edge_sdk.ops.elementwise import Mul
from edge_sdk.ops.loss import SoftmaxCrossEntropy
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.ops.reduce import ReduceMean, ReduceSum
from edge_sdk.passes.dead_code import prune
from edge_sdk.passes.rewrite import only_consumer
from edge_sdk.session import Session
from edge_sdk.spec import Array, Spec, Value
from edge_sdk.training.step import LABEL
from edge_sdk.workspace import Workspace

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset

BATCH_PHOTOS = 16
MOST_BATCHES = 16
"""256 photos, spread over the data set."""


def by_loss(model: Model, coupled: CoupledChannels, photos: Dataset) -> Array:
    """Return how much the loss on labelled photos would change, to first order, without each channel, (channels,).

    (Σ g · w)² over all weights that read the channel, g the gradient of the mean cross-entropy, averaged over batches:
    without a channel these weights might as well be 0 (Molchanov et al. 2019, "Importance estimation for neural network
    pruning", equation 8, for a set of weights). Scores of different layers are in the same unit, that of the loss.

    Raises:
        DataError: no photo can be read.
    """
    from edge_sdk.data.loader import Loader

    size = min(BATCH_PHOTOS, len(photos))
    loader = Loader(photos, model.preprocess, batch_size=size, shuffle=True, seed=0, drop_last=True)
    batches = loader.epoch(0, 0)
    try:
        pairs = ((batch.image, batch.label) for batch in itertools.islice(batches, MOST_BATCHES))
        return taylor_scores(model.graph, model.workspace, coupled, pairs)
    finally:
        batches.close()


def taylor_scores(
    graph: Graph, workspace: Workspace, coupled: CoupledChannels, batches: Iterable[tuple[Array, Array]]
) -> Array:
    """Return the scores of `by_loss` from batches (images (n, h, w, c), labels (n,)) of one size."""
    needed, _ = prune(graph, workspace, outputs=(OUTPUT,))
    read = [(weight, axis) for weight, axis in readers(graph, coupled) if weight in needed.params]
    g = Builder.extend(needed, name=f"{graph.name}_importance")
    label = g.input(LABEL, Spec(g.spec(Value(OUTPUT)).shape[:1], "int32"))
    loss = g.add(ReduceMean(axes=(0,)), g.add(SoftmaxCrossEntropy(), Value(OUTPUT), label), name="importance.loss")
    slopes = gradient(g, loss, [weight for weight, _ in read])
    sums = []
    for (weight, axis), slope in zip(read, slopes, strict=True):
        others = tuple(one for one in range(g.spec(weight).rank) if one != axis)
        sums.append(g.add(ReduceSum(axes=others), g.add(Mul(), slope, weight), name=f"{weight}.change"))
    finished = g.build(*sums)
    scores, count, session = np.zeros(coupled.count), 0, None
    for images, labels in batches:
        session = session or Session(finished, workspace.restricted(finished), batch=len(images))
        found = session.run({INPUT: images, LABEL: labels})
        change = np.zeros(coupled.count)
        for (weight, axis), value in zip(read, sums, strict=True):
            np.add.at(change, coupled.places[weight][axis], found[value].astype(np.float64))
        scores, count = scores + change**2, count + 1
    return scores / max(count, 1)


def by_magnitude(graph: Graph, workspace: Workspace, coupled: CoupledChannels) -> Array:
    """Return the place of each channel among those of its layers, by their filters' absolute sums, from 0 to 1.

    Filters are taken as they are with the batch norm behind them folded in (Li et al. 2017, "Pruning filters for
    efficient ConvNets"); of layers whose channels are coupled, the sums are added, each in units of its mean. Sums of
    different layers say nothing of one another, so each loses the same share.
    """
    sums = np.zeros(coupled.count)
    for node in graph.nodes:
        if not is_writer(graph, node):
            continue
        weight = np.asarray(workspace[node.inputs[1]], np.float64)
        filters = np.abs(weight).reshape(len(weight), -1).sum(axis=1)
        behind = only_consumer(graph, node.outputs[0])
        if behind is not None and isinstance(behind.op, BatchNorm):
            scale, variance = (np.asarray(workspace[behind.inputs[index]], np.float64) for index in (1, 4))
            filters = filters * np.abs(scale) / np.sqrt(variance + behind.op.epsilon)
        np.add.at(sums, coupled.places[node.inputs[1]][0], filters / max(float(filters.mean()), 1e-30))
    places = np.zeros(coupled.count)
    for group in coupled.groups:
        order = np.argsort(sums[group.channels], kind="stable")
        places[group.channels[order]] = np.arange(1, len(order) + 1) / len(order)
    return places
