"""A training step on its device: how photos enter it, what stays free beside it, what is said where it does not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from edge_sdk.batching import piece_size
from edge_sdk.device_memory import ON_HOST, memory_of
from edge_sdk.evaluation import Classifier
from edge_sdk.graph import Graph
from edge_sdk.memory_need import DeviceMemoryError, need_of
from edge_sdk.model import INPUT, Model
from edge_sdk.passes.pixel_input import pixel_input
from edge_sdk.prepared import prepare
from edge_sdk.quantization.post_training import QuantizedModel
from edge_sdk.session import Session
from edge_sdk.spec import Array
from edge_sdk.threads import get_threads
from edge_sdk.training.step import TrainingStep

Program = tuple[Graph, int]
"""A graph with an open batch, and how many rows it is run on."""


def device_session(
    step: TrainingStep,
    batch: int,
    *,
    as_pixels: bool,
    precise: bool,
    beside: Iterable[Program],
    recomputed: Callable[[], TrainingStep] | None,
) -> Session:
    """Bind a step to the device of its model; with `as_pixels` photos go to a GPU as bytes (`pixel_input`).

    What the programs `beside` it need must stay free on a GPU. `recomputed` builds the step that makes cheap
    activations twice, None where this one does.

    Raises:
        DeviceMemoryError: it does not fit; the message has the largest batch that does, and what recomputing allows.
    """
    device, autotune = step.model.device, step.model.autotune
    as_pixels = as_pixels and device not in ON_HOST
    graph, arrays = _entered(step, as_pixels=as_pixels)
    step.workspace.update(arrays)
    kept = 0 if device in ON_HOST else _bytes_of(beside, device, precise=precise)
    try:
        return Session(graph, step.workspace, device, batch, autotune=autotune, precise=precise, kept_free=kept)
    except DeviceMemoryError as error:
        if recomputed is None:
            raise
        smaller, _ = _entered(recomputed(), as_pixels=as_pixels)
        largest = error.room.largest_batch(smaller, batch + 1)
        hint = f"; with recompute activations it is {largest}" if largest > error.largest_batch else ""
        raise error.with_hint(hint) from None


def inference_of(model: Classifier, rows: int) -> Iterator[Program]:
    """Yield what a model runs on so many photos: pieces of one size, and the rest of them, or on integers all at once.

    What runs in a runtime of its own takes nothing of the device.
    """
    if isinstance(model, QuantizedModel):
        yield model.graph, rows
    if not isinstance(model, Model):
        return
    graph, _ = model.execution
    piece = piece_size(graph, rows, model.device)
    yield graph, piece
    if rows % piece:
        yield graph, rows % piece


def _entered(step: TrainingStep, *, as_pixels: bool) -> tuple[Graph, dict[str, Array]]:
    if as_pixels and INPUT in step.graph.inputs:
        return pixel_input(step.graph, step.model.preprocess)
    return step.graph, {}


def _bytes_of(programs: Iterable[Program], device: str, *, precise: bool) -> int:
    memory, threads = memory_of(device), get_threads()
    prepared = (prepare(graph.bind(rows), device, threads, autotune=False, precise=precise) for graph, rows in programs)
    return sum(need_of(each, memory).total for each in prepared)
