"""What a model may become on its way to a .tflite file, from what keeps the most of it to what is the smallest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sdk.compression.fine_tuning import fine_tune
from edge_sdk.compression.prune import Pruned, Pruning
from edge_sdk.converters.gate import Forms, Limits, Stage
from edge_sdk.converters.precision import INTEGERS
from edge_sdk.converters.tflite.exportable import check_exportable
from edge_sdk.converters.tflite.finished_file import Finished, Finisher
from edge_sdk.converters.tflite.fitting import largest_that_fits, size_of_file
from edge_sdk.errors import ExportError
from edge_sdk.model import Model
from edge_sdk.quantization.int8 import EdgeType
from edge_sdk.quantization.ladder import RungName
from edge_sdk.quantization.post_training import quantized_graph
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.training.checkpoint import EpochMetrics
from edge_sdk.training.listener import Silent

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset


@dataclass(frozen=True)
class Pruner:
    """Makes networks small enough for a limit, and trains them.

    Attributes:
        model: The whole network, which teaches the smaller ones.
        photos: What it is trained on; a share of them chooses the best epoch.
        epochs: How often they are all seen.
    """

    model: Model
    photos: Dataset
    epochs: int

    @cached_property
    def pruning(self) -> Pruning:
        """In which order channels go, by the loss that their weights are worth."""
        return Pruning.of(self.model, "weights", self.photos)

    @property
    def smallest(self) -> Model:
        """The network with as few channels as any may have."""
        return self.pruning.apply(self.pruning.smallest()).model

    def trained(self, pruned: Pruned, listener: Callable[[str], None]) -> Model:
        """Return a pruned model after training."""
        run = fine_tune(pruned, self.model, self.photos, epochs=self.epochs, listener=_Epochs(listener, self.epochs))
        return run.model


@dataclass(frozen=True)
class Stages:
    """The stages of an export: the whole network, with int4 weights, pruned, pruned with int4 weights.

    Those behind the first are there where the limits and the precision have a use for them.

    Attributes:
        finisher: Makes files of the whole network, and the smaller ones' finishers.
        output_type: Of the scores.
        scheme: How integers are chosen.
        rungs: What of the ladder may be climbed.
        train: Photos for its last rung.
        limits: What files are held against.
        pruner: Makes smaller networks; None leaves them out.
        listener: Is told what is being done.
    """

    finisher: Finisher
    output_type: EdgeType
    scheme: Scheme
    rungs: Sequence[RungName]
    train: Dataset | Path | str | None
    limits: Limits
    pruner: Pruner | None
    listener: Callable[[str], None]

    def __iter__(self) -> Iterator[Stage[Finished]]:
        yield self._stage(self.finisher, self.scheme)
        schemes = [self.scheme, *self._narrower()]
        for scheme in schemes[1:]:
            self.listener("weights of 4 bits")
            yield dataclasses.replace(self._stage(self.finisher, scheme), last_if_it_fits=self.pruner is None)
        if self.pruner is None or self.limits.max_size is None:
            return
        self.listener("which channels matter least")
        for scheme in schemes:
            pruned = largest_that_fits(self.pruner.pruning, partial(self._size, scheme), self.limits.max_size)
            if pruned is None:
                least = self._size(scheme, self.pruner.smallest)
                self.listener(
                    f"{_name(self.finisher, scheme)}: no network is small enough, the least is {least:,} bytes"
                )
                continue
            before, after = pruned.weights
            share = f"{after / before:.0%} of the weights"
            self.listener(f"{share} left, trained for {self.pruner.epochs} epochs")
            finisher = self.finisher.for_model(self.pruner.trained(pruned, self.listener))
            stage = self._stage(finisher, scheme)
            yield dataclasses.replace(stage, name=f"{stage.name}, {share}", last_if_it_fits=False)

    def _stage(self, finisher: Finisher, scheme: Scheme) -> Stage[Finished]:
        writer, name = finisher.writer, _name(finisher, scheme)
        model, photos, input_type = writer.shown, writer.calibrate, writer.edges.input_type
        if writer.precision not in INTEGERS:
            return Stage(name, [(None, model.inference)], finisher)
        if not self.limits.judges_answers or photos is None:
            form = quantized_graph(model, photos, input_type, self.output_type, scheme)
            return Stage(name, [(None, form)], finisher)
        forms = Forms(
            model, photos, input_type, self.output_type, scheme, self.rungs, self.train, self.listener,
            self.limits, size=lambda form: len(writer.write(form)[0].data),
        )  # fmt: skip
        return Stage(name, forms, finisher, forms.layers)

    def _narrower(self) -> list[Scheme]:
        """The scheme with weights of 4 bits, where files of it can be had and are smaller."""
        writer = self.finisher.writer
        if writer.calibrate is None or writer.precision != "int8" or self.scheme.weights == "int4":
            return []
        narrower = dataclasses.replace(self.scheme, weights="int4")
        try:
            check_exportable(writer.model, "int8", writer.min_runtime, narrower)
        except ExportError:
            return []
        return [narrower]

    def _size(self, scheme: Scheme, model: Model) -> int:
        return size_of_file(dataclasses.replace(self.finisher.writer, model=model), scheme, self.output_type)


class _Epochs(Silent):
    """Tells of every epoch in a line."""

    def __init__(self, listener: Callable[[str], None], epochs: int) -> None:
        self._listener, self._epochs = listener, epochs

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Say which one is done."""
        self._listener(f"epoch {metrics.epoch + 1}/{self._epochs} done, loss {metrics.loss:.4f}")


def _name(finisher: Finisher, scheme: Scheme) -> str:
    precision = finisher.writer.precision
    return f"{precision} with int4 weights" if scheme.weights == "int4" else precision
