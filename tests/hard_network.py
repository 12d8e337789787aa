"""A network that is hard to quantize: channels whose ranges are 1000 : 1 apart, and the same function as before."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np

from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.data.split import split_dataset
from edge_sdk.model import OUTPUT, Model
from edge_sdk.nn import Network
from edge_sdk.preprocess import Preprocess
from edge_sdk.pretrained.linear_probe import features
from edge_sdk.pretrained.solar_cells import LABELS, block_of, load_solar_cells
from edge_sdk.quantization.candidate import Candidate, integer_graph
from edge_sdk.quantization.layer_outputs import outputs_of
from edge_sdk.spec import Array, Value

SIDE = 48
SPREAD = 3.0  # decades between the smallest and the largest factor of a layer's channels


@dataclass(frozen=True)
class Cells:
    """A classifier of solar cells with a fitted head, and preprocessed photos: to calibrate on, and to test on."""

    model: Model
    calibration: tuple[Array, ...]
    held_out: tuple[Array, ...]
    labels: Array

    def accuracy(self, logits: Array) -> float:
        """Return the share of held-out photos that are answered right."""
        return float(np.mean(logits.argmax(axis=1) == self.labels))

    def floats(self, candidate: Candidate) -> Array:
        """Return the logits of the float network."""
        return _logits(candidate.graph, candidate.workspace, self.held_out)

    def integers(self, candidate: Candidate) -> Array:
        """Return the logits of the integer network."""
        return _logits(*integer_graph(candidate, "float32"), self.held_out)


def solar_cells(every: int = 4) -> Cells:
    """Fit the head of a network of convolutions with fixed weights on one block of photos in `every`."""
    model = _network()
    photos = load_solar_cells()
    chosen = [index for index, name in enumerate(photos.names) if int(block_of(name)) % every == 0]
    some = photos.select(chosen)
    pixels = np.stack([model.preprocess.crop(photos.photo(index)) for index in chosen])
    photos = ArrayDataset.of(pixels, some.indices, some.labels, some.names)
    training, held_out = split_dataset(photos, 0.4, 0, block_of)
    arrays = model.workspace.copy()
    arrays["head.weight"], arrays["head.bias"] = _ridge(features(model, training), np.array(training.indices))
    x, y = (_images(part, model.preprocess) for part in (training, held_out))
    return Cells(model.replace(workspace=arrays), x, y, np.array(held_out.indices))


def rescaled(candidate: Candidate, seed: int = 0) -> Candidate:
    """Multiply each hidden channel by a factor, and divide by it where the next layer reads it.

    Every layer of this network is read by the next one alone, through a ReLU or a mean over pixels; depthwise weights
    are (1, r, s, k), the others have their outputs first and their inputs last.
    """
    random = np.random.default_rng(seed)
    arrays = candidate.workspace.copy()
    layers = [node for node in candidate.graph.nodes if len(node.inputs) == 3]
    for writer, reader in itertools.pairwise(layers):
        weight, bias, read = writer.inputs[1], writer.inputs[2], reader.inputs[1]
        factors = 10 ** random.uniform(-SPREAD / 2, SPREAD / 2, len(arrays[bias])).astype(np.float32)
        outputs_last = writer.op.name == "depthwise_conv2d"
        arrays[weight] = arrays[weight] * (factors if outputs_last else factors.reshape(-1, 1, 1, 1))
        arrays[bias] = arrays[bias] * factors
        arrays[read] = arrays[read] / factors
    return dataclasses.replace(candidate, workspace=arrays)


def _network() -> Model:
    net = Network("cells", (SIDE, SIDE, 3), 0)
    x = net.activation(net.conv(net.image, 24, 5, "stem", 2, bias=True), "relu")
    for index, (channels, stride) in enumerate(((48, 2), (96, 2))):
        x = net.activation(net.depthwise(x, 3, f"block{index}.depthwise", stride, bias=True), "relu")
        x = net.activation(net.conv(x, channels, 1, f"block{index}.pointwise", bias=True), "relu")
    graph, workspace = net.head(net.global_average_pool(x), len(LABELS))
    preprocess = Preprocess((SIDE, SIDE), mean=(127.0,) * 3, std=(64.0,) * 3)
    return Model(graph, workspace, preprocess, LABELS, {"architecture": "cells"})


def _ridge(x: Array, labels: Array) -> tuple[Array, Array]:
    """The head (classes, features) and its bias with the smallest square error, penalised."""
    mean, wanted = x.mean(axis=0), np.eye(len(LABELS))[labels]
    centred = x.astype(np.float64) - mean
    penalty = 0.03 * np.trace(centred.T @ centred) / x.shape[1] * np.eye(x.shape[1])
    head = np.linalg.solve(centred.T @ centred + penalty, centred.T @ (wanted - wanted.mean(axis=0)))
    return head.T.astype(np.float32), (wanted.mean(axis=0) - mean @ head).astype(np.float32)


def _images(photos: ArrayDataset, preprocess: Preprocess, batch: int = 32) -> tuple[Array, ...]:
    images = np.stack([preprocess(photos.photo(index)) for index in range(len(photos))])
    return tuple(images[start : start + batch] for start in range(0, len(images), batch))


def _logits(graph, workspace, images: tuple[Array, ...]) -> Array:
    return np.concatenate([batch[Value(OUTPUT)] for batch in outputs_of(graph, workspace, [Value(OUTPUT)], images)])
