"""How a photo becomes the input of a network: geometry, channel order and normalisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from edge_sdk.errors import FormatError, ShapeError, UsageError, suggestion

if TYPE_CHECKING:
    from PIL import Image

    from edge_sdk.data.images import Photo

Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic"]
Channels: TypeAlias = Literal["rgb", "bgr", "grey"]

INTERPOLATIONS: tuple[str, ...] = ("nearest", "bilinear", "bicubic")
CHANNELS: tuple[str, ...] = ("rgb", "bgr", "grey")
LARGEST_SIDE = 8192
MOST_SCALED = 1 << 24
"""The most pixels that a whole photo may have when it is scaled. Of a longer one, beyond 256 : 1 at 256 pixels,
only the region that is kept is resampled, where Pillow may round otherwise, since a region's bounds are float32.
"""


@dataclass(frozen=True)
class Preprocess:
    """The deterministic path from a photo to float32 (height, width, channels), the same in training and on the phone.

    `size` is (height, width) of the network's input. `resize` is the length in pixels to which the photo's shorter
    side is brought before `size` is cut out of its centre. Where `resize` is None the whole photo is stretched: to
    `stretch` (height, width), out of whose centre `size` is cut (Caffe's 256 × 256 and 227 × 227), or to `size` itself.
    The EfficientNet rule (cut a central square of size / (size + 32), then resize it) is `resize = size + 32`.

    The longer side and the centre are rounded to whole pixels and the resampling is antialiased, all as torchvision's
    Resize and CenterCrop do with a Pillow image: the pixels are the same.

    `mean` and `std` hold one number per channel in units of 0..255, in the order of `channels`: y = (x - mean) / std.
    """

    size: tuple[int, int]
    resize: int | None = None
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (255.0, 255.0, 255.0)
    channels: Channels = "rgb"
    stretch: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not _is_size(self.size):
            raise UsageError(
                f"preprocess: size must be (height, width), whole numbers from 1 to {LARGEST_SIDE}; found {self.size!r}"
            )
        if self.resize is not None and not (_is_side(self.resize) and self.resize >= max(self.size)):
            raise UsageError(
                f"preprocess: resize (the photo's shorter side) must be a whole number from {max(self.size)} (size's "
                f"larger side) to {LARGEST_SIDE}, or None to stretch; found {self.resize!r}"
            )
        if self.stretch is not None:
            self._check_stretch(self.stretch)
        _check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        _check_choice("channels", self.channels, CHANNELS)
        for field in ("mean", "std"):
            numbers = getattr(self, field)
            if (
                not isinstance(numbers, tuple)
                or len(numbers) != self.channel_count
                or not all(_is_finite_number(number) for number in numbers)
            ):
                raise UsageError(
                    f"preprocess: {field} must be {self.channel_count} finite numbers, one per channel of "
                    f"{self.channels!r}; found {numbers!r}"
                )
        if not all(number > 1e-30 for number in self.std):
            raise UsageError(f"preprocess: std must be positive in every channel (above 1e-30); found {self.std!r}")

    def _check_stretch(self, stretch: tuple[int, int]) -> None:
        if not _is_size(stretch) or stretch[0] < self.size[0] or stretch[1] < self.size[1]:
            raise UsageError(
                f"preprocess: stretch (height, width) must be whole numbers from size {self.size} to {LARGEST_SIDE}, "
                f"or None; found {stretch!r}"
            )
        if self.resize is not None:
            raise UsageError(
                f"preprocess: resize {self.resize} keeps the photo's aspect and stretch {stretch} does not: give one"
            )

    @property
    def channel_count(self) -> int:
        """The number of channels of the network's input."""
        return 1 if self.channels == "grey" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one preprocessed photo."""
        return (*self.size, self.channel_count)

    def __call__(self, photo: Photo) -> NDArray[np.float32]:
        """Return the network's input, float32 (height, width, channels), for a path, bytes, PIL image or uint8 array.

        A file that cannot be read, or an array that is not a photo, raises DataError.
        """
        from edge_sdk.data.images import as_rgb

        return self.normalise(self.crop(as_rgb(photo)))

    def crop(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return uint8 (height, width, channels): the part of `image` that evaluation sees, red first or grey."""
        rows, columns = self.scaled_size(image.width, image.height)
        if rows * columns > MOST_SCALED:
            return self.resample(image, self.crop_box(image.width, image.height))
        whole = self._resized(image, (rows, columns), (0.0, 0.0, float(image.width), float(image.height)))
        top, left = _first(rows, self.size[0]), _first(columns, self.size[1])
        return self._pixels(whole.crop((left, top, left + self.size[1], top + self.size[0])))

    def crop_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return (left, top, right, bottom) in pixels of the region of such a photo that becomes the input."""
        rows, columns = self.scaled_size(width, height)
        top, bottom = _centre(height, rows, self.size[0])
        left, right = _centre(width, columns, self.size[1])
        return (left, top, right, bottom)

    def scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """Return (height, width) in pixels to which such a photo is scaled before `size` is cut out of its centre."""
        if self.resize is None:
            return self.stretch or self.size
        # The longer side is cut to whole pixels: torchvision.transforms.functional.resize with an int.
        if width <= height:
            return (int(self.resize * height / width), self.resize)
        return (self.resize, int(self.resize * width / height))

    def resample(self, image: Image.Image, box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
        """Return uint8 (height, width, channels): the region `box` of `image` resampled with antialiasing."""
        return self._pixels(self._resized(image, self.size, box))

    def _pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        return np.array(np.asarray(image, dtype=np.uint8).reshape(self.shape))

    def _resized(
        self, image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]
    ) -> Image.Image:
        from PIL import Image

        image = image.convert("L" if self.channels == "grey" else "RGB")
        return image.resize((size[1], size[0]), Image.Resampling[self.interpolation.upper()], box=box)

    def normalise(self, pixels: NDArray[np.uint8], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return (pixels - mean) / std as float32, in the order of `channels`.

        `pixels` is uint8 (height, width, channels) or (n, height, width, channels), red first. `out` receives the
        result when given. Wrong shapes or dtypes raise ShapeError.
        """
        if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or pixels.shape[-1] != self.channel_count:
            raise ShapeError(
                f"preprocess: wanted uint8 pixels ([n,] height, width, {self.channel_count}), "
                f"found {pixels.dtype} {pixels.shape}"
            )
        if out is None:
            out = np.empty(pixels.shape, np.float32)
        elif out.dtype != np.float32 or out.shape != pixels.shape:
            raise ShapeError(
                f"preprocess: out must be float32 {pixels.shape} like the pixels; found {out.dtype} {out.shape}"
            )
        if self.channels == "bgr":
            pixels = pixels[..., ::-1]
        # By whole lines of the photo: loops over three channels cost NumPy ten times as much.
        *outer, width, channels = pixels.shape
        lines = (*outer, width * channels)
        mean, std = (np.tile(np.asarray(numbers, np.float32), width) for numbers in (self.mean, self.std))
        result = out.reshape(lines)  # the same memory, unless `out` has gaps
        np.subtract(np.ascontiguousarray(pixels).reshape(lines), mean, out=result, dtype=np.float32)
        np.divide(result, std, out=result)
        if not np.may_share_memory(result, out):
            np.copyto(out, result.reshape(out.shape))
        return out

    def with_size(self, size: int | tuple[int, int]) -> Preprocess:
        """Return the same rule for another input size; `resize` and `stretch` keep their proportion to it."""
        sides = (size, size) if isinstance(size, int) else size
        if not all(_is_side(side) for side in sides):
            return dataclasses.replace(self, size=sides)
        resize, stretch = self.resize, self.stretch
        if resize is not None:
            resize = round(resize * max(sides) / max(self.size))
        if stretch is not None:
            stretch = (round(stretch[0] * sides[0] / self.size[0]), round(stretch[1] * sides[1] / self.size[1]))
        return dataclasses.replace(self, size=sides, resize=resize, stretch=stretch)

    def to_dict(self) -> dict[str, Any]:
        """Return the rule as JSON-ready values; `from_dict` is its inverse.

        `stretch` is named only where there is one: the other rules are read by programs that do not know of it.
        """
        values = {
            "size": list(self.size),
            "resize": self.resize,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
            "channels": self.channels,
        }
        return values if self.stretch is None else {**values, "stretch": list(self.stretch)}

    @classmethod
    def from_dict(cls, values: object) -> Preprocess:
        """Read what `to_dict` wrote. Anything else raises FormatError, which names the entry that is wrong."""
        if not isinstance(values, Mapping):
            raise FormatError(f"preprocess: wanted an object with named entries, found {type(values).__name__}")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise FormatError(f"preprocess: unknown entry {name!r}{suggestion(str(name), known)}")
        for name in known:
            if name not in values and name != "stretch":
                raise FormatError(f"preprocess: the entry {name!r} is missing")
        stretch = values.get("stretch")
        try:
            return cls(
                size=cast(tuple[int, int], _tuple_of("size", values["size"])),
                resize=values["resize"],
                interpolation=values["interpolation"],
                mean=_tuple_of("mean", values["mean"]),
                std=_tuple_of("std", values["std"]),
                channels=values["channels"],
                stretch=None if stretch is None else cast(tuple[int, int], _tuple_of("stretch", stretch)),
            )
        except UsageError as error:
            raise FormatError(str(error)) from error


def _first(scaled: int, kept: int) -> int:
    """The first of the middle `kept` of `scaled` pixels, halves going to the even one: torchvision's center_crop."""
    return round((scaled - kept) / 2)


def _centre(length: int, scaled: int, kept: int) -> tuple[float, float]:
    """Where the middle `kept` of `scaled` pixels begins and ends in the `length` pixels that are scaled to them."""
    first = _first(scaled, kept)
    return (first * length / scaled, min(float(length), (first + kept) * length / scaled))


def _is_size(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_is_side(side) for side in value)


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_SIDE


def _is_finite_number(value: object) -> bool:
    # Bounded, since the arithmetic is float32's: what is finite in a file may be infinite there.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def _check_choice(field: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(
            f"preprocess: {field} must be one of {', '.join(known)}; found {value!r}{suggestion(str(value), known)}"
        )


def _tuple_of(field: str, value: object) -> tuple[Any, ...]:
    # Only lists and tuples: a string or an object would iterate too, into nonsense.
    if not isinstance(value, list | tuple):
        raise FormatError(f"preprocess: {field} must be a list of numbers, found {type(value).__name__}")
    return tuple(value)
