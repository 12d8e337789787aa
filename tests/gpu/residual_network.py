"""A small residual network whose batch norms see many numbers, and the gradients of its first step."""

from __future__ import annotations

import numpy as np

from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.preprocess import Preprocess
from edge_sdk.session import Session
from edge_sdk.spec import Array, Value
from edge_sdk.training.loss_scaling import LOSS_SCALE
from edge_sdk.training.optimizers import SGD
from edge_sdk.training.step import training_step

SIDE, CLASSES = 12, 4
FEW, MANY = 4, 32
"""Photos of a batch. Of few only a gate or two lie within a rounding of 0, whose weight is a matter of luck."""
GATES = {
    "head": 0, "c.2": 1, "c.beside": 1, "c.1": 2, "b.2": 3, "b.1": 4, "a.2": 5, "a.1": 6, "stem": 7,
}  # fmt: skip
"""How many activations lie behind each layer, on the longest way to the loss."""
SCALE = 2.0**10
"""Of the loss in float16: what the first step needs, so that none is skipped."""


def residual_network(activation: str) -> Model:
    """A stem and three residual blocks, of which the last halves the image: batch norms see 144 numbers or more."""
    net = Network("residual", (SIDE, SIDE, 3), 0)
    x = net.activation(net.batch_norm(net.conv(net.image, 8, 3, "stem", 1, 1), "stem.norm"), activation)
    for name, width, stride in (("a", 8, 1), ("b", 8, 1), ("c", 16, 2)):
        x = _block(net, x, name, width, stride, activation)
    graph, workspace = net.head(net.global_average_pool(x), CLASSES)
    labels = tuple(f"class {index}" for index in range(CLASSES))
    return Model(graph, workspace, Preprocess((SIDE, SIDE)), labels)


def _block(net: Network, x: Value, name: str, width: int, stride: int, activation: str) -> Value:
    def body(y: Value) -> Value:
        y = net.activation(net.batch_norm(net.conv(y, width, 3, f"{name}.1", stride, 1), f"{name}.norm1"), activation)
        return net.batch_norm(net.conv(y, width, 3, f"{name}.2", 1, 1), f"{name}.norm2")

    def projection(y: Value) -> Value:
        return net.batch_norm(net.conv(y, width, 1, f"{name}.beside", stride, 0), f"{name}.beside_norm")

    return net.residual(x, body, projection if stride > 1 else None, activation)


def session_of(precision: str, device: str, activation: str = "relu", batch: int = FEW) -> Session:
    """A training step as device "gpu" takes it, run there or by the naive kernels."""
    step = training_step(residual_network(activation), SGD(), learning_rate=0.05, precision=precision, device="gpu")
    if precision == "fp16":
        step.workspace[LOSS_SCALE] = np.asarray(SCALE, np.float32)
    return Session(step.graph, step.workspace, device, batch)


def feeds(batch: int = FEW) -> dict[str, Array]:
    """Noise, with labels."""
    random = np.random.default_rng(3)
    image = random.standard_normal((batch, SIDE, SIDE, 3), np.float32)
    return {"image": image, "label": random.integers(0, CLASSES, batch).astype(np.int32)}


def first_steps(session: Session, steps: int) -> tuple[Array, dict[str, Array]]:
    """The loss of each step on one batch, and the gradients of the first, which are what momentum begins with."""
    photos, ending = feeds(session.graph.specs["image"].shape[0]), ":velocity"
    losses = [float(session.run(photos)["loss"])]
    names = [name for name in session.graph.params if name.endswith(f".weight{ending}")]
    gradients = {name.removesuffix(ending): session.workspace[name].astype(np.float64) for name in names}
    losses += [float(session.run(photos)["loss"]) for _ in range(steps - 1)]
    return np.array(losses), gradients
