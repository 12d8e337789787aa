"""Networks that are hard to quantize: channels whose ranges are 1000 : 1 apart, and the same function as before."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.data.split import split_dataset
from edge_sdk.model import OUTPUT, Model
from edge_sdk.nn import Network
from edge_sdk.preprocess import Preprocess
from edge_sdk.pretrained.linear_probe import features
from edge_sdk.pretrained.solar_cells import LABELS, block_of, load_solar_cells
from edge_sdk.pretrained.zoo import load
from edge_sdk.quantization.candidate import Candidate, integer_graph
from edge_sdk.quantization.channel_groups import channel_groups
from edge_sdk.quantization.equalization import rescale
from edge_sdk.quantization.layer_outputs import outputs_of
from edge_sdk.spec import Array, Value

SIDE = 48
SPREAD = 3.0  # decades between the smallest and the largest factor of a layer's channels


@dataclass(frozen=True)
class Cells:
    """A classifier of solar cells with a fitted head, and photos: to calibrate on, and preprocessed ones to test on."""

    model: Model
    training: ArrayDataset
    held_out: ArrayDataset

    @cached_property
    def calibration(self) -> tuple[Array, ...]:
        """The photos to calibrate on, preprocessed."""
        return _images(self.training, self.model.preprocess)

    @cached_property
    def tested(self) -> tuple[Array, ...]:
        """The photos that are held out, preprocessed."""
        return _images(self.held_out, self.model.preprocess)

    @property
    def labels(self) -> Array:
        """Of the photos that are held out."""
        return np.array(self.held_out.indices)

    @property
    def chance(self) -> float:
        """How often the commonest answer is right."""
        return float(np.bincount(self.labels).max() / len(self.labels))

    def accuracy(self, logits: Array) -> float:
        """Return the share of held-out photos that are answered right."""
        return float(np.mean(logits.argmax(axis=1) == self.labels))

    def floats(self, candidate: Candidate) -> Array:
        """Return the logits of the float network."""
        return _logits(candidate.graph, candidate.workspace, self.tested)

    def integers(self, candidate: Candidate) -> Array:
        """Return the logits of the integer network."""
        return _logits(*integer_graph(candidate, "float32"), self.tested)


def solar_cells(every: int = 4) -> Cells:
    """Fit the head of a network of convolutions with fixed weights on one block of photos in `every`."""
    return _fitted(_network(), every)


def real_cells(every: int = 4) -> Cells:
    """Fit the head of EfficientNet-Lite0 with its ImageNet weights on one block of photos in `every`."""
    model = load("efficientnet_lite0", "imagenet", len(LABELS), labels=LABELS)
    return _fitted(model.replace(preprocess=dataclasses.replace(model.preprocess, resize=None)), every)


def _fitted(model: Model, every: int) -> Cells:
    photos = load_solar_cells()
    chosen = [index for index, name in enumerate(photos.names) if int(block_of(name)) % every == 0]
    some = photos.select(chosen)
    pixels = np.stack([model.preprocess.crop(photos.photo(index)) for index in chosen])
    photos = ArrayDataset.of(pixels, some.indices, some.labels, some.names)
    training, held_out = split_dataset(photos, 0.4, 0, block_of)
    arrays = model.workspace.copy()
    arrays["head.weight"], arrays["head.bias"] = _ridge(features(model, training), np.array(training.indices))
    return Cells(model.replace(workspace=arrays), training, held_out)


def hard_model(model: Model, seed: int = 0) -> Model:
    """Return a model's function with every channel that can be rescaled multiplied by a factor of its own.

    The limit of each ReLU6 becomes a number for each channel.
    """
    candidate = Candidate(*model.inference, model.preprocess, None)
    groups, random = channel_groups(candidate.graph), np.random.default_rng(seed)
    factors = [10 ** random.uniform(-SPREAD / 2, SPREAD / 2, group.channels) for group in groups]
    found = rescale(candidate, groups, factors)
    return model.replace(graph=found.graph, workspace=found.workspace)


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
