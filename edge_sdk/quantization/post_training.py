"""Post-training quantization: a trained Model and photos of its kind give an 8-bit one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, cast, overload

import numpy as np

from edge_sdk.errors import ShapeError, UsageError
from edge_sdk.graph import Graph
from edge_sdk.model import INPUT, OUTPUT, Model, Ranking, probabilities, rank
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.calibration import CalibrationImages
from edge_sdk.quantization.candidate import integer_graph, observe, prepare
from edge_sdk.quantization.int8 import EdgeType
from edge_sdk.quantization.profile import DEFAULT as DEFAULT_PROFILE
from edge_sdk.quantization.profile import Profile
from edge_sdk.quantization.rounded_model import candidate_of, profile_of, rounds
from edge_sdk.quantization.scheme import DEFAULT, Scheme
from edge_sdk.spec import Array, Spec
from edge_sdk.workspace import Workspace

if TYPE_CHECKING:
    from edge_sdk.data.images import Photo
    from edge_sdk.data.source import PhotoSource
    from edge_sdk.session import Session

KEPT_SESSIONS = 2
"""Batch sizes that stay bound: the usual one and that of the rest at the end of a data set."""


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """A classifier on 8-bit numbers: int8 activations and weights, int32 sums.

    It computes what the exported int8 file does, bit for bit, by the arithmetic of the mobile runtime: `profile` says
    which of its sets of kernels is meant (edge_sdk/quantization/profile.py). The graph goes from `image`, uint8 pixels
    or float32 as it was quantized for, to `logits`. `device` computes, the same bits on each; it is not saved.
    """

    graph: Graph
    workspace: Workspace
    preprocess: Preprocess
    labels: tuple[str, ...]
    profile: Profile = DEFAULT_PROFILE
    device: str = field(default="cpu", kw_only=True)

    def __repr__(self) -> str:
        height, width, channels = self.preprocess.shape
        return f"<QuantizedModel {self.graph.name}: {height}×{width}×{channels} → {len(self.labels)} classes>"

    def run(self, x: Array) -> Array:
        """Return the logits (n, classes), float32, of images (n, h, w, c): uint8 pixels, or preprocessed float32.

        Where the graph takes pixels, the normalisation of preprocessed images is undone, which is exact for what
        `preprocess` makes.
        """
        wanted = self.graph.specs[self.graph.value(INPUT)]
        if x.ndim != 4 or x.shape[1:] != wanted.shape[1:]:
            raise ShapeError(f"run takes {wanted}, got {x.dtype}{list(x.shape)}; photos go to predict()")
        if not len(x):
            return np.zeros((0, len(self.labels)), np.float32)
        stored = self._session(len(x)).run({INPUT: self._as_input(x, wanted)})[OUTPUT]
        quant = self.graph.specs[self.graph.value(OUTPUT)].quant
        if quant is None:
            return stored
        real = (stored.astype(np.float32) - np.float32(quant.zero_point[0])) * np.float32(quant.scale[0])
        return np.asarray(real, np.float32)

    @overload
    def predict(self, photo: Photo, top: int = 5) -> Ranking: ...  # type: ignore[overload-overlap] # a text is no list
    @overload
    def predict(self, photo: Sequence[Photo], top: int = 5) -> list[Ranking]: ...
    def predict(self, photo: Photo | Sequence[Photo], top: int = 5) -> Ranking | list[Ranking]:
        """Return the `top` most probable (label, probability) pairs, best first; a list of photos gives a list."""
        if isinstance(photo, list | tuple):
            return [self.predict(cast("Photo", one), top) for one in photo]
        scores = self.run(self.preprocess(cast("Photo", photo))[np.newaxis])[0]
        return rank(probabilities(scores), self.labels, top)

    def _as_input(self, x: Array, wanted: Spec) -> Array:
        if x.dtype.name == wanted.dtype:
            return x
        if x.dtype.kind == "f" and wanted.dtype == "uint8":
            rule = self.preprocess
            pixels = np.rint(x * np.asarray(rule.std, np.float32) + np.asarray(rule.mean, np.float32))
            return np.asarray(np.clip(pixels, 0, 255), np.uint8)
        if x.dtype.kind == "f":
            return x.astype(np.float32)
        raise ShapeError(f"run takes {wanted}, got {x.dtype}{list(x.shape)}; preprocess it first")

    @cached_property
    def _sessions(self) -> dict[int, Session]:
        return {}

    @cached_property
    def _binding(self) -> threading.Lock:
        return threading.Lock()

    def _session(self, batch: int) -> Session:
        from edge_sdk.session import Session

        with self._binding:
            if batch not in self._sessions:
                while len(self._sessions) >= KEPT_SESSIONS:
                    self._sessions.pop(next(iter(self._sessions)))
                self._sessions[batch] = Session(self.graph, self.workspace, self.device, batch, profile=self.profile)
            return self._sessions[batch]


def quantize(
    model: Model,
    photos: PhotoSource | None = None,
    input_type: EdgeType = "uint8",
    output_type: EdgeType = "float32",
    scheme: Scheme = DEFAULT,
) -> QuantizedModel:
    """Return the 8-bit form of a model, whose ranges of numbers are those seen on `photos`.

    They are a folder, a data set or uint8 images (n, h, w, c), like those the model will see, and go through the
    model's own preprocessing. `scheme` says how ranges are chosen and which layers keep real numbers. A model that was
    trained in 8-bit numbers (`quantize_aware`) has its own ranges and scheme, and takes no photos.

    Raises:
        DataError: no photo can be read, or all their pixels are equal.
        ExportError: an operator has no 8-bit form.
        FormatError: the model rounds its numbers, but is not what that training leaves.
        UsageError: the scheme names layers that the model does not have; photos, or a scheme, are missing or too much.
    """
    graph, workspace = quantized_graph(model, photos, input_type, output_type, scheme)
    profile = profile_of(model) if rounds(model) else DEFAULT_PROFILE
    return QuantizedModel(graph, workspace, model.preprocess, model.labels, profile)


def quantized_graph(
    model: Model, photos: PhotoSource | None, input_type: EdgeType, output_type: EdgeType, scheme: Scheme = DEFAULT
) -> tuple[Graph, Workspace]:
    """Return a model's inference graph with 8-bit numbers: its own, or calibrated on photos."""
    check_photos_for(model, photos)
    if photos is None:
        candidate = candidate_of(model)
        if scheme not in (DEFAULT, candidate.scheme):
            raise UsageError(f"{model.name} was trained with {candidate.scheme}; its 8-bit form has no other")
        return integer_graph(candidate, input_type, output_type)
    candidate = prepare(model, input_type, scheme)
    images = CalibrationImages.of(photos, model.labels, candidate.preprocess)
    return integer_graph(observe(candidate, images), input_type, output_type)


def check_photos_for(model: Model, photos: PhotoSource | None) -> None:
    """Raise UsageError where a model needs photos to be calibrated on and has none, or has some and needs none."""
    if photos is None and not rounds(model):
        raise UsageError("int8 needs photos to calibrate on: give calibrate= (--calibrate), photos like those in use")
    if photos is not None and rounds(model):
        raise UsageError(
            f"{model.name} was trained in 8-bit numbers, which are exported as they are: leave out calibrate="
            " (--calibrate); give check= (--check) to measure the file"
        )
