"""The first rung of the ladder: which observer suits a network, by what its logits lose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from edge_sdk.graph import Graph
from edge_sdk.model import OUTPUT
from edge_sdk.quantization.calibration import statistics
from edge_sdk.quantization.candidate import Candidate, integer_graph, observed_by
from edge_sdk.quantization.layer_outputs import outputs_of
from edge_sdk.quantization.observers import OBSERVERS, observer
from edge_sdk.spec import Array, Value
from edge_sdk.workspace import Workspace

Score = Callable[[Candidate, Iterable[Array]], float]
"""How bad a candidate is on preprocessed images; the smallest wins."""


class LogitError:
    """How far the logits of integer graphs are from a float network's on the same images, which is run once."""

    def __init__(self, candidate: Candidate, images: Iterable[Array]) -> None:
        """Take the float network of a candidate, and preprocessed images that can be gone through again."""
        self._images = images
        self._wanted = list(_centred_logits(candidate.graph, candidate.floats, images))

    def __call__(self, candidate: Candidate) -> float:
        """Return Σ (integer - float)² / Σ float² over the logits, each image's mean taken off.

        Probabilities do not change when all logits of an image move together, so that is no error. The integer network
        is the one that is written to the file, run by the Session.
        """
        error, power = 0.0, float(np.finfo(np.float64).tiny)
        batches = _centred_logits(*integer_graph(candidate, "float32", "float32"), self._images)
        for found, wanted in zip(batches, self._wanted, strict=True):
            error += float(((found - wanted) ** 2).sum())
            power += float((wanted**2).sum())
        return error / power


def logit_error(candidate: Candidate, images: Iterable[Array]) -> float:
    """Return how far the logits of a candidate's integers are from those of its float network (`LogitError`)."""
    return LogitError(candidate, images)(candidate)


def search_observer(
    candidate: Candidate,
    images: Iterable[Array],
    score: Score | None = None,
    observers: Sequence[str] = tuple(OBSERVERS),
) -> Candidate:
    """Return the candidate observed by the observer with the smallest score; of equals, by the first one.

    The score is the error of the logits (`LogitError`) if none is given. `images` can be gone through again and again,
    as CalibrationImages can.

    Raises:
        DataError: there is no image, all pixels are equal, or the network makes numbers that are none.
        UsageError: an unknown observer.
    """
    tried = by_every_observer(candidate, images, observers)
    if score is None:
        return min(tried, key=LogitError(candidate, images))
    return min(tried, key=lambda one: score(one, images))


def by_every_observer(
    candidate: Candidate, images: Iterable[Array], observers: Sequence[str] = tuple(OBSERVERS)
) -> list[Candidate]:
    """Return the candidate as each observer leaves it; all of them look at the same run."""
    known = [observer(name) for name in observers]
    histograms = any(one.needs_histogram for one in known)
    seen = statistics(candidate.graph, candidate.floats, images, histograms)
    schemes = [replace(candidate.scheme, observer=name) for name in observers]
    return [observed_by(replace(candidate, scheme=scheme), seen) for scheme in schemes]


def _centred_logits(graph: Graph, workspace: Workspace, images: Iterable[Array]) -> Iterator[Array]:
    """Yield the logits (n, classes) of each batch, float64, each image's mean taken off."""
    for batch in outputs_of(graph, workspace, [Value(OUTPUT)], images):
        found = batch[Value(OUTPUT)].astype(np.float64)
        yield found - found.mean(axis=1, keepdims=True)
