"""The definition of a network in a .prototxt: its inputs and layers in one form, as phase TEST has them.

Caffe has had three forms of layers: V0 before 2014 (`layers { layer { type: "conv" } }`, refused), V1
(`layers { type: CONVOLUTION }`) and the present one (`layer { type: "Convolution" }`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_sdk.converters.caffe.text_format import Message, parse
from edge_sdk.errors import FormatError

# V1LayerParameter.LayerType; the number is the place.
V1_KINDS = (
    "NONE", "ACCURACY", "BNLL", "CONCAT", "CONVOLUTION", "DATA", "DROPOUT", "EUCLIDEAN_LOSS", "FLATTEN", "HDF5_DATA",
    "HDF5_OUTPUT", "IM2COL", "IMAGE_DATA", "INFOGAIN_LOSS", "INNER_PRODUCT", "LRN", "MULTINOMIAL_LOGISTIC_LOSS",
    "POOLING", "RELU", "SIGMOID", "SOFTMAX", "SOFTMAX_LOSS", "SPLIT", "TANH", "WINDOW_DATA", "ELTWISE", "POWER",
    "SIGMOID_CROSS_ENTROPY_LOSS", "HINGE_LOSS", "MEMORY_DATA", "ARGMAX", "THRESHOLD", "DUMMY_DATA", "SLICE", "MVN",
    "ABSVAL", "SILENCE", "CONTRASTIVE_LOSS", "EXP", "DECONVOLUTION",
)  # fmt: skip
# Names that are not the present one's letters in another case.
_V1_NAMES = {"ABSVAL": "AbsVal", "LRN": "LRN", "BNLL": "BNLL", "RELU": "ReLU", "TANH": "TanH", "MVN": "MVN",
             "SOFTMAX_LOSS": "SoftmaxWithLoss", "ARGMAX": "ArgMax", "HDF5_DATA": "HDF5Data",
             "HDF5_OUTPUT": "HDF5Output", "IM2COL": "Im2col"}  # fmt: skip

SOURCES = ("Data", "ImageData", "HDF5Data", "WindowData", "DummyData", "MemoryData", "AnnotatedData")
"""Layers that read a training set; only the first, with its photos, matters here."""
TRAINING_ONLY = (
    "Accuracy", "Silence", "SoftmaxWithLoss", "EuclideanLoss", "HingeLoss", "InfogainLoss", "ContrastiveLoss",
    "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss", "SmoothL1Loss", "HDF5Output",
)  # fmt: skip
"""Layers that measure, and compute nothing that a network's output needs."""
MOST_LAYERS = 10_000


@dataclass(frozen=True)
class Layer:
    """One layer: its present type's name, the blobs it reads and makes, and its parameters."""

    name: str
    kind: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    message: Message

    def __str__(self) -> str:
        return f"layer {self.name!r} ({self.kind})"

    def parameters(self, name: str) -> Message:
        """The message of its own parameters; its path names the layer."""
        found = self.message.message(name)
        found.path = f"{self}: {name}"
        return found


@dataclass(frozen=True)
class Network:
    """Inputs with their shapes (n, c, h, w), and the layers of phase TEST in order.

    `transform` is the transform_param of the layer that the photos come from, where there is one.
    """

    name: str
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    layers: tuple[Layer, ...]
    transform: Message | None


def read_network(text: str, source: str) -> Network:
    """Read a definition; raises FormatError for one that is damaged, of the oldest form, or without an input's size."""
    root = parse(text, source)
    layers = [_present(message, source) for message in root.messages("layer")]
    layers += [_from_v1(message, source) for message in root.messages("layers")]
    if not layers:
        raise FormatError(f"{source}: no layers are in it; wanted the definition of a Caffe network")
    if len(layers) > MOST_LAYERS:
        raise FormatError(f"{source}: {len(layers)} layers; wanted at most {MOST_LAYERS}")
    layers = [layer for layer in layers if _in_test_phase(layer.message)]
    inputs = _declared_inputs(root, source)
    transform = None
    kept = []
    for layer in layers:
        if layer.kind == "Input":
            inputs += _of_input_layer(layer)
        elif layer.kind in SOURCES:
            shape = _of_source(layer) if not inputs else None
            if shape is not None and layer.tops:
                inputs.append((layer.tops[0], shape))
                transform = layer.message.message("transform_param")
        elif layer.kind not in TRAINING_ONLY:
            kept.append(layer)
    if not inputs:
        raise FormatError(
            f"{source}: no input has a size; give the deploy.prototxt of the network, which says it "
            '(layer { type: "Input" input_param { shape { dim: 1 dim: 3 dim: 224 dim: 224 } } })'
        )
    return Network(root.text("name", "caffe"), tuple(inputs), tuple(kept), transform)


def _present(message: Message, source: str) -> Layer:
    name, kind = message.text("name"), message.text("type")
    if not kind:
        raise FormatError(f'{source}: layer {name!r} has no type; wanted one in "quotes"')
    return _layer(name, kind, message)


def _from_v1(message: Message, source: str) -> Layer:
    if "layer" in message:
        raise FormatError(
            f"{source}: layers of Caffe's form before 2014 (V0); bring the file up to date with Caffe's tool "
            "upgrade_net_proto_text"
        )
    name = message.text("name")
    kind = message.choice("type", V1_KINDS, "NONE")
    words = kind.split("_")
    return _layer(name, _V1_NAMES.get(kind, "".join(word.capitalize() for word in words)), message)


def _layer(name: str, kind: str, message: Message) -> Layer:
    return Layer(name, kind, tuple(message.texts("bottom")), tuple(message.texts("top")), message)


def _in_test_phase(message: Message) -> bool:
    """Apply the include and exclude rules to phase TEST, level 0, without stages (Net::FilterNet)."""
    includes, excludes = message.messages("include"), message.messages("exclude")
    if includes:
        return any(map(_meets, includes))
    return not any(map(_meets, excludes))


def _meets(rule: Message) -> bool:
    phase = rule.choice("phase", ("TRAIN", "TEST"), "TEST")
    low, high = rule.integer("min_level", 0, -(1 << 31)), rule.integer("max_level", 0, -(1 << 31))
    return phase == "TEST" and low <= 0 <= high and not rule.texts("stage")


def _declared_inputs(root: Message, source: str) -> list[tuple[str, tuple[int, ...]]]:
    """`input: "data"` with an `input_shape`, or four `input_dim`, for each."""
    names = root.texts("input")
    shapes = [tuple(shape.integers("dim")) for shape in root.messages("input_shape")]
    sizes = root.integers("input_dim")
    if not shapes:
        shapes = [tuple(sizes[i : i + 4]) for i in range(0, len(sizes), 4)]
    if len(names) != len(shapes) or any(not shape for shape in shapes):
        raise FormatError(f"{source}: {len(names)} inputs, but the sizes of {len(shapes)}; wanted one for each")
    return list(zip(names, shapes, strict=True))


def _of_input_layer(layer: Layer) -> list[tuple[str, tuple[int, ...]]]:
    shapes = [tuple(shape.integers("dim")) for shape in layer.parameters("input_param").messages("shape")]
    if len(shapes) not in (1, len(layer.tops)) or not layer.tops:
        raise FormatError(f"{layer}: {len(layer.tops)} inputs, but the sizes of {len(shapes)}; wanted one for each")
    return list(zip(layer.tops, shapes * len(layer.tops) if len(shapes) == 1 else shapes, strict=True))


def _of_source(layer: Layer) -> tuple[int, ...] | None:
    """The (n, c, h, w) of the photos of a training set, where the layer says it."""
    if layer.kind == "MemoryData":
        data = layer.parameters("memory_data_param")
        sizes: Sequence[int] = [data.integer(name, 0) for name in ("batch_size", "channels", "height", "width")]
        return tuple(sizes)
    if layer.kind == "DummyData":
        shapes = layer.parameters("dummy_data_param").messages("shape")
        return tuple(shapes[0].integers("dim")) if shapes else None
    transform = layer.message.message("transform_param")
    crop = transform.integer("crop_size", 0)
    channels = 1 if transform.flag("force_gray", default=False) else 3
    return (1, channels, crop, crop) if crop else None
