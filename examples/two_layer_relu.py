"""A two-layer ReLU network that learns two spirals, by a static graph built by hand.

Forward pass, loss, gradients and the optimizer's updates are nodes of one graph. A Session binds it once, and each run
is one training step: `python examples/two_layer_relu.py`.
"""

from __future__ import annotations

import numpy as np

import edge_sdk as edge
from edge_sdk.autodiff import gradient
from edge_sdk.ops.activation import Relu
from edge_sdk.ops.linear import Linear
from edge_sdk.ops.loss import SoftmaxCrossEntropy
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.ops.update import SGDUpdate

HIDDEN, POINTS, STEPS = 64, 400, 300
random = np.random.default_rng(0)

# Two interleaved arms; a point's label says on which one it lies.
label = np.arange(POINTS, dtype=np.int32) % 2
radius = np.linspace(0.1, 1.0, POINTS)
angle = 6 * radius + np.pi * label
x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)

# The program: x (n, 2) → hidden (n, 64) → logits (n, 2) → loss ().
g = edge.Builder("two_layer_relu")
points = g.input("points", edge.Spec((edge.BATCH, 2)))
arm = g.input("arm", edge.Spec((edge.BATCH,), "int32"))
shapes = {"w1": (HIDDEN, 2), "b1": (HIDDEN,), "w2": (2, HIDDEN), "b2": (2,)}
w1, b1, w2, b2 = weights = [g.param(name, edge.Spec(shape)) for name, shape in shapes.items()]
hidden = g.add(Relu(), g.add(Linear(), points, w1, b1), name="hidden")
logits = g.add(Linear(), hidden, w2, b2, name="logits")
loss = g.add(ReduceMean(axes=(0,)), g.add(SoftmaxCrossEntropy(), logits, arm), name="loss")

# Gradients are more nodes; so is the optimizer, whose results replace the weights when a run ends.
rate = g.param("rate", edge.Spec(()))
workspace = edge.Workspace({"rate": np.array(0.1, np.float32)})
for weight, slope in zip(weights, gradient(g, loss, weights), strict=True):
    shape = g.spec(weight).shape
    velocity = g.param(f"{weight}.velocity", edge.Spec(shape))
    results = g.add_multi(SGDUpdate(momentum=0.9), weight, slope, rate, velocity)
    for state, new in zip((weight, velocity), results, strict=True):
        g.update(state, new)
    workspace[weight] = random.normal(0, 1 if len(shape) == 2 else 0, shape).astype(np.float32)
    workspace[velocity] = np.zeros(shape, np.float32)
graph = g.build(loss, logits)

session = edge.Session(graph, workspace, batch=POINTS)
print(graph)
print(session.plan.summary())
for step in range(STEPS + 1):
    result = session.run({"points": x, "arm": label})
    if step % 50 == 0:
        accuracy = np.mean(result["logits"].argmax(axis=1) == label)
        print(f"step {step:4d}  loss {result['loss']:.4f}  accuracy {accuracy:.3f}")
