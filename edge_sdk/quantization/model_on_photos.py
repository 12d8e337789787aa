"""Does a model know what it sees: its answers on photos beside what is known of its training."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_sdk.graph import Graph
from edge_sdk.model import INPUT, Model, probabilities
from edge_sdk.ops.norm import BatchNorm
from edge_sdk.quantization.photo_check import Finding
from edge_sdk.session import Session
from edge_sdk.spec import Array, Value

BATCH = 8
ENOUGH = 16
"""Photos, and no fewer, whose answers say something of their kind."""
HALF = 0.5
LOST_ACCURACY = 0.25
"""Below the validation accuracy; more than chance among 16 photos."""
FEWEST_NORMS = 4
OTHER_SPREAD = 0.6
"""Mean |ln(deviation seen / deviation in training)| of a layer's channels, in the median layer. With EfficientNet-Lite0
it is 0.15 on assorted photos, 0.3 on views of a single scene, 0.35 on coins, and 0.9 on noise, 1.6 on dark frames."""


def answers(model: Model, images: Array) -> Array:
    """Return the probabilities (n, classes) of preprocessed images (n, h, w, c)."""
    scores = [model.run(images[first : first + BATCH]) for first in range(0, len(images), BATCH)]
    return np.concatenate([np.stack([probabilities(one) for one in batch]) for batch in scores])


def judge(model: Model, images: Array, labels: Array, right: Array | None) -> list[Finding]:
    """Return what a model's answers on preprocessed images (n, h, w, c) say against these.

    `labels` (n,) are -1 where they are unknown; `right` are the answers (n, classes) on photos that are known to be
    right. With less than 16 photos nothing is said. Compared are:

    - predictions that are all the same class, where the labels do not say that it is so;
    - accuracy with the validation accuracy of the training, where the photos have labels;
    - certainty, from 0 for chance to 1, with half of that on photos that are right, or else with half of the validation
      accuracy, which certainty is seldom below;
    - the spread of what batch norms take in with that of training, unless these came from other photos than the
      trained classifier.
    """
    if len(images) < ENOUGH or model.num_classes < 2:
        return []
    given = answers(model, images)
    validation = _training(model).get("validation_accuracy")
    findings = [*_one_class(model, given, labels), *_accuracy(given, labels, validation)]
    certainty, kind = _certainty(given), "the validation accuracy"
    wanted = None if validation is None else _above_chance(float(validation), model.num_classes)
    if right is not None and len(right) >= ENOUGH:
        wanted, kind = _certainty(right), "the photos the file is measured on"
    if wanted is not None and certainty < HALF * wanted:
        text = (
            f"the model is unsure of the calibration photos: its certainty is {certainty:.0%} above chance, where "
            f"{kind} makes one expect {wanted:.0%}; are they of the kind it was trained on?"
        )
        findings.append(Finding("warning", "confidence", text))
    return findings + _spread(model, images)


def _training(model: Model) -> dict[str, Any]:
    training = model.provenance.get("training")
    return dict(training) if isinstance(training, dict) else {}


def _one_class(model: Model, given: Array, labels: Array) -> list[Finding]:
    predicted = np.unique(given.argmax(axis=1))
    if len(predicted) > 1 or (labels == predicted[0]).all():
        return []
    text = (
        f"the model takes all {len(given)} calibration photos for {model.labels[predicted[0]]!r}; give photos of all "
        "classes it will see"
    )
    return [Finding("warning", "one-class", text)]


def _accuracy(given: Array, labels: Array, validation: float | None) -> list[Finding]:
    if validation is None or (labels < 0).any():
        return []
    found = float((given.argmax(axis=1) == labels).mean())
    if found >= validation - LOST_ACCURACY:
        return []
    text = (
        f"the model recognises {found:.0%} of the calibration photos, but {validation:.0%} in its validation; are they "
        "of the kind it was trained on, in the right folders?"
    )
    return [Finding("warning", "accuracy", text)]


def _above_chance(share: float, classes: int) -> float:
    return (share - 1 / classes) / (1 - 1 / classes)


def _certainty(given: Array) -> float:
    return _above_chance(float(given.max(axis=1).mean()), given.shape[1])


def _spread(model: Model, images: Array) -> list[Finding]:
    settings = _training(model).get("settings")
    frozen = isinstance(settings, dict) and settings.get("freeze") is not None
    norms = [(node.op.epsilon, node.inputs) for node in model.graph.nodes if isinstance(node.op, BatchNorm)]
    if frozen or len(norms) < FEWEST_NORMS:
        return []
    moments = _moments(model, images, tuple(dict.fromkeys(inputs[0] for _, inputs in norms)))
    differences = []
    for epsilon, (x, _, _, _, variance) in norms:
        trained = np.sqrt(model.workspace[variance].astype(np.float64) + epsilon)
        seen = np.sqrt(moments[x] + epsilon)
        differences.append(float(np.abs(np.log(seen / trained)).mean()))
    if np.median(differences) <= OTHER_SPREAD:
        return []
    text = (
        "the calibration photos look unlike those the model was trained on: inside it, numbers spread "
        f"{np.exp(np.median(differences)):.1f} times as much or as little"
    )
    return [Finding("warning", "unlike-training", text)]


def _moments(model: Model, images: Array, watched: tuple[Value, ...]) -> dict[Value, Array]:
    """Return the variance (c,) of values (n, …, c) over all images and pixels."""
    graph = model.graph
    observed = Graph(graph.name, graph.inputs, graph.params, graph.nodes, watched, graph.specs)
    totals = {value: np.zeros((3, graph.specs[value].shape[-1])) for value in watched}
    session: Session | None = None
    for first in range(0, len(images), BATCH):
        batch = images[first : first + BATCH]
        if session is None or session.graph.specs[Value(INPUT)].shape[0] != len(batch):
            session = Session(observed, model.workspace, batch=len(batch))
        for name, array in session.run({INPUT: batch}).items():
            rows = array.reshape(-1, array.shape[-1]).astype(np.float64)
            totals[Value(name)] += np.stack(
                [np.full(rows.shape[1], len(rows)), rows.sum(axis=0), (rows**2).sum(axis=0)]
            )
    return {value: np.maximum(squares / n - (sums / n) ** 2, 0) for value, (n, sums, squares) in totals.items()}
