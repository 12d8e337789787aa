"""Several processes that train one network: gradients that they average, in a few buckets, each as soon as the last of
its gradients is there; running statistics, which they have from one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_sdk.builder import Builder
from edge_sdk.ops.communication import FinishMean, StartMean
from edge_sdk.parallel.communicator import Communicator
from edge_sdk.spec import Value
from edge_sdk.training.frozen import learnable

if TYPE_CHECKING:
    from edge_sdk.training.step import TrainingStep

BUCKETS = 3
"""Fewer wait longer for their last gradient, more pay more often for meeting."""


def mean_over_processes(g: Builder, gradients: Sequence[Value], buckets: int = BUCKETS) -> list[Value]:
    """Return the means of gradients over all processes; each bucket has about as many bytes as the others.

    They go into buckets in the order in which they are computed, from the last layer to the first. The means are begun
    with at the end of the graph here, and moved up by `start_early`.
    """
    place = {value: index for index, node in enumerate(g.nodes) for value in node.outputs}
    distinct = sorted(dict.fromkeys(gradients), key=lambda value: place.get(value, -1))
    ends = np.cumsum([g.spec(value).bytes for value in distinct])
    means: dict[Value, Value] = {}
    for bucket in range(buckets):
        low, high = ends[-1] * bucket / buckets, ends[-1] * (bucket + 1) / buckets
        members = [value for value, end in zip(distinct, ends, strict=True) if low < end <= high]
        for dtype in dict.fromkeys(g.spec(value).dtype for value in members):
            alike = [value for value in members if g.spec(value).dtype == dtype]
            begun = g.add_multi(StartMean(), *alike, name=f"mean{bucket}:begun")
            means.update(zip(alike, g.add_multi(FinishMean(), *begun, name=f"mean{bucket}"), strict=True))
    return [means[value] for value in gradients]


def take_statistics_of_first(step: TrainingStep, communicator: Communicator) -> None:
    """Let all processes go on with the running statistics of the first one.

    Weights are the same in all of them, since they step by the same gradients; statistics are of the rows that each has
    seen. Afterwards every process has the same model.
    """
    if communicator.size == 1:
        return
    trained = set(learnable(step.model.graph))
    for name in step.model.graph.params:
        if name in step.graph.updates and name not in trained:
            array = step.workspace[name]
            first = np.array(array, order="C")
            communicator.broadcast_(first)
            if communicator.rank:
                array[...] = first
                step.workspace[name] = array  # assigned, so that devices take note
