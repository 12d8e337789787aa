"""Quantization-aware training: a few epochs in which a network learns to do with the numbers of its integer graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_sdk.errors import DataError, UsageError
from edge_sdk.model import INPUT, OUTPUT, Model
from edge_sdk.quantization.calibration import CalibrationImages
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe, prepare
from edge_sdk.quantization.fake_quantization import FakeQuantized, fake_quantized, trained_candidate
from edge_sdk.quantization.int8 import EdgeType
from edge_sdk.quantization.post_training import QuantizedModel, check_photos_for
from edge_sdk.quantization.profile import DEFAULT as DEFAULT_PROFILE
from edge_sdk.quantization.profile import Profile, checked_profile
from edge_sdk.quantization.rounded_model import candidate_of, rounded_model, rounds
from edge_sdk.quantization.scheme import DEFAULT, Scheme
from edge_sdk.session import Session
from edge_sdk.spec import Array
from edge_sdk.training.fit import Run, fit
from edge_sdk.training.frozen import Freeze, learnable, trainable
from edge_sdk.training.optimizers import named_optimizer
from edge_sdk.training.schedule import CosineSchedule
from edge_sdk.training.step import LABEL, RATE, TEACHER, training_forward

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.source import PhotoSource

DEFAULTS: Mapping[str, Any] = {
    "epochs": 3,
    "optimizer": "adam",
    "learning_rate": 1e-5,
    "weight_decay": 0.0,
    "distillation": 1.0,
}
"""Settings of `fit` that differ: a trained network is to move a little, and to answer as it did
(docs/quantization-aware-training.md says how they were chosen)."""


@dataclass(frozen=True)
class AwareRun:
    """A finished run: what it made of the candidate, and the training run behind it, whose model rounds its numbers."""

    candidate: Candidate
    run: Run


def quantize_aware(
    model: Model,
    data: Dataset | Path | str,
    validation_data: Dataset | Path | str | None = None,
    *,
    calibrate: PhotoSource | None = None,
    scheme: Scheme = DEFAULT,
    input_type: EdgeType = "uint8",
    learned_scales: bool = True,
    profile: Profile = DEFAULT_PROFILE,
    **arguments: Any,
) -> AwareRun:
    """Train a model further in the numbers of its integer graph, on labelled photos, and return the best epoch's.

    Ranges are those of the photos `calibrate`, or of the training photos; a model that was trained so before goes on
    with its own. The other arguments are those of `train_candidate`.

    Raises:
        DataError: the photos cannot be calibrated or trained on.
        ExportError: an operator has no 8-bit form.
        UsageError: settings that make no sense.
        Interrupted: Ctrl-C; a checkpoint was written first.
    """
    from edge_sdk.data.folder import ImageFolder

    if rounds(model):
        check_photos_for(model, calibrate)
        candidate = candidate_of(model)
        if scheme not in (DEFAULT, candidate.scheme):
            raise UsageError(f"{model.name} was trained with {candidate.scheme}; go on with the same")
    else:
        seen = data if calibrate is None else calibrate
        if calibrate is None and isinstance(data, str | Path):
            seen = ImageFolder.scan(data).train
        candidate = _calibrated(model, seen, scheme, input_type)
    arguments |= {"learned_scales": learned_scales, "profile": profile}
    return train_candidate(candidate, model, data, validation_data, **arguments)


def train_candidate(
    candidate: Candidate,
    model: Model,
    data: Dataset | Path | str,
    validation_data: Dataset | Path | str | None = None,
    *,
    learned_scales: bool = True,
    profile: Profile = DEFAULT_PROFILE,
    **arguments: Any,
) -> AwareRun:
    """Train a calibrated candidate of a model on labelled photos.

    The network is the folded one: its batch norms stay what they are, part of weights that are rounded as they will be
    stored. It follows the candidate's own float network, whose share of the loss is `distillation`, all of it unless
    another is given; the rest is the labels'. With `learned_scales` the scales of weights and activations are trained
    too. The other arguments are those of `fit`, with `DEFAULTS`: `out` and `resume` make a run that can be interrupted.

    The run's models round their numbers, and can be exported in 8 bits as they are. Validated is that 8-bit form, which
    computes with integers by the arithmetic of `profile` (edge_sdk/quantization/profile.py).
    """
    from edge_sdk.data.class_names import training_photos

    checked_profile(profile)
    hold_out = arguments.get("validation") != 0
    data, validation_data = training_photos(data, validation_data, model.labels, hold_out=hold_out)
    quantized = fake_quantized(candidate, learned=learned_scales)
    settings = {**DEFAULTS, **arguments, "freeze": _kept(quantized, arguments.get("freeze"))}
    teacher = model.replace(graph=candidate.graph, workspace=candidate.floats, preprocess=candidate.preprocess)
    run = fit(
        rounded_model(model, candidate, quantized, profile),
        data,
        validation_data,
        teacher=teacher if settings["distillation"] else None,
        deployment=_OnIntegers(candidate, quantized, profile),
        feature_cache=False,
        **settings,
    )
    return AwareRun(trained_candidate(candidate, quantized, run.model.workspace), run)


def distil(
    candidate: Candidate,
    images: Iterable[Array],
    *,
    epochs: int = 10,
    learning_rate: float = 1e-5,
    batch_size: int = 16,
    learned_scales: bool = True,
    seed: int = 0,
) -> Candidate:
    """Train a candidate to give photos without labels, preprocessed (n, h, w, c), its float network's probabilities.

    A rung of the ladder for those who have the calibration photos alone. The same seed gives the same bytes.

    Raises:
        DataError: there is no photo.
        UsageError: the learning rate is too large.
    """
    photos = [np.asarray(batch, np.float32) for batch in images]
    if not sum(map(len, photos)):
        raise DataError("distil: there is no image; give a folder of photos like those the model will see")
    x = np.concatenate(photos)
    size = min(batch_size, len(x))
    teacher = _logits(candidate, x, size)
    labels = tuple(map(str, range(teacher.shape[1])))
    quantized = fake_quantized(candidate, learned=learned_scales)
    model = Model(quantized.graph, quantized.workspace, candidate.preprocess, labels)
    forward = training_forward(model, freeze=_kept(quantized, None), seed=seed)
    step = forward.step(named_optimizer("adam"), learning_rate=learning_rate, distillation=1.0)
    session = Session(step.graph, step.workspace, batch=size)
    batches = len(x) // size
    schedule = CosineSchedule(learning_rate, epochs * batches)
    unlabelled = np.full(size, -1, np.int32)
    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch)).permutation(len(x))
        for batch in range(batches):
            step.workspace[RATE][...] = schedule.rate(epoch * batches + batch)
            rows = order[batch * size : (batch + 1) * size]
            with np.errstate(over="ignore", invalid="ignore"):  # what diverges is refused below
                session.run({INPUT: x[rows], LABEL: unlabelled, TEACHER: teacher[rows]})
    # Rounded logits are finite whatever the weights are, and so is the loss.
    if not all(np.isfinite(step.workspace[value]).all() for value in quantized.trained):
        raise UsageError(f"the weights became infinite; train with a smaller learning rate than {learning_rate:g}")
    return trained_candidate(candidate, quantized, step.workspace)


@dataclass(frozen=True)
class _OnIntegers:
    """What the rounded models of a run are exported as."""

    candidate: Candidate
    quantized: FakeQuantized
    profile: Profile

    @property
    def name(self) -> str:
        """The profile, by which epochs are compared."""
        return f"int8, {self.profile}"

    def __call__(self, model: Model) -> QuantizedModel:
        """Return the 8-bit form of a model with these weights and scales."""
        graph, workspace = integer_graph(trained_candidate(self.candidate, self.quantized, model.workspace))
        return QuantizedModel(graph, workspace, model.preprocess, model.labels, self.profile, device=model.device)


def _calibrated(model: Model, photos: PhotoSource, scheme: Scheme, input_type: EdgeType) -> Candidate:
    candidate = prepare(model, input_type, scheme)
    return observe(candidate, CalibrationImages.of(photos, model.labels, candidate.preprocess))


def _kept(quantized: FakeQuantized, freeze: Freeze) -> Freeze:
    """What `fit` is to freeze: what the user wants, constants, and the normalisation."""
    moving = {*quantized.trained}.intersection(trainable(quantized.graph, freeze))
    if not moving:
        raise UsageError(f"freeze={freeze!r} leaves no weight of {quantized.graph.name!r} to train")
    return [escape(value) for value in learnable(quantized.graph) if value not in moving] or None


def _logits(candidate: Candidate, x: Array, size: int) -> Array:
    """What the float network says of photos; the last batch repeats some."""
    session = Session(candidate.graph, candidate.floats, batch=size)
    starts = range(0, len(x), size)
    rows = [session.run({INPUT: np.take(x, range(s, s + size), axis=0, mode="clip")})[OUTPUT].copy() for s in starts]
    return np.concatenate(rows)[: len(x)]
