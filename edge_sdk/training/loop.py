"""The training loop: epochs over batches, validation, checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_sdk.device_choice import described
from edge_sdk.errors import UsageError
from edge_sdk.model import Model
from edge_sdk.parallel.communicator import Alone, Communicator
from edge_sdk.passes.pixel_input import PIXELS
from edge_sdk.session import Session
from edge_sdk.training.batches import Batches, FeatureBatches, PhotoBatches, TaughtBatches
from edge_sdk.training.checkpoint import Checkpoint, EpochMetrics, Progress
from edge_sdk.training.data_parallel import take_statistics_of_first
from edge_sdk.training.device_step import Program, device_session, inference_of
from edge_sdk.training.feature_plan import RunFeatures, features_for
from edge_sdk.training.interrupts import held_back
from edge_sdk.training.listener import Listener
from edge_sdk.training.optimizers import named_optimizer
from edge_sdk.training.run_folder import CHECKPOINT_SECONDS, SHORT_EPOCH_SECONDS, Interrupted, RunFolder
from edge_sdk.training.schedule import CosineSchedule
from edge_sdk.training.settings import Settings
from edge_sdk.training.step import Recompute, TrainingForward, TrainingStep, training_forward
from edge_sdk.training.steps import StepFigures, Steps
from edge_sdk.training.validation import Deployment, FeatureValidation, PhotoValidation, Validation

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.loader import Loader

SEED_STRIDE = 1_000_003
"""Between the seeds of processes, whose dropout differs."""


@dataclass(frozen=True)
class Run:
    """A finished run: the model of the best epoch by validation accuracy, the figures of every epoch, the folder."""

    model: Model
    history: tuple[EpochMetrics, ...]
    folder: Path | None
    unreadable: tuple[str, ...] = ()


@dataclass
class Loop:
    """One run of `fit` on the device of `model`, from its start or from a checkpoint."""

    model: Model
    training: Dataset
    validation: Dataset | None
    settings: Settings
    path: Path | None
    listener: Listener
    threads: int | None
    teacher: Model | None = None
    deployment: Deployment | None = None
    communicator: Communicator = field(default_factory=Alone)
    """Connects the processes that train on a part of each batch; the first of them writes."""
    progress: Progress = field(default_factory=Progress)
    best: Model | None = None

    def run(self, *, resume: bool) -> Run:
        """Train; the errors are those of `fit`."""
        settings = self.settings
        checkpoint = self._folder.found(resume=resume)
        forward = training_forward(
            self.model,
            freeze=settings.freeze,
            seed=settings.seed + SEED_STRIDE * self.communicator.rank,
            precision=settings.precision,
            device=self.model.device,
        )
        loader = self._loader()
        features = None  # a teacher looks at the photo itself
        if self.teacher is None:
            features = features_for(forward, loader, self.validation, settings, self.listener, self.communicator)
        part = forward if features is None else features.training.part.rest
        step = self._step(part, settings.recompute)
        if checkpoint is not None:
            self._restore(checkpoint, step)
        session = self._session(step, part, loader, features)
        if checkpoint is None:
            self._folder.save(self.progress, step)  # from here on a kill leaves something to resume
        batches, validation = self._sources(loader, features)
        self.listener.on_start(settings.epochs, batches.batches, self.progress)
        steps = Steps(session, self.communicator)
        with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is stopped by its loss, with a reason
            while self.progress.epoch < settings.epochs:
                self._epoch(steps, step, batches, validation)
        best = self.best or step.trained_model()
        return Run(self._stamped(best), self.progress.history, self.path, tuple(u.name for u in batches.unreadable))

    def _step(self, part: TrainingForward, recompute: Recompute) -> TrainingStep:
        settings = self.settings
        return part.step(
            named_optimizer(settings.optimizer, settings.momentum, settings.weight_decay),
            learning_rate=settings.rate,
            label_smoothing=settings.label_smoothing,
            clip_norm=settings.clip_norm,
            recompute=recompute,
            distillation=settings.distillation,
            processes=self.communicator.size,
        )

    def _session(
        self, step: TrainingStep, part: TrainingForward, loader: Loader, features: RunFeatures | None
    ) -> Session:
        session = device_session(
            step,
            loader.batch_size,
            as_pixels=self.teacher is None,  # which looks at the photos too
            precise=self.settings.precise,
            beside=self._beside(loader.batch_size, features),
            recomputed=None if self.settings.recompute == "activations" else lambda: self._step(part, "activations"),
        )
        loader.pixels = PIXELS in session.graph.inputs
        return session

    def _beside(self, batch: int, features: RunFeatures | None) -> Iterator[Program]:
        """What else runs on the device of a run."""
        if features is not None:
            yield features.training.part.graph, features.training.part.block
            if features.validation is not None:
                yield FeatureValidation(features.validation, self.communicator).program()
        elif self.validation is not None:
            used = self.model if self.deployment is None else self.deployment(self.model)
            yield from inference_of(used, PhotoValidation(self.validation, batch, self.communicator).rows)
        if self.teacher is not None:
            yield from inference_of(self.teacher, batch)

    def _sources(self, loader: Loader, features: RunFeatures | None) -> tuple[Batches, Validation | None]:
        """What the steps are fed, and what is validated on."""
        if features is None:
            photos: Batches = PhotoBatches(loader)
            if self.teacher is not None:
                photos = TaughtBatches(photos, self.teacher, precise=self.settings.precise)
            if self.validation is None:
                return photos, None
            return photos, PhotoValidation(self.validation, loader.batch_size, self.communicator, self.deployment)
        try:
            features.compute(self.listener, self.threads, self.communicator)
        except KeyboardInterrupt as interrupt:  # what is computed is kept, and the checkpoint is that of the start
            raise Interrupted(self.path, self.progress.epoch, self.progress.batch) from interrupt
        held_out = features.validation
        validation = None if held_out is None else FeatureValidation(held_out, self.communicator)
        return FeatureBatches(features.training, loader), validation

    def _loader(self) -> Loader:
        from edge_sdk.data.augment import Augment
        from edge_sdk.data.loader import Loader

        return Loader(
            self.training,
            self.model.preprocess,
            batch_size=self._rows_of_batch(),
            shuffle=True,
            seed=self.settings.seed,
            augment=Augment.named(self.settings.augment),
            drop_last=True,
            part=(self.communicator.rank, self.communicator.size),
            threads=self.threads,
            on_unreadable=self.listener.on_unreadable,
        )

    def _rows_of_batch(self) -> int:
        """How many rows of each batch are this process's."""
        batch, processes = min(self.settings.batch_size, len(self.training)), self.communicator.size
        if batch % processes:
            raise UsageError(
                f"batch_size: {batch} photos cannot be shared equally by {processes} processes; give a multiple of "
                f"{processes}"
            )
        return batch // processes

    @property
    def _is_first(self) -> bool:
        return self.communicator.rank == 0

    def _epoch(self, steps: Steps, step: TrainingStep, batches: Batches, validation: Validation | None) -> None:
        epoch = self.progress.epoch
        warmup = round(self.settings.warmup_epochs * batches.batches)
        schedule = CosineSchedule(self.settings.rate, self.settings.epochs * batches.batches, warmup)
        feeds = batches.epoch(epoch, self.progress.batch)
        try:
            for feed in feeds:
                taken = epoch * batches.batches + self.progress.batch + steps.under_way
                with held_back():  # a checkpoint between steps has the weights of whole ones, and counts them all
                    self._count(figures := steps.take(feed, schedule.rate(taken)))
                self._tell(figures)
                steps.stop_if_asked()
                if self._folder.seconds > CHECKPOINT_SECONDS:
                    self._count(steps.finish())
                    self._folder.save(self.progress, step)
            self._count(figures := steps.finish())
            self._tell(figures)
            self._finish_epoch(step, batches, schedule, validation)
        except KeyboardInterrupt as interrupt:
            self._count(steps.finish())
            self._folder.save(self.progress, step)
            raise Interrupted(self.path, epoch, self.progress.batch) from interrupt
        finally:
            feeds.close()

    def _count(self, steps: list[StepFigures]) -> None:
        for figures in steps:
            if not np.isfinite(figures.loss):
                raise UsageError(
                    f"the loss became {figures.loss} in epoch {self.progress.epoch + 1}, batch "
                    f"{self.progress.batch + 1}; train with a smaller learning rate than {self.settings.rate:g}"
                )
            self.progress = dataclasses.replace(
                self.progress,
                batch=self.progress.batch + 1,
                loss_sum=self.progress.loss_sum + figures.loss,
                correct=self.progress.correct + figures.correct,
            )

    def _tell(self, steps: list[StepFigures]) -> None:
        for figures in steps:
            self.listener.on_batch(self.progress.epoch, self.progress.batch, figures.loss)

    def _finish_epoch(
        self, step: TrainingStep, batches: Batches, schedule: CosineSchedule, validation: Validation | None
    ) -> None:
        take_statistics_of_first(step, self.communicator)
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
            train_accuracy=done.correct / (batches.batches * batches.batch_size * self.communicator.size),
            validation_accuracy=accuracy,
            learning_rate=schedule.rate((done.epoch + 1) * batches.batches - 1),
            device=self._device,
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
        self._folder.keep(self._stamped(model), best=better)
        if self.progress.epoch == self.settings.epochs or self._folder.seconds > SHORT_EPOCH_SECONDS:
            self._folder.save(self.progress, step)
        self.listener.on_epoch(metrics)

    def _stamped(self, model: Model) -> Model:
        """The model with the run in its provenance."""
        from edge_sdk import __version__

        run = {
            "settings": self.settings.plain(),
            "data_sha256": self._folder.identity["data"],
            "photos": len(self.training),
            "validation_accuracy": self.progress.best_accuracy if self.progress.best_epoch is not None else None,
            "device": self._device,
        }
        return model.replace(provenance={**model.provenance, "edge_sdk": __version__, "training": run})

    @cached_property
    def _device(self) -> str:
        return described(self.model.device)

    @cached_property
    def _folder(self) -> RunFolder:
        return RunFolder(self.path, self._identity(), self._is_first)

    def _identity(self) -> Mapping[str, Any]:
        """What must be the same for a checkpoint to be continued exactly; the device need not be."""
        return {
            "settings": self.settings.plain(),
            "data": self.training.fingerprint(),
            "weights": self.model.workspace.digest(),
            "graph": self.model.graph.name,
            **({} if self.teacher is None else {"teacher": self.teacher.workspace.digest()}),
            **({} if self.deployment is None else {"numbers of the validation": self.deployment.name}),
        }

    def _restore(self, checkpoint: Checkpoint, step: TrainingStep) -> None:
        checkpoint.workspace.check(step.graph)
        for name in step.graph.params:
            step.workspace[name] = checkpoint.workspace[name].copy()
        self.progress = checkpoint.progress
        if self.progress.best_epoch is not None:
            self.best = self._folder.best()
