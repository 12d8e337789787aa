"""A linear probe: how well a linear classifier does on the features of a frozen network."""

from __future__ import annotations

import numpy as np

from edge_sdk.data.dataset import Dataset
from edge_sdk.data.loader import Loader
from edge_sdk.model import INPUT, OUTPUT, Model
from edge_sdk.passes.dead_code import prune
from edge_sdk.passes.pipelines import run_pipeline
from edge_sdk.session import Session
from edge_sdk.spec import Array

STEPS = 1500
BATCH = 16


def features(model: Model, photos: Dataset) -> Array:
    """Return what enters the classifier head, float32 (n, features), for every photo."""
    graph, workspace = run_pipeline("inference", model.graph, model.workspace)
    head = graph.producer(graph.value(OUTPUT))
    before_head = head.inputs[0] if head is not None else graph.value(INPUT)
    session = Session(*prune(graph, workspace, outputs=(before_head,)), model.device, BATCH)
    loader = Loader(photos, model.preprocess, batch_size=BATCH, shuffle=False, drop_last=False)
    return np.concatenate([session.run({INPUT: b.image})[before_head][: b.count] for b in loader.epoch(0)])


def probe_accuracy(
    train: Array, labels: Array, held_out: Array, held_out_labels: Array, penalty: float = 100.0
) -> float:
    """Return the held-out accuracy of multinomial logistic regression on standardised features (n, features).

    It minimises mean cross-entropy + penalty / (2 n) · |w|², by gradient descent with Nesterov's momentum; the step
    follows from the largest eigenvalue of the features' covariance, so that it converges for any features.
    """
    mean, deviation = train.mean(axis=0), train.std(axis=0) + 1e-6
    x, y = ((part - mean) / deviation for part in (train, held_out))
    classes = int(labels.max()) + 1
    decay = penalty / len(x)
    rate = 1.0 / (0.5 * _largest_eigenvalue(x) + decay)
    target = np.eye(classes)[labels]
    w = previous = np.zeros((x.shape[1] + 1, classes))
    x = np.hstack([x, np.ones((len(x), 1))])
    keep = np.ones((x.shape[1], 1))
    keep[-1] = 0  # the bias is not penalised
    for step in range(STEPS):
        ahead = w + step / (step + 3) * (w - previous)
        logits = x @ ahead
        logits -= logits.max(axis=1, keepdims=True)
        probability = np.exp(logits)
        probability /= probability.sum(axis=1, keepdims=True)
        previous, w = w, ahead - rate * (x.T @ (probability - target) / len(x) + decay * keep * ahead)
    predicted = (np.hstack([y, np.ones((len(y), 1))]) @ w).argmax(axis=1)
    return float(np.mean(predicted == held_out_labels))


def _largest_eigenvalue(x: Array) -> float:
    """Of xᵀx / n, by the power method."""
    v = np.ones(x.shape[1])
    for _ in range(50):
        v = x.T @ (x @ v) / len(x)
        size = float(np.linalg.norm(v))
        v /= size
    return size
