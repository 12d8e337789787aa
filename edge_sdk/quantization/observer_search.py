"""The first rung of the ladder: which observer suits a network, by what its logits lose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from edge_sdk.graph import Graph
from edge_sdk.model import INPUT, OUTPUT
from edge_sdk.quantization.calibration import statistics
from edge_sdk.quantization.candidate import Candidate, integer_graph, observed_by
from edge_sdk.quantization.observers import OBSERVERS, observer
from edge_sdk.session import Session
from edge_sdk.spec import Array, Value
from edge_sdk.workspace import Workspace

Score = Callable[[Candidate, Iterable[Array]], float]
"""How bad a candidate is on preprocessed images; the smallest wins."""


Program = tuple[Graph, Workspace]


def logits(programs: Sequence[Program], images: Iterable[Array]) -> Iterator[tuple[Array, ...]]:
    """Yield the logits (n, classes) of several graphs for each batch (n, h, w, c) of what their inputs take."""
    sessions: list[Session] = []
    for batch in images:
        if not sessions or sessions[0].graph.specs[Value(INPUT)].shape[0] != len(batch):
            sessions = [Session(graph, workspace, batch=len(batch)) for graph, workspace in programs]
        yield tuple(session.run({INPUT: batch})[OUTPUT].copy() for session in sessions)


def logit_error(candidate: Candidate, images: Iterable[Array]) -> float:
    """Return Σ (integer - float)² / Σ float² over the logits of preprocessed images, each image's mean taken off.

    Probabilities do not change when all logits of an image move together, so that is no error. The integer network is
    the one that is written to the file, run by the Session.
    """
    programs = (candidate.graph, candidate.workspace), integer_graph(candidate, "float32", "float32")
    error, power = 0.0, float(np.finfo(np.float64).tiny)
    for batches in logits(programs, images):
        wanted, found = (x - x.mean(axis=1, keepdims=True, dtype=np.float64) for x in batches)
        error += float(((found - wanted) ** 2).sum())
        power += float((wanted**2).sum())
    return error / power


def search_observer(
    candidate: Candidate,
    images: Iterable[Array],
    score: Score = logit_error,
    observers: Sequence[str] = tuple(OBSERVERS),
) -> Candidate:
    """Return the candidate observed by the observer with the smallest score; of equals, by the first one.

    `images` can be gone through again and again, as CalibrationImages can.

    Raises:
        DataError: there is no image, all pixels are equal, or the network makes numbers that are none.
        UsageError: an unknown observer.
    """
    tried = by_every_observer(candidate, images, observers)
    return min(tried, key=lambda one: score(one, images))


def by_every_observer(
    candidate: Candidate, images: Iterable[Array], observers: Sequence[str] = tuple(OBSERVERS)
) -> list[Candidate]:
    """Return the candidate as each observer leaves it; all of them look at the same run."""
    known = [observer(name) for name in observers]
    histograms = any(one.needs_histogram for one in known)
    seen = statistics(candidate.graph, candidate.workspace, images, histograms)
    schemes = [replace(candidate.scheme, observer=name) for name in observers]
    return [observed_by(replace(candidate, scheme=scheme), seen) for scheme in schemes]
