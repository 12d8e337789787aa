"""`load`: a network of the zoo with its weights, as a Model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edge_sdk import __version__
from edge_sdk.errors import UsageError, suggestion
from edge_sdk.model import Model
from edge_sdk.preprocess import Preprocess
from edge_sdk.pretrained.architectures import ZOO, Architecture, Name, known_name
from edge_sdk.pretrained.checkpoint import open_checkpoint
from edge_sdk.pretrained.download import fetch_entry, verify
from edge_sdk.pretrained.foreign_weights import is_foreign, open_foreign
from edge_sdk.pretrained.manifest import Entry, entries_of
from edge_sdk.pretrained.transfer import Progress

IMAGENET_CLASSES = 1000
DEFAULT = "imagenet"

Weights: TypeAlias = Literal["imagenet", "imagenet1k_v1", "imagenet1k_v2", "caffe"]
"""What published weights are called; `edge zoo list` says which a network has."""


def load(
    name: Name | str,
    weights: Weights | Path | str | None = DEFAULT,
    num_classes: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    width: float = 1.0,
    on_progress: Progress | None = None,
) -> Model:
    """Return a network of the zoo as a Model.

    `weights` is "imagenet" (the default published ones), the name of other published ones such as "imagenet1k_v2",
    None (random by `seed`) or the path of a checkpoint of this network. Published ones bring their own preprocessing,
    also when they are given as a file. Weights that Caffe or Keras stored come with the form that the network has
    there: its strides, paddings and preprocessing. When `num_classes` differs from the weights', the classifier starts
    anew. `image_size` is the side, or (height, width), of the input. `labels` name the classes; ImageNet's are known.
    `width` multiplies the channels of a network whose paper has such a factor. `on_progress` is told how many bytes of
    a download have arrived, of how many.

    Raises:
        UsageError: an unknown name, sizes that do not fit, weights that cannot be fetched.
        FormatError: a checkpoint that is damaged or of another network.
        MissingExtraError: the package with the weights is not installed.
    """
    chosen = known_name(name)
    if num_classes is not None and num_classes < 1:
        raise UsageError(f"num_classes is {num_classes}, wanted 1 or more")
    architecture = ZOO[chosen]
    origin = _origin(chosen, weights)
    if origin.entry is not None and width != 1.0:
        raise UsageError(
            f"{chosen}: the published weights are of width 1, not {width}; load with weights=None or a file"
        )
    preprocess = _preprocess(architecture, origin, image_size)
    path, provenance = origin.fetch(on_progress)
    classes, checkpoint = num_classes, None
    if path is not None:
        checkpoint = open_foreign(path, chosen, width) if is_foreign(path) else open_checkpoint(path, chosen, width)
        architecture = checkpoint.architecture
        preprocess = checkpoint.preprocess(_preprocess(architecture, origin, image_size))
        classes = classes or checkpoint.count_classes()
    classes = classes or (len(labels) if labels else IMAGENET_CLASSES)
    graph, workspace = architecture.build(classes, preprocess.size, seed, width)
    if checkpoint is not None:
        graph, workspace = checkpoint.weights(graph, workspace)
    about = {"architecture": chosen, "weights": provenance, "edge_sdk": __version__, "seed": seed}
    about |= {"width": width} if width != 1.0 else {}
    return Model(graph, workspace, preprocess, _labels(classes, labels, origin.entry), about)


def _preprocess(architecture: Architecture, origin: _Origin, image_size: int | tuple[int, int] | None) -> Preprocess:
    """How photos are fed: the published weights' rule, else the network's own."""
    preprocess = origin.preprocess or architecture.preprocess
    if image_size is not None:
        preprocess = preprocess.with_size(image_size)
    if min(preprocess.size) < architecture.smallest:
        raise UsageError(
            f"{architecture.name}: images of {preprocess.size} are too small, the least is {architecture.smallest}"
        )
    return preprocess


@dataclass(frozen=True)
class _Origin:
    """Where weights come from: an entry of the manifest, a file, a file that is that of an entry, or nowhere."""

    entry: Entry | None = None
    path: Path | None = None
    sha256: str = ""

    @property
    def preprocess(self) -> Preprocess | None:
        return self.entry.preprocess if self.entry is not None else None

    def fetch(self, on_progress: Progress | None) -> tuple[Path | None, dict[str, Any]]:
        """Return the file, downloaded if need be, and what is to be remembered of it."""
        path, sha256 = self.path, self.sha256
        if self.entry is None:
            return path, {"source": "random"} if path is None else {"source": path.name, "sha256": sha256}
        if path is None:
            found = fetch_entry(self.entry, on_progress)
            path, sha256 = found.path, found.sha256
        known = {"source": self.entry.source, "licence": self.entry.licence, "entry": self.entry.name}
        return path, {**known, "sha256": sha256}


def _origin(architecture: str, weights: Path | str | None) -> _Origin:
    if weights is None:
        return _Origin()
    published = entries_of(architecture)
    for entry in published:
        if weights in (DEFAULT, entry.weights, entry.name):
            return _Origin(entry=entry)
    if weights == DEFAULT:
        raise UsageError(
            f"{architecture}: no weights are published in a form that can be fetched and checked; give the path of a "
            "file as weights, or weights=None (--weights none)"
        )
    path = Path(weights)
    if path.is_file():
        return _file(path, published)
    known = [DEFAULT, *(entry.weights for entry in published)]
    raise UsageError(
        f"weights {str(weights)!r}: neither 'imagenet' nor a file, nor other published weights of {architecture} "
        f"({', '.join(known[1:]) or 'there are none'}){suggestion(str(weights), known)}"
    )


def _file(path: Path, published: Sequence[Entry]) -> _Origin:
    """A file that somebody has fetched is known by its size and hash, whatever its name."""
    for entry in published:
        found = verify(path, entry.digest, entry.sizes)
        if found is not None:
            return _Origin(entry, path, found.sha256)
    with path.open("rb") as file:
        return _Origin(path=path, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _labels(classes: int, labels: Sequence[str] | None, entry: Entry | None) -> tuple[str, ...]:
    if labels is not None:
        if len(labels) != classes:
            raise UsageError(
                f"{len(labels)} labels for {classes} classes; give one for each, or num_classes={len(labels)}"
            )
        return tuple(labels)
    known = entry.read_labels() if entry is not None else ()
    return known if len(known) == classes else tuple(f"class {index}" for index in range(classes))
