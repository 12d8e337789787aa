"""Which values occur: the range of every activation, seen on real photos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge_sdk.errors import DataError
from edge_sdk.graph import Graph
from edge_sdk.model import INPUT
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.observers import Seen, observer
from edge_sdk.quantization.parameters import Range
from edge_sdk.quantization.rules import stored_types
from edge_sdk.quantization.scheme import DEFAULT, Scheme
from edge_sdk.session import Session
from edge_sdk.spec import Array, Value
from edge_sdk.workspace import Workspace

if TYPE_CHECKING:
    from edge_sdk.data.dataset import Dataset
    from edge_sdk.data.loader import Loader
    from edge_sdk.data.source import PhotoSource

CALIBRATION_PHOTOS = 200
BATCH = 8
KEPT_BYTES = 256 * 2**20
"""The most memory for decoded photos, which are gone through many times; what has no room is decoded each time."""
JUDGING = 4
"""One in so many photos is to judge by what the others decided."""
FEWEST = 2 * JUDGING
"""With fewer photos there is nothing to set aside."""
Part = Literal["all", "deciding", "judging"]


@dataclass(frozen=True)
class CalibrationImages:
    """Preprocessed photos in batches (n, h, w, c), the same ones each time they are gone through.

    Attributes:
        dataset: The photos.
        preprocess: How they become the network's input.
        batch: How many are taken at a time; the last batch may have fewer.
        others: Further photos of the same source, to judge by.
        part: Which of a batch are handed out: all, or those at the places that decide, or that judge.
    """

    dataset: Dataset
    preprocess: Preprocess
    batch: int = BATCH
    others: Dataset | None = None
    part: Part = "all"

    @classmethod
    def of(
        cls, photos: PhotoSource, labels: tuple[str, ...], preprocess: Preprocess, most: int = CALIBRATION_PHOTOS
    ) -> CalibrationImages:
        """Return at most `most` of the photos, taken evenly, and as many others of the rest.

        Raises:
            DataError: there is no photo.
        """
        from edge_sdk.data.source import open_decoded, spread

        everything = open_decoded(photos, labels, KEPT_BYTES)
        total = len(everything)
        if total <= most:
            return cls(everything, preprocess)
        chosen = [index * total // most for index in range(most)]
        rest = sorted(set(range(total)).difference(chosen))
        return cls(everything.select(chosen), preprocess, others=spread(everything.select(rest), most))

    def set_aside(self) -> tuple[CalibrationImages, CalibrationImages]:
        """Return the photos to decide by, and photos to judge by what was decided.

        These are the others, where they are at least a quarter of all. Otherwise every fourth photo is set aside; of
        fewer than eight none can be spared, and all are for both.
        """
        if self.others is not None and (JUDGING - 1) * len(self.others) >= len(self.dataset):
            return replace(self, others=None), replace(self, dataset=self.others, others=None)
        if len(self.dataset) < FEWEST:
            return self, self
        deciding, judging = (replace(self, others=None, part=part) for part in ("deciding", "judging"))
        return deciding, replace(judging, batch=JUDGING * self.batch)

    def __iter__(self) -> Iterator[Array]:
        for batch in self._loader.epoch(0):
            images = batch.image[: batch.count]
            if self.part != "all":
                judging = batch.index[: batch.count] % JUDGING == JUDGING - 1
                images = images[judging if self.part == "judging" else ~judging]
            if len(images):
                yield images

    @cached_property
    def _loader(self) -> Loader:
        from edge_sdk.data.loader import Loader

        size = min(self.batch, len(self.dataset))
        return Loader(self.dataset, self.preprocess, size, drop_last=False, cache_bytes=KEPT_BYTES)


def calibrate(
    graph: Graph, workspace: Workspace, images: Iterable[Array], scheme: Scheme = DEFAULT
) -> Mapping[Value, Range]:
    """Run the graph on batches (n, h, w, c), as its input wants them, and return the range of every float activation.

    The scheme's observer says which part of what was seen that is. The batches are gone through once.

    Raises:
        DataError: there is no image, or the images are constant, so that nothing can be learnt from them.
        UsageError: an unknown observer.
    """
    seen = statistics(graph, workspace, images, observer(scheme.observer).needs_histogram)
    return ranges_of(seen, graph, scheme)


def ranges_of(seen: Mapping[Value, Seen], graph: Graph, scheme: Scheme) -> Mapping[Value, Range]:
    """Return the ranges that the scheme's observer chooses of what was seen of a graph."""
    choose, types = observer(scheme.observer).choose, stored_types(graph, scheme)
    return {value: choose(one, scheme.symmetric, types[value]) for value, one in seen.items()}


def statistics(
    graph: Graph, workspace: Workspace, images: Iterable[Array], histograms: bool = True
) -> Mapping[Value, Seen]:
    """Run the graph on batches (n, h, w, c) and return what was seen of every float activation.

    Raises:
        DataError: there is no image, all of their pixels are equal, or the network makes numbers that are none.
    """
    watched = tuple(
        value for value in graph.specs if value not in graph.params and graph.specs[value].dtype == "float32"
    )
    seen = {value: Seen(histograms) for value in watched}
    session: Session | None = None
    observed = Graph(graph.name, graph.inputs, graph.params, graph.nodes, watched, graph.specs)
    for batch in images:
        if session is None or session.graph.specs[Value(INPUT)].shape[0] != len(batch):
            session = Session(observed, workspace, batch=len(batch))
        for name, array in session.run({INPUT: batch}).items():
            seen[Value(name)].add(array)
    if session is None:
        raise DataError("calibration: there is no image; give a folder of photos like those the model will see")
    wild = [v for v, one in seen.items() if not np.isfinite([one.extremes.low, one.extremes.high]).all()]
    if wild:
        raise DataError(f"calibration: {wild[0]!r} became infinite or not a number; the weights are broken")
    pixels = seen[Value(INPUT)].extremes
    if pixels.low == pixels.high:
        raise DataError("calibration: all pixels of all images are equal; give photos like those the model will see")
    return seen
