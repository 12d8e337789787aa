"""`match`: which network of the zoo a checkpoint belongs to, by the names and shapes of its tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edge_sdk.pretrained.architectures import ZOO
from edge_sdk.pretrained.checkpoint_form import Comparison, Shape, compare, forms
from edge_sdk.pretrained.conventions import PUBLISHED

UNKNOWN_NAMES = "unknown"
# Factors of channels that the papers and libraries have.
WIDTHS = (0.25, 0.35, 0.5, 0.75, 1.1, 1.2, 1.25, 1.3, 1.4, 1.5, 2.0)
# Below, a checkpoint has only a few tensors in common with a network, and is none of its.
LEAST_SCORE = 0.3
SAME_NETWORK = 0.9
SAME_NAMES = 0.8


@dataclass(frozen=True)
class Match:
    """A network of the zoo that a checkpoint may belong to.

    `library` says whose names the tensors have: "published", "timm", "transformers", or "unknown" where only the shapes
    agree. `classes` is the classifier's, None where the checkpoint has none. `score` is the share of tensors that
    agree.
    """

    name: str
    library: str
    width: float
    classes: int | None
    score: float
    missing: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    loads: bool = False
    """Whether `pretrained.load(name, weights=path)` takes the file as it is."""

    def __str__(self) -> str:
        names = {PUBLISHED: "", UNKNOWN_NAMES: ", by its shapes; the names are of no known library"}
        width = "" if self.width == 1 else f" of width {self.width:g}"
        classes = "no classifier" if self.classes is None else f"{self.classes} classes"
        return f"{self.name}{width} with {classes}{names.get(self.library, f', in the names of {self.library}')}"


def match(path: Path | str, part: str | None = None) -> tuple[Match, ...]:
    """Return the networks that a file of weights may belong to, the likeliest first; none when it resembles none.

    The tensors themselves are not read. `part` names one of several sets of tensors in a PyTorch checkpoint.

    Raises:
        FormatError: the file is no checkpoint, or is damaged.
        UsageError: the file cannot be opened, or has no such part.
    """
    from edge_sdk.converters.weights_file import read_weights

    return match_shapes(read_weights(path, part).shapes)


def match_shapes(shapes: Mapping[str, Shape]) -> tuple[Match, ...]:
    """Return the networks whose tensors have such names and shapes, the likeliest first."""
    comparisons = [best_comparison(name, shapes) for name in ZOO]
    if not any(one.fits for one in comparisons):
        comparisons = [_of_some_width(one, shapes) for one in comparisons]
    found = [_match(one) for one in comparisons]
    if not any(one.score >= LEAST_SCORE for one in found):
        found = [_by_shapes_alone(name, shapes) for name in ZOO]
    likely = [one for one in found if one.score >= LEAST_SCORE]
    return tuple(sorted(likely, key=lambda one: (-one.score, abs(one.width - 1))))


def best_comparison(name: str, shapes: Mapping[str, Shape], width: float = 1.0) -> Comparison:
    """Compare a network in all its forms with the shapes of a checkpoint, and return the form that agrees best."""
    return max((compare(form, shapes) for form in forms(name, width)), key=lambda comparison: comparison.score)


def _of_some_width(one: Comparison, shapes: Mapping[str, Shape]) -> Comparison:
    """Try other widths where the keys are the network's and the channels are not."""
    name = one.form.name
    if not ZOO[name].scalable or not one.misshapen or one.names < SAME_NAMES:
        return one
    return max((one, *(best_comparison(name, shapes, width) for width in WIDTHS)), key=lambda other: other.score)


def _match(one: Comparison) -> Match:
    return Match(
        one.form.name, one.form.convention.library, one.form.width, one.classes, one.score,
        one.missing, one.misshapen, one.unknown, loads=one.fits and one.classes is not None,
    )  # fmt: skip


def _by_shapes_alone(name: str, shapes: Mapping[str, Shape]) -> Match:
    """Count equal shapes; the classifier is taken for the last tensor of two axes."""
    form = forms(name)[0]
    wanted = Counter(_squeezed(shape) for key, shape in form.shapes.items() if key not in form.heads)
    found = Counter(_squeezed(shape) for shape in shapes.values() if shape)
    common = (wanted & found).total()
    classes = next((shape[0] for shape in reversed(list(shapes.values())) if len(shape) == 2), None)
    unpaired = wanted.total() + max(found.total() - len(form.heads), 0) - common
    return replace(_EMPTY, name=name, classes=classes, score=common / max(unpaired, 1))


def _squeezed(shape: Shape) -> Shape:
    return tuple(dimension for dimension in shape if dimension != 1)


_EMPTY = Match("", UNKNOWN_NAMES, 1.0, None, 0.0)
