"""Networks of the zoo as keras.applications publishes them: their form there, and how its weights become ours.

Photos are fed as keras.applications.imagenet_utils.preprocess_input does: VGG and ResNet in mode "caffe" (blue first,
less the means 103.939, 116.779 and 123.68), the MobileNets in mode "tf" (from -1 to 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.pretrained.architectures import ZOO, Architecture
from edge_sdk.pretrained.keras_layers import vgg_layers
from edge_sdk.pretrained.vgg import CONVOLUTIONS
from edge_sdk.spec import Array

Image = tuple[int, int, int]

VGG_DEPTHS: Mapping[str, int] = {"vgg16": 16, "vgg19": 19}
RESNETS = ("resnet50", "resnet101", "resnet152")
MOBILENETS_V1 = ("mobilenet_v1", "mobilenet_v1_0_75", "mobilenet_v1_0_5", "mobilenet_v1_0_25")
MEAN = (103.939, 116.779, 123.68)
RESNET_EPSILON = 1.001e-5
OUR_EPSILON = 1e-5


@dataclass(frozen=True)
class KerasNetwork:
    """A network in keras.applications.

    Attributes:
        architecture: Its form there, which may differ in strides, paddings and preprocessing from the zoo's own.
        layers: Our layer names and Keras's.
        flattened: The dense layers behind a flattened image, with its (h, w, c).
        biased: Batch norms and the convolutions before them, whose biases the zoo's networks do not have.
        epsilon: How much larger the ε of Keras's batch norms is than ours.
    """

    architecture: Architecture
    layers: Mapping[str, str]
    flattened: Mapping[str, Image] = field(default_factory=dict)
    biased: Mapping[str, str] = field(default_factory=dict)
    epsilon: float = 0.0


class _ZooState(Mapping[str, Array]):
    """A state as the zoo's networks are made: convolutions before norms have no biases, classifiers are dense.

    Biases are taken off the means of the norms behind them:
    (w · x + b - mean) / √(variance + ε) is (w · x - (mean - b)) / √((variance + ε - ε') + ε').
    """

    def __init__(self, state: Mapping[str, Array], network: KerasNetwork) -> None:
        self._state = state
        self._epsilon = network.epsilon
        self._bias_of = {f"{norm}.running_mean": f"{convolution}.bias" for norm, convolution in network.biased.items()}
        self._left_out = set(self._bias_of.values())
        self._head = f"{network.layers['head']}.weight"

    def __getitem__(self, key: str) -> Array:
        if key in self._left_out:
            raise KeyError(key)
        array = self._state[key]
        if key == self._head and array.shape[2:] == (1, 1):
            return array.reshape(array.shape[:2])
        bias = self._bias_of.get(key)
        if bias is not None and bias in self._state:
            return np.asarray(array - self._state[bias])
        if self._epsilon and key.endswith(".running_var"):
            return np.asarray(array + np.float32(self._epsilon))
        return array

    def __iter__(self) -> Iterator[str]:
        return (key for key in self._state if key not in self._left_out)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def keras_network(name: str, width: float = 1.0) -> KerasNetwork:
    """Return the form in which keras.applications has a network of the zoo.

    Raises:
        UsageError: no weights of Keras are known for the network.
    """
    if name in VGG_DEPTHS:
        architecture = replace(ZOO[name], preprocess=replace(ZOO["resnet50_v1"].preprocess, mean=MEAN))
        return KerasNetwork(architecture, vgg_layers(CONVOLUTIONS[VGG_DEPTHS[name]]), {"fc1": (7, 7, 512)})
    if name in RESNETS:
        original = ZOO[f"{name}_v1"]
        form = f"{name}_keras"
        preprocess = replace(original.preprocess, mean=MEAN)
        architecture = replace(original, name=form, preprocess=preprocess, options={"variant": form})
        layers = architecture.names()
        biased = {norm: norm.removesuffix("_bn") + "_conv" for norm in layers.values() if norm.endswith("_bn")}
        return KerasNetwork(architecture, layers, biased=biased, epsilon=RESNET_EPSILON - OUR_EPSILON)
    if name in MOBILENETS_V1:
        return KerasNetwork(ZOO[name], ZOO[name].names(width))
    if name == "mobilenetv2":
        symmetric = ZOO["mobilenet_v1"].preprocess
        architecture = replace(ZOO[name], name="mobilenetv2_keras", preprocess=symmetric, options={"keras": True})
        return KerasNetwork(architecture, architecture.names(width))
    known = (*VGG_DEPTHS, *RESNETS, *MOBILENETS_V1, "mobilenetv2")
    raise UsageError(f"no weights of Keras are known for {name!r} (known: {', '.join(known)}){suggestion(name, known)}")


def keras_checkpoint(name: str, path: Path | str, width: float = 1.0) -> tuple[KerasNetwork, Mapping[str, Array]]:
    """Return a network in Keras's form, and the weights of a .h5 or .keras file for `place_weights`.

    Raises:
        FormatError: the file is damaged, or is something else.
        UsageError: the file cannot be opened, or no weights of Keras are known for the network.
    """
    from edge_sdk.converters.keras import keras_state

    network = keras_network(name, width)
    return network, _ZooState(keras_state(path, network.flattened), network)
