"""The part of a network that does not train, cut off and brought to its fastest form."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import platform
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edge_sdk.batching import piece_size
from edge_sdk.errors import GraphError
from edge_sdk.graph import Graph
from edge_sdk.passes.freeze import split_at_frozen
from edge_sdk.passes.pipelines import run_pipeline
from edge_sdk.serialize import graph_to_json
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, Spec, Value
from edge_sdk.training.step import TrainingForward
from edge_sdk.workspace import Workspace

LEAST_PHOTOS, MOST_PHOTOS = 8, 32
"""At a time: as many as fit the cache, but not so few that the threads that decode hold up each of its loops."""


@dataclass(frozen=True)
class FrozenPart:
    """What computes the features `specs` (each (n, …)) of a photo, and `rest`, which trains on them."""

    graph: Graph
    workspace: Workspace
    specs: dict[Value, Spec]
    rest: TrainingForward
    precise: bool = False

    def session(self) -> Session:
        """Bind what computes the features of one block of photos."""
        return Session(self.graph, self.workspace, self.device, self.block, precise=self.precise)

    @property
    def device(self) -> str:
        """Where it is computed."""
        return self.rest.model.device

    @property
    def row_bytes(self) -> int:
        """Bytes of the features of one photo."""
        return sum(bytes_of(spec) for spec in self.specs.values())

    @cached_property
    def block(self) -> int:
        """How many photos are computed at a time."""
        return max(LEAST_PHOTOS, piece_size(self.graph, MOST_PHOTOS, self.device))

    def digest(self) -> str:
        """Return a SHA-256 of all that decides the features of given pixels."""
        from edge_sdk import __version__

        known = (__version__, platform.machine(), graph_to_json(self.graph), self.workspace.digest())
        kernels = (str(self.block), str(self.precise), *(() if self.device == "cpu" else (self.device,)))
        return hashlib.sha256("\0".join((*known, *kernels)).encode()).hexdigest()


def bytes_of(spec: Spec) -> int:
    """Bytes of one photo's feature of this spec (n, …)."""
    return math.prod(spec.shape[1:]) * np.dtype(spec.numpy_dtype).itemsize


def cut_off_frozen(forward: TrainingForward, *, precise: bool = False) -> FrozenPart | None:
    """Cut a network in training form where training begins; None where nothing frozen comes before that.

    The rest must read nothing but features, one row a photo: a network that shows the photo itself to a layer that
    trains is not cut. `precise` is the Session's.
    """
    fixed = {v for v in forward.graph.params if v not in forward.trained and v not in forward.graph.updates}
    try:
        first, (rest, workspace) = split_at_frozen(forward.graph, forward.workspace, frozen=fixed)
    except GraphError:
        return None
    cut = first[0].outputs
    if rest.inputs != cut or any(not rest.specs[v].shape or rest.specs[v].shape[0] != BATCH for v in cut):
        return None
    graph, arrays = run_pipeline("execution", *run_pipeline("inference", *first))
    part = dataclasses.replace(forward, graph=rest, workspace=workspace)
    return FrozenPart(graph, arrays, {value: rest.specs[value] for value in cut}, part, precise)
