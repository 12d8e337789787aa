"""Model: a graph, its weights, how to feed it and what its outputs mean."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np

from edge_sdk.errors import GraphError, ShapeError
from edge_sdk.graph import Graph
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import FLOATS, Array
from edge_sdk.workspace import Workspace

if TYPE_CHECKING:
    from edge_sdk.data.images import Photo
    from edge_sdk.session import Session

INPUT = "image"
OUTPUT = "logits"
HEAD = "head."
"""Prefix of the classifier's parameters: what `freeze="backbone"` leaves trainable."""

Ranking = list[tuple[str, float]]


@dataclass(frozen=True, eq=False)
class Model:
    """An image classifier. The graph is in inference form, from `image` (n, h, w, c) to `logits` (n, classes).

    `labels` are in the order of the logits. `provenance` says where the model comes from: architecture, source and
    hash of the weights, versions, seed, data. `autotune` and `device` are what its Sessions are bound with, and are not
    saved.
    """

    graph: Graph
    workspace: Workspace
    preprocess: Preprocess
    labels: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    autotune: bool | None = field(default=None, kw_only=True)
    device: str = field(default="cpu", kw_only=True)

    def __post_init__(self) -> None:
        if INPUT not in self.graph.inputs or OUTPUT not in self.graph.outputs:
            raise GraphError(
                f"a model's graph has an input {INPUT!r} and an output {OUTPUT!r}; {self.graph.name!r} lacks one"
            )
        image, logits = self.graph.specs[self.graph.value(INPUT)], self.graph.specs[self.graph.value(OUTPUT)]
        if image.shape[1:] != self.preprocess.shape:
            raise ShapeError(
                f"the graph takes {image}, but preprocessing makes photos of {list(self.preprocess.shape)}"
            )
        if logits.shape[-1] != len(self.labels):
            raise ShapeError(f"the graph's logits are {logits}, but there are {len(self.labels)} labels")
        self.workspace.check(self.graph)

    def __repr__(self) -> str:
        height, width, channels = self.preprocess.shape
        return f"<Model {self.name}: {height}×{width}×{channels} → {self.num_classes} classes>"

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.labels)

    @property
    def name(self) -> str:
        """The architecture's name where it is known, else the graph's."""
        return str(self.provenance.get("architecture", self.graph.name))

    def run(self, x: Array, *, precise: bool | None = None, threads: int | None = None) -> Array:
        """Return the logits (n, classes) of preprocessed float32 images (n, h, w, c).

        `precise` is the Session's. `threads` compute, or as many as `edge_sdk.get_threads` says.
        """
        return self.start(x, precise=precise, threads=threads)()

    def start(self, x: Array, *, precise: bool | None = None, threads: int | None = None) -> Callable[[], Array]:
        """Launch what `run` does, and return what waits for the logits: `Session.start`.

        A GPU computes while the caller goes on, and may launch `runs_ahead` more without waiting for anything.
        """
        wanted = self.graph.specs[self.graph.value(INPUT)]
        if x.ndim != 4 or x.shape[1:] != wanted.shape[1:]:
            raise ShapeError(f"run takes {wanted}, got {x.dtype}{list(x.shape)}; photos go to predict()")
        if wanted.dtype in FLOATS and x.dtype.kind != "f":
            raise ShapeError(f"run takes {wanted}, got {x.dtype}: pixels as they are, before preprocess.normalise()")
        if not len(x):
            return lambda: np.zeros((0, self.num_classes), np.float32)
        size = self._piece_sizes.get(len(x)) or self._piece_sizes.setdefault(len(x), self._piece_size(len(x)))
        pieces = [x[first : first + size] for first in range(0, len(x), size)]
        sessions = [self._session(len(piece), precise, threads) for piece in pieces]
        started = [session.start({INPUT: piece}) for session, piece in zip(sessions, pieces, strict=True)]
        if len(started) == 1:
            return lambda: started[0]()[OUTPUT]
        return lambda: np.concatenate([outputs()[OUTPUT] for outputs in started])

    @property
    def runs_ahead(self) -> int:
        """How many runs can be started before logits are asked for, so that the device never stands idle."""
        from edge_sdk.device_memory import memory_of

        return memory_of(self.device).runs_ahead

    @overload
    def predict(self, photo: Photo, top: int = 5) -> Ranking: ...  # type: ignore[overload-overlap] # a text is no list
    @overload
    def predict(self, photo: Sequence[Photo], top: int = 5) -> list[Ranking]: ...
    def predict(self, photo: Photo | Sequence[Photo], top: int = 5) -> Ranking | list[Ranking]:
        """Return the `top` most probable (label, probability) pairs, best first.

        `photo` is a path, a PIL image or a uint8 array (h, w, c); a list of them gives a list of rankings.
        """
        if isinstance(photo, list | tuple):
            return [self.predict(cast("Photo", one), top) for one in photo]
        logits = self.run(self.preprocess(cast("Photo", photo))[np.newaxis])[0]
        return rank(softmax(logits), self.labels, top)

    def save(self, path: Path | str) -> None:
        """Write the model to one `.edge` file, whole or not at all; raises UsageError for a name such as m.tflite."""
        from edge_sdk.edge_file import save

        save(self, path)

    def replace(self, **changes: Any) -> Model:
        """Return a model with some fields exchanged."""
        return dataclasses.replace(self, **changes)

    def with_labels(self, labels: Sequence[str], seed: int = 0) -> Model:
        """Return the model for other classes: the classifier starts anew by `seed`, all else is the same arrays."""
        from edge_sdk.new_head import with_labels

        return with_labels(self, labels, seed)

    @cached_property
    def inference(self) -> tuple[Graph, Workspace]:
        """The graph folded and fused for inference, with its weights."""
        from edge_sdk.passes.pipelines import run_pipeline

        return run_pipeline("inference", self.graph, self.workspace)

    @cached_property
    def execution(self) -> tuple[Graph, Workspace]:
        """`inference` with what only our own kernels can do in one: what `run` executes."""
        from edge_sdk.passes.pipelines import run_pipeline

        return run_pipeline("execution", *self.inference)

    @cached_property
    def _sessions(self) -> dict[tuple[int, bool, int], Session]:
        return {}

    @cached_property
    def _piece_sizes(self) -> dict[int, int]:
        return {}

    def _piece_size(self, batch: int) -> int:
        from edge_sdk.batching import piece_size

        return piece_size(self.execution[0], batch, self.device)

    @cached_property
    def _binding(self) -> threading.Lock:
        return threading.Lock()

    def _session(self, batch: int, precise: bool | None = None, threads: int | None = None) -> Session:
        """A Session for this batch size. One other size is kept, for the rest at the end of a data set."""
        from edge_sdk.kernel import precise_by_default
        from edge_sdk.session import Session
        from edge_sdk.threads import checked_threads

        key = batch, precise_by_default() if precise is None else precise, checked_threads(threads, "run")
        with self._binding:
            if key not in self._sessions:
                while len(self._sessions) >= 2:
                    self._sessions.pop(next(iter(self._sessions)))
                self._sessions[key] = Session(
                    *self.execution, self.device, batch, autotune=self.autotune, precise=key[1], threads=key[2]
                )
            return self._sessions[key]


def softmax(logits: Array) -> Array:
    """Probabilities along the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def probabilities(scores: Array) -> Array:
    """Scores as probabilities: unchanged where they are some already, as an exported file's may be."""
    already = scores.min() >= 0 and abs(float(scores.sum()) - 1) < 0.02
    return scores if already else softmax(scores)


def rank(scores: Array, labels: Sequence[str], top: int) -> Ranking:
    """The `top` best (label, score) pairs; equal scores keep label order."""
    order = np.argsort(-scores, kind="stable")[: max(0, top)]
    return [(labels[index], float(scores[index])) for index in order]
