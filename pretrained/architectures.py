"""The networks of the zoo by name: which module builds each, how it is fed, and its smallest image."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.nn import Network
from edge_sdk.preprocess import Preprocess
from edge_sdk.spec import Value
from edge_sdk.workspace import Workspace

Name = Literal[
    "alexnet",
    "alexnet_caffe",
    "caffenet",
    "densenet121",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_lite3",
    "efficientnet_lite4",
    "googlenet",
    "googlenet_caffe",
    "mnasnet0_5",
    "mnasnet0_75",
    "mnasnet1_0",
    "mnasnet1_3",
    "mobilenet_v1",
    "mobilenet_v1_0_25",
    "mobilenet_v1_0_5",
    "mobilenet_v1_0_75",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "mobilenetv2",
    "resnet101",
    "resnet101_v1",
    "resnet152",
    "resnet152_v1",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet50_v1",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
    "squeezenet1_0",
    "squeezenet1_1",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "wide_resnet50_2",
]

WIDEST = 4.0
"""The largest factor of a width multiplier; the papers go to 2."""

# ImageNet's mean and deviation in units of 0 … 255, as torchvision normalises.
_TORCHVISION = Preprocess(
    size=(224, 224), resize=256, interpolation="bilinear",
    mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375),
)  # fmt: skip
# Of networks whose first published weights came with torchvision's later recipe.
_LATER = replace(_TORCHVISION, resize=232)
# From -1 to 1, as TensorFlow's networks want it; torchvision's GoogLeNet too, whose weights come from there.
_SYMMETRIC = replace(_TORCHVISION, mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))
# Caffe's: blue first, its mean subtracted, not divided.
_CAFFE = replace(_TORCHVISION, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0), channels="bgr")
# BVLC's own networks: the photo is warped to 256 × 256 before the centre is cut out.
_WARPED = replace(_CAFFE, resize=None, stretch=(256, 256))
_WARPED_227 = replace(_WARPED, size=(227, 227), mean=(104.006988, 116.668768, 122.678914))


def _lite(size: int) -> Preprocess:
    """EfficientNet-Lite's own rule: a central crop of size / (size + 32), bicubic, (x - 127) / 128."""
    mean, std = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)
    return Preprocess(size=(size, size), resize=size + 32, interpolation="bicubic", mean=mean, std=std)


@dataclass(frozen=True)
class Architecture:
    """A network of the zoo: the module that builds it, how it is fed, its smallest image side in pixels.

    `options` are what the module's functions take to tell its networks apart. A `scalable` network can be built with a
    width multiplier. `ignored` are the prefixes of tensors in the published checkpoint that inference does not need,
    `old_keys` patterns of keys that published checkpoints spell in an older way, with what they are called now.
    """

    name: str
    module: str
    preprocess: Preprocess
    smallest: int
    options: Mapping[str, Any] = field(default_factory=dict)
    scalable: bool = False
    ignored: tuple[str, ...] = ()
    old_keys: tuple[tuple[str, str], ...] = ()

    def build(self, classes: int, size: tuple[int, int], seed: int, width: float = 1.0) -> tuple[Graph, Workspace]:
        """Return the graph for images of `size` (height, width) in pixels, and random weights by `seed`.

        Raises:
            UsageError: a width other than 1 of a network that has none, or one out of range.
        """
        graph, workspace = self._functions().build(self._network(size, seed), classes, **self._options(width))
        return graph, workspace

    def features(self, size: tuple[int, int], seed: int = 0, width: float = 1.0) -> tuple[Graph, Workspace]:
        """Return the network without its classifier, for use as a backbone, and random weights by `seed`.

        The outputs are called stage1, stage2, …: the last feature maps of strides 4, 8, 16 and, where the network has
        it, 32, (n, h, w, c) each. Parameters are called as in the whole network.
        """
        from edge_sdk.passes.dead_code import prune
        from edge_sdk.passes.rewrite import rename

        net = self._network(size, seed)
        graph, workspace = self._functions().build(net, 1, **self._options(width))
        graph, workspace = prune(graph, workspace, outputs=tuple(net.stages))
        graph, _ = rename(graph, {value: Value(f"stage{index}") for index, value in enumerate(net.stages, 1)})
        return graph, workspace

    def names(self, width: float = 1.0) -> dict[str, str]:
        """Return our layer names and those of the published checkpoint."""
        table: dict[str, str] = self._functions().names(**self._options(width))
        return table

    def _network(self, size: tuple[int, int], seed: int) -> Network:
        return Network(self.name, (*size, 3), seed)

    def _options(self, width: float) -> dict[str, Any]:
        if width == 1.0:
            return dict(self.options)
        if not self.scalable:
            scalable = ", ".join(name for name, one in ZOO.items() if one.scalable)
            raise UsageError(f"{self.name} has one width; those with a width multiplier are {scalable}")
        if not 0 < width <= WIDEST:
            raise UsageError(f"{self.name}: width is {width}, wanted a factor above 0 and up to {WIDEST:g}")
        return {**self.options, "width": width}

    def _functions(self) -> Any:
        return importlib.import_module(f"edge_sdk.pretrained.{self.module}")


_GOOGLENET_TRAINING = ("aux1.", "aux2.")
# torchvision's old releases numbered the layers of a dense layer apart: denselayer1.norm.1.weight.
_DENSENET_OLD_KEYS = ((r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),)

ZOO: Mapping[str, Architecture] = {
    one.name: one
    for one in (
        Architecture("alexnet", "alexnet", _TORCHVISION, 63),
        Architecture("alexnet_caffe", "alexnet", _WARPED_227, 55, {"caffe": "alexnet"}),
        Architecture("caffenet", "alexnet", _WARPED_227, 55, {"caffe": "caffenet"}),
        *(
            Architecture(f"vgg{depth}{suffix}", "vgg", _TORCHVISION, 32, {"depth": depth, "norm": suffix == "_bn"})
            for depth in (11, 13, 16, 19)
            for suffix in ("", "_bn")
        ),
        *(
            Architecture(name, "resnet", _TORCHVISION, 32, {"variant": name})
            for name in (
                "resnet18",
                "resnet34",
                "resnet50",
                "resnet101",
                "resnet152",
                "wide_resnet50_2",
                "resnext50_32x4d",
            )
        ),
        *(
            Architecture(name, "resnet", _CAFFE, 32, {"variant": name})
            for name in ("resnet50_v1", "resnet101_v1", "resnet152_v1")
        ),
        Architecture("squeezenet1_0", "squeezenet", _TORCHVISION, 32, {"version": "1.0"}),
        Architecture("squeezenet1_1", "squeezenet", _TORCHVISION, 32, {"version": "1.1"}),
        Architecture("googlenet", "googlenet", _SYMMETRIC, 32, ignored=_GOOGLENET_TRAINING),
        Architecture("googlenet_caffe", "googlenet", _WARPED, 47, {"caffe": True}),
        Architecture("mobilenet_v1", "mobilenet_v1", _SYMMETRIC, 32, scalable=True),
        Architecture("mobilenet_v1_0_75", "mobilenet_v1", _SYMMETRIC, 32, {"width": 0.75}),
        Architecture("mobilenet_v1_0_5", "mobilenet_v1", _SYMMETRIC, 32, {"width": 0.5}),
        Architecture("mobilenet_v1_0_25", "mobilenet_v1", _SYMMETRIC, 32, {"width": 0.25}),
        Architecture("mobilenetv2", "mobilenet_v2", _TORCHVISION, 32, scalable=True),
        Architecture("mobilenet_v3_large", "mobilenet_v3", _TORCHVISION, 32, {"variant": "large"}, scalable=True),
        Architecture("mobilenet_v3_small", "mobilenet_v3", _TORCHVISION, 32, {"variant": "small"}, scalable=True),
        *(
            Architecture(f"efficientnet_lite{scale}", "efficientnet_lite", _lite(size), 32, {"scale": scale})
            for scale, size in enumerate((224, 240, 260, 280, 300))
        ),
        Architecture("mnasnet0_5", "mnasnet", _TORCHVISION, 32, {"width": 0.5}),
        Architecture("mnasnet0_75", "mnasnet", _LATER, 32, {"width": 0.75}),
        Architecture("mnasnet1_0", "mnasnet", _TORCHVISION, 32, scalable=True),
        Architecture("mnasnet1_3", "mnasnet", _LATER, 32, {"width": 1.3}),
        *(
            Architecture(f"shufflenet_v2_{width}", "shufflenet_v2", preprocess, 32, {"channels": width})
            for width, preprocess in (
                ("x0_5", _TORCHVISION),
                ("x1_0", _TORCHVISION),
                ("x1_5", _LATER),
                ("x2_0", _LATER),
            )
        ),
        Architecture("densenet121", "densenet", _TORCHVISION, 32, old_keys=_DENSENET_OLD_KEYS),
    )
}
ALIASES: Mapping[str, str] = {
    "bvlc_alexnet": "alexnet_caffe",
    "bvlc_googlenet": "googlenet_caffe",
    "bvlc_reference_caffenet": "caffenet",
    "mobilenet_v2": "mobilenetv2",
}


def list_models() -> tuple[str, ...]:
    """Return the names that `load` takes."""
    return tuple(sorted(ZOO))


def known_name(name: str) -> str:
    """Return the zoo's own name for `name`, which may be an alias.

    Raises:
        UsageError: there is no such network; the message suggests one.
    """
    chosen = ALIASES.get(name, name)
    if chosen not in ZOO:
        known = (*ZOO, *ALIASES)
        raise UsageError(
            f"model {name!r} is not in the zoo{suggestion(name, known)}; it has {', '.join(list_models())}"
        )
    return chosen
