"""The training loop: epochs over a data set, validation, checkpoints, exact resume."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edge_sdk.atomic import atomic_write_bytes
from edge_sdk.errors import DataError, UsageError, suggestion
from edge_sdk.evaluation import evaluate
from edge_sdk.model import OUTPUT, Model
from edge_sdk.session import Session
from edge_sdk.threads import preferring
from edge_sdk.training.checkpoint import Checkpoint, EpochMetrics, Progress, load_checkpoint
from edge_sdk.training.frozen import Freeze
from edge_sdk.training.optimizers import DEFAULT_RATES, named_optimizer
from edge_sdk.training.schedule import CosineSchedule
from edge_sdk.training.step import LABEL, LOSS, RATE, TrainingStep, training_step

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.loader import Loader, Unreadable

CHECKPOINT = "last.checkpoint"
BEST = "best.edge"
LAST = "last.edge"
METRICS = "metrics.jsonl"
CHECKPOINT_SECONDS = 60.0


class Listener(Protocol):
    """Is told how a run goes; the command line draws progress bars with it."""

    def on_start(self, epochs: int, batches: int, progress: Progress) -> None:
        """The run starts, or goes on, at `progress`."""

    def on_batch(self, epoch: int, batch: int, loss: float) -> None:
        """A step was taken."""

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """An epoch was finished and validated."""

    def on_unreadable(self, photo: Unreadable) -> None:
        """A photo could not be read and is left out."""


class Silent:
    """A listener that says nothing."""

    def on_start(self, epochs: int, batches: int, progress: Progress) -> None:
        """Say nothing."""

    def on_batch(self, epoch: int, batch: int, loss: float) -> None:
        """Say nothing."""

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Say nothing."""

    def on_unreadable(self, photo: Unreadable) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides the outcome of a run besides the model and the data."""

    epochs: int = 5
    batch_size: int = 32
    optimizer: str = "sgd"
    learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    warmup_epochs: float = 0.5
    clip_norm: float | None = None
    freeze: Freeze = None
    augment: str = "flip"
    validation: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 1,
            "learning_rate": self.learning_rate is None or 0 < self.learning_rate < float("inf"),
            "momentum": 0 <= self.momentum < 1,
            "weight_decay": 0 <= self.weight_decay < float("inf"),
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "warmup_epochs": 0 <= self.warmup_epochs < float("inf"),
            "validation": 0 <= self.validation < 1,
            "seed": self.seed >= 0,
        }
        for name, right in checks.items():
            if not right:
                raise UsageError(f"{name} = {getattr(self, name)} makes no sense for training")

    @property
    def rate(self) -> float:
        """The peak learning rate: the one given, or the optimizer's usual one."""
        return self.learning_rate if self.learning_rate is not None else DEFAULT_RATES[self.optimizer]


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
    compute_threads: int | None = None,
    **settings: Any,
) -> Run:
    """Fine-tune a model on labelled photos and return the best epoch's.

    `data` is a folder with one sub-folder a class (or `train/` and `val/` folders of those), or a data set; without
    validation data a share `validation` of it is held out, stratified and by seed. The keyword arguments are the
    fields of `Settings`. With `out`, the run's folder receives metrics.jsonl, last.checkpoint, last.edge and best.edge;
    `resume=True` goes on from its checkpoint, and ends with the same bytes as a run that was never interrupted.
    `threads` decode photos (None: up to four), `compute_threads` run the kernels (None: what `edge_sdk.get_threads`
    says); the result depends on neither.

    Raises:
        DataError: the photos cannot be trained on, or their classes do not fit the model's outputs.
        UsageError: settings that make no sense, an `out` that holds another run, nothing to resume.
        Interrupted: Ctrl-C; a checkpoint was written first.
    """
    known = {f.name for f in dataclasses.fields(Settings)}
    for name in settings:
        if name not in known:
            raise UsageError(f"fit has no setting {name!r}{suggestion(name, known)}; it has {', '.join(sorted(known))}")
    chosen = Settings(**settings)
    training, held_out = _split(data, validation_data, chosen, model)
    loop = _Loop(
        model=_labelled(model, training.labels),
        training=training,
        validation=held_out,
        settings=chosen,
        folder=Path(out) if out is not None else None,
        listener=listener or Silent(),
        threads=threads,
    )
    with preferring(compute_threads, "fit"):
        return loop.run(resume=resume)


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
    progress: Progress = field(default_factory=Progress)
    best: Model | None = None

    def run(self, *, resume: bool) -> Run:
        settings = self.settings
        step = training_step(
            self.model,
            named_optimizer(settings.optimizer, settings.momentum, settings.weight_decay),
            learning_rate=settings.rate,
            freeze=settings.freeze,
            label_smoothing=settings.label_smoothing,
            clip_norm=settings.clip_norm,
            seed=settings.seed,
        )
        loader = self._loader()
        self._open_folder(step, resume=resume)
        session = Session(step.graph, step.workspace, batch=loader.batch_size)
        self.listener.on_start(settings.epochs, loader.batches, self.progress)
        with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is stopped by its loss, with a reason
            while self.progress.epoch < settings.epochs:
                self._epoch(session, step, loader)
        best = self.best or step.trained_model()
        return Run(self._stamped(best), self.progress.history, self.folder, tuple(u.name for u in loader.unreadable))

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

    def _epoch(self, session: Session, step: TrainingStep, loader: Loader) -> None:
        epoch = self.progress.epoch
        warmup = round(self.settings.warmup_epochs * loader.batches)
        schedule = CosineSchedule(self.settings.rate, self.settings.epochs * loader.batches, warmup)
        saved = time.monotonic()
        batches = loader.epoch(epoch, self.progress.batch)
        try:
            for batch in batches:
                step.workspace[RATE][...] = schedule.rate(epoch * loader.batches + self.progress.batch)
                result = session.run({"image": batch.image, LABEL: batch.label})
                self._count(float(result[LOSS]), result[OUTPUT], batch.label)
                self.listener.on_batch(epoch, self.progress.batch, float(result[LOSS]))
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self._save_checkpoint(step)
                    saved = time.monotonic()
            self._finish_epoch(step, loader, schedule)
        except KeyboardInterrupt as interrupt:
            self._save_checkpoint(step)
            raise Interrupted(self.folder, epoch, self.progress.batch) from interrupt
        finally:
            batches.close()

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

    def _finish_epoch(self, step: TrainingStep, loader: Loader, schedule: CosineSchedule) -> None:
        done, model = self.progress, step.trained_model()
        broken = [name for name, array in model.workspace.items() if not np.isfinite(array).all()]
        if broken:
            raise UsageError(
                f"the weights of {broken[0]} became infinite in epoch {done.epoch + 1}; train with a smaller learning "
                f"rate than {self.settings.rate:g}"
            )
        accuracy = None if self.validation is None else evaluate(model, self.validation, loader.batch_size).top1
        metrics = EpochMetrics(
            epoch=done.epoch,
            loss=done.loss_sum / loader.batches,
            train_accuracy=done.correct / (loader.batches * loader.batch_size),
            validation_accuracy=accuracy,
            learning_rate=schedule.rate((done.epoch + 1) * loader.batches - 1),
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
        if self.folder is not None:
            self._stamped(model).save(self.folder / LAST)
            if better:
                self._stamped(model).save(self.folder / BEST)
            self._save_checkpoint(step)
            self._write_metrics()
        self.listener.on_epoch(metrics)

    def _stamped(self, model: Model) -> Model:
        """The model with the run in its provenance."""
        from edge_sdk import __version__

        run = {
            "settings": _plain(self.settings),
            "data_sha256": self.training.fingerprint(),
            "photos": len(self.training),
            "validation_accuracy": self.progress.best_accuracy if self.progress.best_epoch is not None else None,
        }
        return model.replace(provenance={**model.provenance, "edge_sdk": __version__, "training": run})

    def _identity(self) -> Mapping[str, Any]:
        """What must be the same for a checkpoint to be continued exactly."""
        return {
            "settings": _plain(self.settings),
            "data": self.training.fingerprint(),
            "weights": self.model.workspace.digest(),
            "graph": self.model.graph.name,
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
            self._save_checkpoint(step)
            return
        if not path.exists():
            raise UsageError(f"{self.folder}: nothing to resume, there is no {CHECKPOINT}")
        self._restore(load_checkpoint(path), step)

    def _restore(self, checkpoint: Checkpoint, step: TrainingStep) -> None:
        mine, theirs = self._identity(), checkpoint.settings
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

    def _save_checkpoint(self, step: TrainingStep) -> None:
        if self.folder is not None:
            Checkpoint(self.progress, step.workspace, self._identity()).save(self.folder / CHECKPOINT)

    def _write_metrics(self) -> None:
        if self.folder is not None:
            lines = [json.dumps(dataclasses.asdict(metrics)) for metrics in self.progress.history]
            atomic_write_bytes(self.folder / METRICS, ("\n".join(lines) + "\n").encode())


def _plain(settings: Settings) -> dict[str, Any]:
    """The settings as JSON gives them back: tuples become lists."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    return plain


def _difference(key: str, mine: Any, theirs: Any) -> str:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for name, value in mine.items():
            if theirs.get(name) != value:
                return f"the run was started with {name} = {theirs.get(name)!r}, now it is {value!r}"
    return f"the {key} are not those that the run was started with"
