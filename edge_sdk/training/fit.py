"""Training on labelled photos: `fit` checks what it is given, splits the photos and runs the loop."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sdk.device_choice import chosen_device
from edge_sdk.errors import DataError, UsageError, suggestion
from edge_sdk.model import Model
from edge_sdk.parallel.communicator import current_communicator
from edge_sdk.threads import preferring
from edge_sdk.training.listener import Listener, Silent
from edge_sdk.training.loop import Loop, Run
from edge_sdk.training.precision import check_precision
from edge_sdk.training.run_folder import BEST, CHECKPOINT, LAST, METRICS, Interrupted
from edge_sdk.training.settings import Settings
from edge_sdk.training.validation import Deployment

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset

__all__ = [
    "BEST", "CHECKPOINT", "LAST", "METRICS", "Interrupted", "Listener", "Run", "Settings", "Silent", "fit",
]  # fmt: skip


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
    device: str | None = None,
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
    `device` computes: "cpu", "gpu", or "auto", the GPU where there is one; None takes the model's own, "cpu" unless it
    was replaced. It is recorded in the run's folder; a run may be resumed on another one.

    Called by several processes (`edge_sdk.run_processes`), each trains on its part of every batch, by the mean of all
    gradients, and validates on its part of the validation data; all return the same run, and the first writes it. Batch
    norms take the statistics of a process's own part, and the model has those of the first. Of the features of a frozen
    part each computes its share; the cache folder should be the same one, else they are sent to those that lack them.

    Raises:
        DataError: the photos cannot be trained on, or their classes do not fit the model's outputs.
        UsageError: settings that make no sense on this machine, an `out` that holds another run, nothing to resume.
        DeviceError: the device is not here, or has not the memory for such a batch.
        Interrupted: Ctrl-C; a checkpoint was written first.
    """
    known = {f.name for f in dataclasses.fields(Settings)}
    for name in settings:
        if name not in known:
            raise UsageError(f"fit has no setting {name!r}{suggestion(name, known)}; it has {', '.join(sorted(known))}")
    chosen = Settings(**settings)
    communicator = current_communicator()
    listener = listener if listener is not None and communicator.rank == 0 else Silent()
    place = chosen_device(model.device if device is None else device, listener.on_note)
    check_precision(chosen.precision, place)
    _check_teacher(teacher, model, chosen)
    training, held_out = _split(data, validation_data, chosen, model)
    bound = model.replace(device=place, autotune=model.autotune if autotune is None else autotune)
    loop = Loop(
        model=_labelled(bound, training.labels),
        training=training,
        validation=held_out,
        settings=chosen,
        path=Path(out) if out is not None else None,
        listener=listener,
        threads=threads,
        teacher=None if teacher is None else teacher.replace(device=place),
        deployment=deployment,
        communicator=communicator,
    )
    with preferring(compute_threads, "fit"):
        run = loop.run(resume=resume)
    return dataclasses.replace(run, model=run.model.replace(device=model.device))


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
    from edge_sdk.data.class_names import under_labels
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
        held_out = under_labels(validation_data, training.labels)
    if len(training.labels) != model.num_classes:
        raise DataError(
            f"the data has {len(training.labels)} classes, the model {model.num_classes} outputs; "
            f"load it with num_classes={len(training.labels)}"
        )
    return training, held_out if held_out is not None and len(held_out) else None


def _labelled(model: Model, labels: tuple[str, ...]) -> Model:
    """The model with the data's label names: a new head has none of its own yet."""
    return model if model.labels == labels else model.replace(labels=labels)
