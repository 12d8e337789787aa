"""What a network's checkpoint looks like: each of our parameters' key and shape, in the names of one library."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache

from edge_sdk.graph import Graph
from edge_sdk.model import HEAD
from edge_sdk.pretrained.architectures import ZOO
from edge_sdk.pretrained.conventions import Convention, conventions
from edge_sdk.spec import Value

Shape = tuple[int, ...]

_BATCH_NORM = {"scale": "weight", "offset": "bias", "mean": "running_mean", "variance": "running_var"}
# Counters of training, which inference does not read.
_COUNTERS = ("num_batches_tracked", "n_averaged")
MAX_PREFIXES = 4
EXAMPLE_CLASSES = 1000


@dataclass(frozen=True)
class Form:
    """The keys of a checkpoint by our parameters' names, and the shapes that PyTorch's layout has."""

    name: str
    width: float
    convention: Convention
    keys: Mapping[str, str]
    shapes: Mapping[str, Shape]
    heads: frozenset[str]
    """The keys of the classifier, whose first axis counts the classes."""
    ignored: tuple[str, ...] = ()
    old_keys: tuple[tuple[str, str], ...] = ()

    def current(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the keys that matter as they are called today → as they stand in the file."""
        found = {}
        for key in keys:
            today = key
            for pattern, replacement in self.old_keys:
                today = re.sub(pattern, replacement, today)
            if not today.endswith(_COUNTERS) and not (self.ignored and today.startswith(self.ignored)):
                found[today] = key
        return found


@dataclass(frozen=True)
class Comparison:
    """A form beside a checkpoint's shapes: which keys agree, and which do not.

    `keys` are those of the form → those in the file. `classes` is the classifier's, None where there is none.
    """

    form: Form
    keys: Mapping[str, str]
    agreeing: int
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    unknown: tuple[str, ...]
    classes: int | None
    shapes: Mapping[str, Shape] = field(repr=False)

    @property
    def fits(self) -> bool:
        """Whether every tensor of the network is there, but perhaps the classifier's, and no other."""
        return not (set(self.missing) - self.form.heads or self.misshapen or self.unknown)

    @property
    def score(self) -> float:
        """The share of keys that agree among all that the network or the file has."""
        return self.agreeing / (self.agreeing + len(self.missing) + len(self.misshapen) + len(self.unknown) or 1)

    @property
    def names(self) -> float:
        """The share of the network's keys that the file has, in whatever shape."""
        return 1 - len(self.missing) / len(self.form.shapes)

    def difference(self) -> str:
        """The first difference in words, and how many there are of each kind."""
        if self.missing:
            first = f"{self.missing[0]!r} is missing"
        elif self.misshapen:
            key = self.misshapen[0]
            first = f"{key!r} is {list(self.shapes[self.keys[key]])}, wanted {list(self.form.shapes[key])}"
        else:
            first = f"{self.unknown[0][:80]!r} is unknown" if self.unknown else "nothing differs"
        counts = (
            f"{len(self.missing)} keys missing, {len(self.misshapen)} of another shape, {len(self.unknown)} unknown"
        )
        return f"{first} ({counts})"


@cache
def forms(name: str, width: float = 1.0) -> tuple[Form, ...]:
    """Return the forms that checkpoints of a network of the zoo come in, the published one first."""
    architecture = ZOO[name]
    graph, _ = architecture.build(EXAMPLE_CLASSES, architecture.preprocess.size, 0, width)
    shapes = {parameter: torch_shape(graph, parameter) for parameter in graph.params}
    found = []
    for convention in conventions(architecture.module, graph, architecture.names(width)):
        keys: dict[str, str] = {parameter: published_key(parameter, convention.layers) for parameter in graph.params}
        found.append(
            Form(
                name, width, convention, keys, {keys[parameter]: shape for parameter, shape in shapes.items()},
                frozenset(key for parameter, key in keys.items() if parameter.startswith(HEAD)),
                architecture.ignored, architecture.old_keys,
            )
        )  # fmt: skip
    return tuple(found)


def torch_shape(graph: Graph, parameter: Value) -> Shape:
    """The shape of a parameter in PyTorch: (out, in, h, w), and (c, 1, h, w) of a depthwise convolution."""
    shape = graph.specs[parameter].shape
    if len(shape) != 4:
        return shape
    k, r, s, c = shape
    depthwise = graph.consumers(parameter)[0].op.name == "depthwise_conv2d"
    return (c, 1, r, s) if depthwise else (k, c, r, s)


def compare(form: Form, shapes: Mapping[str, Shape]) -> Comparison:
    """Compare a form with the shapes of a checkpoint; prefixes that all its keys share are left out where it helps."""
    prefixes = common_prefixes(tuple(shapes))
    likeliest = max(prefixes, key=lambda prefix: sum(f"{prefix}{key}" in shapes for key in form.shapes))
    return _compare(form, shapes, likeliest)


def _compare(form: Form, shapes: Mapping[str, Shape], prefix: str) -> Comparison:
    inside = {key.removeprefix(prefix): key for key in shapes if not key.endswith(_COUNTERS)}
    keys = {today: inside[key] for today, key in form.current(inside).items()}
    missing, misshapen, agreeing, classes = [], [], 0, None
    for key, wanted in form.shapes.items():
        if key not in keys:
            missing.append(key)
            continue
        found = shapes[keys[key]]
        if key in form.heads and found and found[0] > 0:
            classes = classes or found[0]  # the same for the weight and the bias
            wanted = (classes, *wanted[1:])
        if same_shape(found, wanted):
            agreeing += 1
        else:
            misshapen.append(key)
    unknown = [key for key in keys if key not in form.shapes]
    return Comparison(form, keys, agreeing, tuple(missing), tuple(misshapen), tuple(unknown), classes, shapes)


def same_shape(found: Shape, wanted: Shape) -> bool:
    """Whether the shapes are equal; a dense layer may be a convolution of the whole image, and the other way round."""
    if len(found) == len(wanted):
        return found == wanted
    return {len(found), len(wanted)} == {2, 4} and found[:1] == wanted[:1] and math.prod(found) == math.prod(wanted)


def published_key(parameter: str, layers: Mapping[str, str]) -> str:
    """The key that one of our parameters has in a state_dict, by what its layer is called there."""
    layer, _, part = parameter.rpartition(".")
    return f"{layers[layer]}.{_BATCH_NORM.get(part, part)}"


@lru_cache(maxsize=8)
def common_prefixes(keys: tuple[str, ...]) -> list[str]:
    """What all keys begin with, by whole names between dots: "", "module.", "module.model.", …"""
    common: list[str] | None = None
    for key in keys:
        if key.endswith(_COUNTERS):
            continue
        parts = key.split(".")[:-1]
        if common is None:
            common = parts[:MAX_PREFIXES]
        while common and parts[: len(common)] != common:
            common.pop()
    common = common or []
    return ["".join(f"{part}." for part in common[:count]) for count in range(len(common) + 1)]
