"""How many channels a network may keep, so that its finished file has no more bytes than it may."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sdk.compression.prune import MULTIPLE, Pruned, Pruning, labelled_photos
from edge_sdk.converters.precision import INTEGERS, TFLitePrecision, scheme_of
from edge_sdk.converters.tflite.edges import Edges
from edge_sdk.converters.tflite.exportable import assumed_form, check_exportable
from edge_sdk.converters.tflite.finished_file import Writer
from edge_sdk.errors import UsageError
from edge_sdk.model import Model
from edge_sdk.quantization.int8 import EdgeType
from edge_sdk.quantization.scheme import DEFAULT, Scheme

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset

ROOM = 1024
"""Bytes that are left free: training adds to the provenance, and numbers in JSON differ in length."""


def size_of_file(writer: Writer, scheme: Scheme = DEFAULT, output_type: EdgeType = "float32") -> int:
    """Return how many bytes the file of a writer's model will have, at most `ROOM` less than the finished one.

    It is written, with ranges that no photo decided, which changes no size; nothing is run.
    """
    form = assumed_form(writer.shown, writer.precision, scheme, writer.edges.input_type, output_type)
    return writer.size(form)


def largest_that_fits(pruning: Pruning, size: Callable[[Model], int], max_size: int) -> Pruned | None:
    """Return the network with the most channels whose file has at most so many bytes; None where none has."""
    removed = pruning.largest(lambda channels: size(pruning.apply(channels).model) + ROOM <= max_size)
    return None if removed is None else pruning.apply(removed)


def prune_to_size(
    model: Model,
    max_size: int,
    data: Dataset | Path | str,
    quantize: TFLitePrecision = "int8",
    *,
    scheme: Scheme = DEFAULT,
    multiple: int = MULTIPLE,
) -> Pruned:
    """Return the model with as few channels removed as its .tflite file of at most `max_size` bytes needs.

    The file is that of `edge.export` in the precision `quantize` and with `scheme`, self-test and metadata included,
    and nothing else asked for. The channels go first that the loss on the labelled photos `data` would miss least for
    their weights (edge_sdk/compression/importance.py). What is lost in accuracy is won back by training:
    `edge.fit`, or `fine_tune` of edge_sdk/compression/fine_tuning.py.

    Raises:
        UsageError: a size that makes no sense, or that the network cannot be brought to.
        DataError: the photos have no labels, or none can be read.
        ExportError: an operator has no form in that precision.
    """
    if max_size < 1:
        raise UsageError(f"max_size (--max-size) is a number of bytes above 0, not {max_size}")
    check_exportable(model, quantize, scheme=scheme)
    photos = labelled_photos(model, data)
    edges = Edges(quantize in INTEGERS)
    whole = Writer(model, quantize, photos, edges, photos, min_runtime=None, fixed_batch=False)
    scheme = scheme_of(quantize, scheme)

    def size(candidate: Model) -> int:
        return size_of_file(dataclasses.replace(whole, model=candidate), scheme)

    pruning = Pruning.of(model, "weights", photos, multiple)
    pruned = largest_that_fits(pruning, size, max_size)
    if pruned is None:
        least = size(pruning.apply(pruning.smallest()).model)
        raise UsageError(
            f"{model.name}: no {quantize} file of at most {max_size:,} bytes can be reached; with {multiple} channels "
            f"a layer it has {least:,}"
        )
    return pruned
