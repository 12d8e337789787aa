"""The training loop: epochs over a data set, validation, checkpoints, exact resume."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.errors import DataError, UsageError, suggestion
from edge_sdk.model import OUTPUT, Model
from edge_sdk.session import Session
from edge_sdk.threads import preferring
from edge_sdk.training.batches import (
    Batches,
    Deployment,
    FeatureBatches,
    FeatureValidation,
    PhotoBatches,
    PhotoValidation,
    TaughtBatches,
    Validation,
)
from edge_sdk.training.checkpoint import Checkpoint, EpochMetrics, Progress, load_checkpoint
from edge_sdk.training.feature_plan import RunFeatures, features_for
from edge_sdk.training.listener import Listener, Silent
from edge_sdk.training.optimizers import named_optimizer
from edge_sdk.training.precision import check_precision
from edge_sdk.training.schedule import CosineSchedule
from edge_sdk.training.settings import Settings
from edge_sdk.training.step import LABEL, LOSS, RATE, TrainingStep, training_forward

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.loader import Loader

__all__ = ["Interrupted", "Listener", "Run", "Settings", "Silent", "fit"]

CHECKPOINT = "last.checkpoint"
BEST = "best.edge"
LAST = "last.edge"
METRICS = "metrics.jsonl"
CHECKPOINT_SECONDS = 60.0
SHORT_EPOCH_SECONDS = 2.0
"""Epochs that come faster are not written one by one: a kill costs so much work at most."""


@dataclass(frozen=True)
class Run:
    """A finished run: the model of the best epoch by validation accuracy, the figures of every epoch, the folder."""

    model: Model
    history: tuple[EpochMetrics, ...]
    folder: Path | None
    unreadable: tuple[str, ...] = ()


class Interrupted(KeyboardInterrupt):
    """Training was interrupted; a checkpoint lies in `folder` (None when the run writes no files)."""

    def __init__(self, folder: Path | None, epoch: int, batch: int) -> None:
        super().__init__(f"interrupted in epoch {epoch + 1} after {batch} batches")
        self.folder, self.epoch, self.batch = folder, epoch, batch


def fit(
    model: Model,
    data: Dataset | Path | str,
    validation_data: Dataset | Path | str | None = None,
    *,
    out: Path | str | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    threads: int | None = None,
    autotune: bool | None = None,
    compute_threads: int | None = None,
    teacher: Model | None = None,
    deployment: Deployment | None = None,
    **settings: Any,
) -> Run:
    """Fine-tune a model on labelled photos and return the best epoch's.

    `data` is a folder with one sub-folder a class (or `train/` and `val/` folders of those), or a data set; without
    validation data a share `validation` of it is held out, stratified and by seed. The keyword arguments are the
    fields of `Settings`. With `out`, the run's folder receives metrics.jsonl, last.checkpoint, last.edge and best.edge;
    `resume=True` goes on from its checkpoint, and ends with the same bytes as a run that was never interrupted (with
    `autotune`, see `Session`, as long as the measured times are kept). `threads` decode photos (None: up to four),
    `compute_threads` run the kernels (None: what `edge_sdk.get_threads` says); the result depends on neither.
    A `teacher`, a model with the same input and classes, is followed by the share `distillation` of the loss.
    What a `deployment` makes of the model is validated in its place, where no features are computed once.

    Raises:
        DataError: the photos cannot be trained on, or their classes do not fit the model's outputs.
        UsageError: settings that make no sense on this machine, an `out` that holds another run, nothing to resume.
        Interrupted: Ctrl-C; a checkpoint was written first.
    """
    known = {f.name for f in dataclasses.fields(Settings)}
    for name in settings:
        if name not in known:
            raise UsageError(f"fit has no setting {name!r}{suggestion(name, known)}; it has {', '.join(sorted(known))}")
    chosen = Settings(**settings)
    check_precision(chosen.precision)
    _check_teacher(teacher, model, chosen)
    training, held_out = _split(data, validation_data, chosen, model)
    loop = _Loop(
        model=_labelled(model if autotune is None else model.replace(autotune=autotune), training.labels),
        training=training,
        validation=held_out,
        settings=chosen,
        folder=Path(out) if out is not None else None,
        listener=listener or Silent(),
        threads=threads,
        teacher=teacher,
        deployment=deployment,
    )
    with preferring(compute_threads, "fit"):
        return loop.run(resume=resume)


def _check_teacher(teacher: Model | None, model: Model, settings: Settings) -> None:
    if (teacher is not None) != (settings.distillation > 0):
        raise UsageError("distillation: a teacher and a share of the loss above 0 go together; give both or none")
    if teacher is None:
        return
    mine, theirs = ((m.preprocess, m.num_classes) for m in (model, teacher))
    if mine != theirs:
        raise UsageError(
            f"teacher: {teacher.name} takes other photos or tells other classes apart than {model.name}: "
            f"{theirs[1]} classes of {theirs[0]}, wanted {mine[1]} of {mine[0]}"
        )


def _split(
    data: Dataset | Path | str, validation_data: Dataset | Path | str | None, settings: Settings, model: Model
) -> tuple[Dataset, Dataset | None]:
    from edge_sdk.data.folder import ImageFolder
    from edge_sdk.data.split import split_dataset

    held_out: Dataset | None = None
    if isinstance(data, str | Path):
        folder = ImageFolder.scan(data)
        if validation_data is not None or settings.validation == 0:
            training: Dataset = folder.train
        else:
            training, held_out = folder.split(settings.validation, settings.seed)
    elif validation_data is None and settings.validation > 0:
        training, held_out = split_dataset(data, settings.validation, settings.seed)
    else:
        training = data
    if isinstance(validation_data, str | Path):
        held_out = ImageFolder.scan(validation_data, labels=training.labels).evaluation
    elif validation_data is not None:
        held_out = validation_data
    if len(training.labels) != model.num_classes:
        raise DataError(
            f"the data has {len(training.labels)} classes, the model {model.num_classes} outputs; "
            f"load it with num_classes={len(training.labels)}"
        )
    return training, held_out if held_out is not None and len(held_out) else None


def _labelled(model: Model, labels: tuple[str, ...]) -> Model:
    """The model with the data's label names: a new head has none of its own yet."""
    return model if model.labels == labels else model.replace(labels=labels)


@dataclass
class _Loop:
    model: Model
    training: Dataset
    validation: Dataset | None
    settings: Settings
    folder: Path | None
    listener: Listener
    threads: int | None
    teacher: Model | None = None
    deployment: Deployment | None = None
    progress: Progress = field(default_factory=Progress)
    best: Model | None = None
    _saved: float = 0.0
    _unsaved: dict[str, Model] = field(default_factory=dict)

    def run(self, *, resume: bool) -> Run:
        settings = self.settings
        forward = training_forward(self.model, freeze=settings.freeze, seed=settings.seed, precision=settings.precision)
        loader = self._loader()
        features = None  # a teacher looks at the photo itself
        if self.teacher is None:
            features = features_for(forward, loader, self.validation, settings, self.listener)
        step = (forward if features is None else features.training.part.rest).step(
            named_optimizer(settings.optimizer, settings.momentum, settings.weight_decay),
            learning_rate=settings.rate,
            label_smoothing=settings.label_smoothing,
            clip_norm=settings.clip_norm,
            recompute=settings.recompute,
            distillation=settings.distillation,
        )
        self._open_folder(step, resume=resume)
        batches, validation = self._sources(loader, features)
        session = Session(
            step.graph,
            step.workspace,
            batch=batches.batch_size,
            autotune=self.model.autotune,
            precise=settings.precise,
        )
        self._saved = time.monotonic()
        self.listener.on_start(settings.epochs, batches.batches, self.progress)
        with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is stopped by its loss, with a reason
            while self.progress.epoch < settings.epochs:
                self._epoch(session, step, batches, validation)
        best = self.best or step.trained_model()
        return Run(self._stamped(best), self.progress.history, self.folder, tuple(u.name for u in batches.unreadable))

    def _sources(self, loader: Loader, features: RunFeatures | None) -> tuple[Batches, Validation | None]:
        """What the steps are fed, and what is validated on."""
        if features is None:
            held_out = self.validation
            photos: Batches = PhotoBatches(loader)
            if self.teacher is not None:
                photos = TaughtBatches(photos, self.teacher, precise=self.settings.precise)
            return photos, None if held_out is None else PhotoValidation(held_out, loader.batch_size, self.deployment)
        try:
            features.compute(self.listener, self.threads)
        except KeyboardInterrupt as interrupt:  # what is computed is kept, and the checkpoint is that of the start
            raise Interrupted(self.folder, self.progress.epoch, self.progress.batch) from interrupt
        validation = None if features.validation is None else FeatureValidation(features.validation)
        return FeatureBatches(features.training, loader), validation

    def _loader(self) -> Loader:
        from edge_sdk.data.augment import Augment
        from edge_sdk.data.loader import Loader

        return Loader(
            self.training,
            self.model.preprocess,
            batch_size=min(self.settings.batch_size, len(self.training)),
            shuffle=True,
            seed=self.settings.seed,
            augment=Augment.named(self.settings.augment),
            drop_last=True,
            on_unreadable=self.listener.on_unreadable,
            **({} if self.threads is None else {"threads": self.threads}),
        )

    def _epoch(self, session: Session, step: TrainingStep, batches: Batches, validation: Validation | None) -> None:
        epoch = self.progress.epoch
        warmup = round(self.settings.warmup_epochs * batches.batches)
        schedule = CosineSchedule(self.settings.rate, self.settings.epochs * batches.batches, warmup)
        feeds = batches.epoch(epoch, self.progress.batch)
        try:
            for feed in feeds:
                step.workspace[RATE][...] = schedule.rate(epoch * batches.batches + self.progress.batch)
                result = session.run(feed)
                self._count(float(result[LOSS]), result[OUTPUT], feed[LABEL])
                self.listener.on_batch(epoch, self.progress.batch, float(result[LOSS]))
                if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
                    self._save(step)
            self._finish_epoch(step, batches, schedule, validation)
        except KeyboardInterrupt as interrupt:
            self._save(step)
            raise Interrupted(self.folder, epoch, self.progress.batch) from interrupt
        finally:
            feeds.close()

    def _count(self, loss: float, logits: Any, label: Any) -> None:
        if not np.isfinite(loss):
            raise UsageError(
                f"the loss became {loss} in epoch {self.progress.epoch + 1}, batch {self.progress.batch + 1}; "
                f"train with a smaller learning rate than {self.settings.rate:g}"
            )
        self.progress = dataclasses.replace(
            self.progress,
            batch=self.progress.batch + 1,
            loss_sum=self.progress.loss_sum + loss,
            correct=self.progress.correct + int((logits.argmax(axis=1) == label).sum()),
        )

    def _finish_epoch(
        self, step: TrainingStep, batches: Batches, schedule: CosineSchedule, validation: Validation | None
    ) -> None:
        done, model = self.progress, step.trained_model()
        for name in step.graph.updates:
            if name in model.graph.params and not np.isfinite(model.workspace[name]).all():
                raise UsageError(
                    f"the weights of {name} became infinite in epoch {done.epoch + 1}; train with a smaller learning "
                    f"rate than {self.settings.rate:g}"
                )
        accuracy = None if validation is None else validation.accuracy(step)
        metrics = EpochMetrics(
            epoch=done.epoch,
            loss=done.loss_sum / batches.batches,
            train_accuracy=done.correct / (batches.batches * batches.batch_size),
            validation_accuracy=accuracy,
            learning_rate=schedule.rate((done.epoch + 1) * batches.batches - 1),
        )
        # Without validation data the last epoch counts as the best.
        better = accuracy is None or accuracy > done.best_accuracy
        self.progress = Progress(
            epoch=done.epoch + 1,
            history=(*done.history, metrics),
            best_epoch=done.epoch if better else done.best_epoch,
            best_accuracy=accuracy if better and accuracy is not None else done.best_accuracy,
        )
        if better:
            self.best = model
        stamped = self._stamped(model)
        self._unsaved |= {LAST: stamped, BEST: stamped} if better else {LAST: stamped}
        if self.progress.epoch == self.settings.epochs or time.monotonic() - self._saved > SHORT_EPOCH_SECONDS:
            self._save(step)
        self.listener.on_epoch(metrics)

    def _stamped(self, model: Model) -> Model:
        """The model with the run in its provenance."""
        from edge_sdk import __version__

        run = {
            "settings": self.settings.plain(),
            "data_sha256": self._identity["data"],
            "photos": len(self.training),
            "validation_accuracy": self.progress.best_accuracy if self.progress.best_epoch is not None else None,
        }
        return model.replace(provenance={**model.provenance, "edge_sdk": __version__, "training": run})

    @cached_property
    def _identity(self) -> Mapping[str, Any]:
        """What must be the same for a checkpoint to be continued exactly."""
        return {
            "settings": self.settings.plain(),
            "data": self.training.fingerprint(),
            "weights": self.model.workspace.digest(),
            "graph": self.model.graph.name,
            **({} if self.teacher is None else {"teacher": self.teacher.workspace.digest()}),
            **({} if self.deployment is None else {"numbers of the validation": self.deployment.name}),
        }

    def _open_folder(self, step: TrainingStep, *, resume: bool) -> None:
        if self.folder is None:
            if resume:
                raise UsageError("resume needs the folder of the run: give out=")
            return
        path = self.folder / CHECKPOINT
        if not resume:
            # A run that stopped before its first checkpoint, on a photo or a learning rate, has nothing to lose.
            if path.exists() and load_checkpoint(path).progress != Progress():
                raise UsageError(f"{self.folder} holds a run already; resume it, or choose another folder")
            self.folder.mkdir(parents=True, exist_ok=True)
            # From here on a kill leaves something to resume.
            self._save(step)
            return
        if not path.exists():
            raise UsageError(f"{self.folder}: nothing to resume, there is no {CHECKPOINT}")
        self._restore(load_checkpoint(path), step)

    def _restore(self, checkpoint: Checkpoint, step: TrainingStep) -> None:
        mine, theirs = self._identity, checkpoint.settings
        for key in mine:
            if mine[key] != theirs.get(key):
                raise UsageError(f"{self.folder}: {_difference(key, mine[key], theirs.get(key))}; resume with the same")
        checkpoint.workspace.check(step.graph)
        for name in step.graph.params:
            step.workspace[name] = checkpoint.workspace[name].copy()
        self.progress = checkpoint.progress
        if self.folder is not None and self.progress.best_epoch is not None and (self.folder / BEST).exists():
            from edge_sdk.edge_file import load

            self.best = load(self.folder / BEST)

    def _save(self, step: TrainingStep) -> None:
        """Write the models of the last epoch and of the best, where they are new, and the checkpoint that follows."""
        self._saved = time.monotonic()
        if self.folder is None:
            return
        last, best = self._unsaved.pop(LAST, None), self._unsaved.pop(BEST, None)
        if best is not None:
            best.save(self.folder / BEST)
        if last is not None and last is best:
            atomic_write_bytes(self.folder / LAST, (self.folder / BEST).read_bytes())
        elif last is not None:
            last.save(self.folder / LAST)
        Checkpoint(self.progress, step.workspace, self._identity).save(self.folder / CHECKPOINT)
        if self.progress.history:
            lines = [json.dumps(dataclasses.asdict(metrics)) for metrics in self.progress.history]
            atomic_write_bytes(self.folder / METRICS, ("\n".join(lines) + "\n").encode())


def _difference(key: str, mine: Any, theirs: Any) -> str:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for name, value in mine.items():
            if theirs.get(name) != value:
                return f"the run was started with {name} = {theirs.get(name)!r}, now it is {value!r}"
    return f"the {key} are not those that the run was started with"
