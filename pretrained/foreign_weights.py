"""Networks of the zoo with weights that Caffe or Keras stored, in the form that these have the networks in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_sdk.errors import FormatError, UsageError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.model import HEAD
from edge_sdk.preprocess import Preprocess
from edge_sdk.pretrained import squeezenet
from edge_sdk.pretrained.architectures import ZOO, Architecture
from edge_sdk.pretrained.checkpoint import turned
from edge_sdk.pretrained.checkpoint_form import published_key
from edge_sdk.pretrained.keras_layers import vgg_layers
from edge_sdk.pretrained.keras_names import MEAN, VGG_DEPTHS, keras_checkpoint
from edge_sdk.pretrained.vgg import CONVOLUTIONS
from edge_sdk.spec import Array
from edge_sdk.workspace import Workspace

CAFFE_NETWORKS = ("alexnet_caffe", "caffenet", "googlenet_caffe", "resnet50_v1", "resnet101_v1", "resnet152_v1")
"""Networks whose layers the zoo calls by Caffe's names."""
SQUEEZENETS = {"squeezenet1_0": "1.0", "squeezenet1_1": "1.1"}
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


@dataclass(frozen=True)
class ForeignWeights:
    """A file of Caffe's or Keras's weights, and the network in the form that it has there."""

    path: Path
    architecture: Architecture
    state: Mapping[str, Array]
    layers: Mapping[str, str]

    def count_classes(self) -> int:
        """How many classes the file's classifier has.

        Raises:
            FormatError: it has none.
        """
        head = f"{self.layers['head']}.weight"
        if head not in self.state:
            raise FormatError(
                f"{self.path}: not weights of {self.architecture.name}: there is no classifier {head!r} in it"
            )
        return int(self.state[head].shape[0])

    def preprocess(self, preprocess: Preprocess) -> Preprocess:
        """How photos are fed: the form's own rule says it already."""
        return preprocess

    def weights(self, graph: Graph, initial: Workspace) -> tuple[Graph, Workspace]:
        """Return the graph and its weights; the classifier keeps its initial values when its classes differ.

        Raises:
            FormatError: keys are missing, left over or of another shape.
        """
        return graph, place_weights(graph, initial, self.state, self.layers, str(self.path))


def place_weights(
    graph: Graph, initial: Workspace, state: Mapping[str, Array], layers: Mapping[str, str], source: str
) -> Workspace:
    """Return the weights of `graph` from a state; the head keeps its initial values when its size differs.

    Raises:
        FormatError: keys are missing, left over or of another shape; all of them are counted, the first is named.
    """
    arrays, used, missing, misfits = Workspace(), set(), [], []
    for parameter in graph.params:
        key = published_key(parameter, layers)
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


def open_foreign(path: Path, name: str, width: float = 1.0) -> ForeignWeights:
    """Open a .caffemodel, .h5 or .keras file of the zoo's network `name`.

    Raises:
        FormatError: the file is damaged.
        UsageError: the network is not known in that form.
    """
    if path.suffix != ".caffemodel":
        network, state = keras_checkpoint(name, path, width)
        return ForeignWeights(path, network.architecture, state, network.layers)
    from edge_sdk.converters.caffe import caffe_state

    architecture = ZOO[name]
    if name in CAFFE_NETWORKS:
        return ForeignWeights(path, architecture, caffe_state(path), architecture.names())
    if name in VGG_DEPTHS:  # the authors' own files
        layers = vgg_layers(CONVOLUTIONS[VGG_DEPTHS[name]], convolution="conv{}_{}", dense=("fc6", "fc7", "fc8"))
        preprocess = replace(ZOO["resnet50_v1"].preprocess, mean=MEAN)
    elif name in SQUEEZENETS:  # the authors' too
        layers = _squeezenet_layers(SQUEEZENETS[name])
        preprocess = ZOO["caffenet"].preprocess
    else:
        known = (*CAFFE_NETWORKS, *VGG_DEPTHS, *SQUEEZENETS)
        hint = f"; did you mean {name}_caffe?" if f"{name}_caffe" in known else suggestion(name, known)
        raise UsageError(
            f"no weights of Caffe are known for {name!r} (known: {', '.join(known)}){hint}; other networks are read "
            "with their definition: edge_sdk.converters.caffe.read(prototxt, caffemodel)"
        )
    return ForeignWeights(path, replace(architecture, preprocess=preprocess), caffe_state(path), layers)


def _squeezenet_layers(version: str) -> dict[str, str]:
    """conv1, fire2/squeeze1x1, fire2/expand1x1, …, conv10."""
    table, fires = {"features.0": "conv1", "head": "conv10"}, squeezenet.names(version)
    indices = sorted({int(layer.split(".")[1]) for layer in fires if layer.count(".") == 2})
    for number, index in enumerate(indices, 2):
        table |= {
            f"features.{index}.{part}": f"fire{number}/{'squeeze1x1' if part == 'squeeze' else part}"
            for part in squeezenet.PARTS
        }
    return table
