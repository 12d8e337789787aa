"""How weights of keras.applications become those of the zoo's networks.

Photos are fed as keras.applications.imagenet_utils.preprocess_input does: VGG and ResNet in mode "caffe" (blue first,
less the means 103.939, 116.779 and 123.68), the MobileNets in mode "tf" (from -1 to 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_sdk.converters.keras import keras_state
from edge_sdk.errors import UsageError
from edge_sdk.pretrained import mobilenet_v1
from edge_sdk.pretrained.keras_layers import mobilenet_v2_layers, resnet_layers, vgg_layers
from edge_sdk.spec import Array

Image = tuple[int, int, int]

VGG_CONVOLUTIONS: Mapping[str, Sequence[int]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
RESNET_BLOCKS: Mapping[str, Sequence[int]] = {
    "resnet50_keras": (3, 4, 6, 3),
    "resnet101_keras": (3, 4, 23, 3),
    "resnet152_keras": (3, 8, 36, 3),
}
RESNET_EPSILON = 1.001e-5
OUR_EPSILON = 1e-5


@dataclass(frozen=True)
class KerasNames:
    """How a network of the zoo is stored by Keras.

    Attributes:
        layers: Our layer names and Keras's.
        flattened: The dense layers behind a flattened image, with its (h, w, c).
        biased: Batch norms and the convolutions before them, whose biases the zoo's networks do not have.
        epsilon: How much larger the ε of Keras's batch norms is than ours.
    """

    layers: Mapping[str, str]
    flattened: Mapping[str, Image] = field(default_factory=dict)
    biased: Mapping[str, str] = field(default_factory=dict)
    epsilon: float = 0.0


class _ZooState(Mapping[str, Array]):
    """A state as the zoo's networks are made: convolutions before norms have no biases, classifiers are dense.

    Biases are taken off the means of the norms behind them:
    (w · x + b - mean) / √(variance + ε) is (w · x - (mean - b)) / √((variance + ε - ε') + ε').
    """

    def __init__(self, state: Mapping[str, Array], names: KerasNames) -> None:
        self._state = state
        self._epsilon = names.epsilon
        self._bias_of = {f"{norm}.running_mean": f"{convolution}.bias" for norm, convolution in names.biased.items()}
        self._left_out = set(self._bias_of.values())
        self._head = f"{names.layers['head']}.weight"

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


def keras_names(name: str, width: float = 1.0) -> KerasNames:
    """Return how the weights of a network are stored by keras.applications.

    Raises:
        UsageError: keras.applications has no such network, or has it in another form.
    """
    if name in VGG_CONVOLUTIONS:
        layers = vgg_layers(VGG_CONVOLUTIONS[name])
        return KerasNames(layers, {"fc1": (7, 7, 512)})
    if name in RESNET_BLOCKS:
        layers = resnet_layers(RESNET_BLOCKS[name])
        biased = {norm: norm.removesuffix("_bn") + "_conv" for norm in layers.values() if norm.endswith("_bn")}
        return KerasNames(layers, biased=biased, epsilon=RESNET_EPSILON - OUR_EPSILON)
    if name.startswith("mobilenet_v1"):
        return KerasNames(mobilenet_v1.names(width))
    if name == "mobilenetv2_keras":
        return KerasNames(mobilenet_v2_layers())
    known = (*VGG_CONVOLUTIONS, *RESNET_BLOCKS, "mobilenet_v1", "mobilenetv2_keras")
    hint = f"; keras.applications has it as {name}_keras" if f"{name}_keras" in known else ""
    raise UsageError(f"no weights of Keras are known for {name!r} (known: {', '.join(known)}){hint}")


def keras_checkpoint(name: str, path: Path | str, width: float = 1.0) -> tuple[Mapping[str, Array], Mapping[str, str]]:
    """Return the weights in a .h5 or .keras file as `weights_from_checkpoint` takes them: the state and layer names.

    Raises:
        FormatError: the file is damaged, or is something else.
        UsageError: the file cannot be opened, or no weights of Keras are known for the network.
    """
    names = keras_names(name, width)
    return _ZooState(keras_state(path, names.flattened), names), names.layers
