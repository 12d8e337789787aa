"""Networks of the zoo with weights that Caffe or Keras stored, in the form that these have the networks in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk import __version__
from edge_sdk.errors import FormatError, UsageError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.model import HEAD, Model
from edge_sdk.pretrained.architectures import ZOO, Architecture, known_name
from edge_sdk.pretrained.checkpoint import turned
from edge_sdk.pretrained.keras_layers import vgg_layers
from edge_sdk.pretrained.keras_names import MEAN, VGG_DEPTHS, keras_checkpoint
from edge_sdk.pretrained.vgg import CONVOLUTIONS
from edge_sdk.spec import Array
from edge_sdk.workspace import Workspace

CAFFE_NETWORKS = ("alexnet_caffe", "caffenet", "googlenet_caffe", "resnet50_v1", "resnet101_v1", "resnet152_v1")
"""Networks whose layers the zoo calls by Caffe's names."""
_PARTS = {"scale": "weight", "offset": "bias", "mean": "running_mean", "variance": "running_var"}
_HDF5, _ZIP = b"\x89HDF", b"PK\x03\x04"


def is_foreign(path: Path | str) -> bool:
    """Tell whether a file holds weights of Caffe (by its ending) or Keras (by its beginning)."""
    path = Path(path)
    if not path.is_file():
        return False
    if path.suffix == ".caffemodel":
        return True
    with path.open("rb") as file:
        beginning = file.read(4)
    return beginning == _HDF5 or (beginning == _ZIP and path.suffix == ".keras")


def load_foreign(
    name: str,
    path: Path | str,
    num_classes: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    width: float = 1.0,
) -> Model:
    """Return a network of the zoo with the weights of a .caffemodel, .h5 or .keras file as a Model.

    Strides, paddings and preprocessing are those of Caffe's or Keras's form of the network. The arguments are those of
    `load`.

    Raises:
        FormatError: the file is damaged, or of another network.
        UsageError: the network is not known in that form, or sizes that do not fit.
    """
    path = Path(path)
    architecture, state, layers = _opened(known_name(name), path, width)
    preprocess = architecture.preprocess if image_size is None else architecture.preprocess.with_size(image_size)
    if min(preprocess.size) < architecture.smallest:
        raise UsageError(f"{name}: images of {preprocess.size} are too small, the least is {architecture.smallest}")
    head = f"{layers['head']}.weight"
    if head not in state:
        raise FormatError(f"{path}: not weights of {name}: there is no classifier {head!r} in it")
    classes = num_classes or int(state[head].shape[0])
    if labels is not None and len(labels) != classes:
        raise UsageError(f"{len(labels)} labels for {classes} classes; give one for each, or num_classes={len(labels)}")
    graph, initial = architecture.build(classes, preprocess.size, seed, width)
    workspace = place_weights(graph, initial, state, layers, str(path))
    names = tuple(labels) if labels is not None else tuple(f"class {index}" for index in range(classes))
    facts: dict[str, Any] = {"architecture": architecture.name, "weights": {"source": path.name}, "seed": seed}
    return Model(graph, workspace, preprocess, names, {**facts, "edge_sdk": __version__})


def place_weights(
    graph: Graph, initial: Workspace, state: Mapping[str, Array], layers: Mapping[str, str], source: str
) -> Workspace:
    """Return the weights of `graph` from a state; the head keeps its initial values when its size differs.

    Raises:
        FormatError: keys are missing, left over or of another shape; all of them are counted, the first is named.
    """
    arrays, used, missing, misfits = Workspace(), set(), [], []
    for parameter in graph.params:
        layer, _, part = parameter.rpartition(".")
        key = f"{layers[layer]}.{_PARTS.get(part, part)}"
        used.add(key)
        if key not in state:
            missing.append(key)
            continue
        array, wanted = state[key], graph.specs[parameter].shape
        if parameter.startswith(HEAD) and array.shape[:1] != wanted[:1]:
            arrays[parameter] = initial[parameter]
            continue
        laid = turned(graph, parameter, array) if array.size == np.prod(wanted) else array
        if _fits(laid.shape, wanted):
            arrays[parameter] = np.array(laid.reshape(wanted), dtype=np.float32, order="C")
        else:
            misfits.append(f"{key} is {list(array.shape)}, wanted {list(wanted)} after turning")
    extra = [key for key in state if key not in used]
    if missing or misfits or extra:
        first = f"{missing[0]!r} is missing" if missing else misfits[0] if misfits else f"{extra[0]!r} is unknown"
        raise FormatError(
            f"{source}: not weights of {graph.name}: {first} "
            f"({len(missing)} keys missing, {len(misfits)} of another shape, {len(extra)} unknown)"
        )
    return arrays


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether shapes differ by axes of 1 alone; a dense layer's columns may be (h, w, c)."""
    if len(shape) == 4 and len(wanted) == 2:
        return shape[0] == wanted[0] and shape[1] * shape[2] * shape[3] == wanted[1]
    return [size for size in shape if size != 1] == [size for size in wanted if size != 1]


def _opened(name: str, path: Path, width: float) -> tuple[Architecture, Mapping[str, Array], Mapping[str, str]]:
    """The network in the file's form, its weights, and our layer names beside the file's."""
    if path.suffix != ".caffemodel":
        network, state = keras_checkpoint(name, path, width)
        return network.architecture, state, network.layers
    from edge_sdk.converters.caffe import caffe_state

    if name in CAFFE_NETWORKS:
        return ZOO[name], caffe_state(path), ZOO[name].names()
    if name in VGG_DEPTHS:  # the authors' own files
        layers = vgg_layers(CONVOLUTIONS[VGG_DEPTHS[name]], convolution="conv{}_{}", dense=("fc6", "fc7", "fc8"))
        preprocess = replace(ZOO["resnet50_v1"].preprocess, mean=MEAN)
        return replace(ZOO[name], preprocess=preprocess), caffe_state(path), layers
    known = (*CAFFE_NETWORKS, *VGG_DEPTHS)
    hint = f"; did you mean {name}_caffe?" if f"{name}_caffe" in known else suggestion(name, known)
    raise UsageError(
        f"no weights of Caffe are known for {name!r} (known: {', '.join(known)}){hint}; other networks are read with "
        "their definition: edge_sdk.converters.caffe.read(prototxt, caffemodel)"
    )
