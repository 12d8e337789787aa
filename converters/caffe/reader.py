"""Caffe's networks as Models: a .prototxt says what is computed, a .caffemodel holds the weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_sdk.converters.caffe import arrangement, pointwise, windows
from edge_sdk.converters.caffe.caffemodel import Caffemodel, read_mean
from edge_sdk.converters.caffe.conversion import Conversion, needed_layers, unread_blobs
from edge_sdk.converters.caffe.network import Layer, Network, read_network
from edge_sdk.converters.caffe.text_format import MOST_BYTES
from edge_sdk.converters.classifier import as_classifier
from edge_sdk.errors import FormatError, UsageError, suggestion
from edge_sdk.model import Model
from edge_sdk.preprocess import Preprocess

__all__ = ["arrangement", "pointwise", "read", "windows"]

IMAGENET_MEAN = (104.0069879317889, 116.66876761696767, 122.6789143406786)
"""The mean of ImageNet's photos, blue, green, red (ilsvrc_2012_mean.npy averaged over the pixels)."""

WARPED, LEAST_CROP = (256, 256), 200
"""Caffe's tools warp photos to this size before they cut out the centre, if that is hardly smaller."""


def read(
    prototxt: Path | str,
    weights: Path | str | None = None,
    *,
    mean: Path | str | Sequence[float] | None = None,
    labels: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
    output: str | None = None,
) -> Model:
    """Read a Caffe network with its weights as a Model.

    Layers run as in phase TEST; those that measure (losses, accuracy, Silence) are left out, and so is a final softmax.
    Photos are fed as Caffe's tools do: warped to 256 × 256 and cut (small inputs: stretched), blue first, less a mean,
    divided by nothing. Of a mean image the mean of each channel is taken, for a Model has one number a channel. Where
    neither `mean`, `preprocess` nor the definition says one, the mean of ImageNet is assumed; the provenance says what
    was.

    Args:
        prototxt: the definition; a deploy.prototxt, which says the input's size, rather than a train_val.prototxt.
        weights: the .caffemodel.
        mean: a .binaryproto, or numbers blue, green, red in units of 0..255.
        labels: the names of the classes, in order.
        preprocess: how photos are fed, in place of `mean` and the above.
        output: the blob with the scores, where the network has several outputs.

    Raises:
        FormatError: a file is damaged, they do not belong together, or layers have no form here, all of them named.
        UsageError: a file cannot be opened, or the weights are not given.
    """
    prototxt = Path(prototxt)
    network = read_network(_text(prototxt), str(prototxt))
    if weights is None:
        raise UsageError(f"{prototxt} is a definition without weights; give the .caffemodel that belongs to it too")
    model = Caffemodel(weights)
    try:
        chosen = _output(network.layers, output)
        layers = needed_layers(network.layers, chosen)
        conversion = Conversion(network.name, layers, model, dict(network.inputs))
        conversion.run()
        value = conversion.blob(chosen).value
        graph = conversion.builder.build(value)
    except FormatError as error:
        raise FormatError(f"{prototxt}: {error}") from error
    image = conversion.builder.inputs[0]
    facts: dict[str, Any] = {"weights": str(weights)}
    if preprocess is None:
        _, channels, height, width = network.inputs[0][1]
        preprocess = _preprocess((height, width), channels, mean, network, facts)
    elif mean is not None:
        raise UsageError("mean and preprocess are both given, but the latter has a mean of its own; wanted one of them")
    return as_classifier(
        graph, conversion.workspace, image=image, output=value, source=str(prototxt), preprocess=preprocess,
        labels=labels, provenance=facts,
    )  # fmt: skip


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                raise FormatError(f"{path}: {size} bytes; the definition of a network has at most {MOST_BYTES}")
            data = file.read(size)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    # Comments are in whatever encoding their writers used; names are ASCII in all known networks.
    return data.decode("utf-8", errors="replace")


def _output(layers: Sequence[Layer], wanted: str | None) -> str:
    outputs = unread_blobs(layers)
    if wanted is not None:
        made = dict.fromkeys(top for layer in layers for top in layer.tops)
        if wanted not in made:
            raise UsageError(f"output {wanted!r} is no blob of the network{suggestion(wanted, made)}")
        return wanted
    if len(outputs) != 1:
        names = ", ".join(outputs)[:400] or "none"
        raise FormatError(
            f"the network has {len(outputs)} outputs ({names}); say which has the scores: output={outputs[-1:]}"
        )
    return outputs[0]


def _preprocess(
    size: tuple[int, int],
    channels: int,
    mean: Path | str | Sequence[float] | None,
    network: Network,
    facts: dict[str, Any],
) -> Preprocess | None:
    """What Caffe's tools do with photos, from what the caller and the definition say; None where it is not known."""
    if channels not in (1, 3):
        return None
    said = _said(network)
    if isinstance(mean, Path | str):
        image = read_mean(mean)
        means = tuple(float(number) for number in image.mean(axis=(1, 2), dtype="float64"))
        facts["mean"] = f"{mean}: the means of the channels of the mean image {list(image.shape)}"
    elif mean is not None:
        means = tuple(map(float, mean))
    elif said["mean"]:
        means = said["mean"]
        facts["mean"] = "the definition's transform_param"
    else:
        means = IMAGENET_MEAN if channels == 3 else (0.0,)
        facts["mean"] = "assumed: the mean of ImageNet's photos" if channels == 3 else "assumed: zero"
    if len(means) == 1 < channels:
        means *= channels
    if len(means) != channels:
        raise UsageError(f"mean: {len(means)} numbers for {channels} channels; wanted one each, blue, green, red")
    scale = said["scale"]
    return Preprocess(
        size,
        stretch=WARPED if all(WARPED[0] >= side > LEAST_CROP for side in size) else None,
        channels="bgr" if channels == 3 else "grey",
        mean=means,
        std=(1 / scale,) * channels,
    )


def _said(network: Network) -> Mapping[str, Any]:
    """The mean and the factor of the layer that the photos come from."""
    if network.transform is None:
        return {"mean": (), "scale": 1.0}
    scale = network.transform.number("scale", 1.0)
    if scale <= 1e-6 or scale > 1e6:
        raise FormatError(f"transform_param: scale is {scale}, wanted a factor for pixels")
    return {"mean": tuple(network.transform.numbers("mean_value")), "scale": scale}
