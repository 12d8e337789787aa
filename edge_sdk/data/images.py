"""Decoding: any photo that people have on disk becomes an upright 8-bit RGB image, or a DataError that names it."""

from __future__ import annotations

import functools
import io
import os
import unicodedata
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from edge_sdk.errors import DataError

Photo: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]"

EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".dib", ".gif",
    ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".avif",
})  # fmt: skip

# Formats that Pillow decodes by itself. Left out on purpose: those that start another program (EPS) and vector formats.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "TGA", "JPEG2000", "AVIF", "HEIF")

# EXIF orientation (tag 0x0112) → what makes the photo upright; 1 is upright already.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(source: str | os.PathLike[str] | bytes, shortest: int | None = None) -> Image.Image:
    """Return the photo in a file, or in the bytes of one, as an upright RGB image (of several frames, the first).

    Grey, palette, CMYK and 16-bit pixels are converted (16-bit grey is scaled, not clipped) and transparency is laid
    over white. With `shortest`, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side
    keeps that many pixels. A file that is missing, corrupt, truncated, of another format or larger than Pillow's
    limit for decompression bombs raises DataError with its name and the reason.
    """
    name = f"<{len(source)} bytes>" if isinstance(source, bytes) else name_as_text(os.fspath(source))
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats()) as image:
            _check_pixels(image)
            if shortest is not None:
                image.draft(None, (shortest, shortest))
            image.load()
            return _to_rgb(image)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name}: {_too_large()} ({error})") from error
    except FileNotFoundError as error:
        raise DataError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise DataError(f"{name}: a folder; wanted a photo") from error
    except UnidentifiedImageError as error:
        reason = "the file is empty" if _is_empty(source) else "no image of a known format, or its header is corrupt"
        raise DataError(f"{name}: {reason}") from error
    except Exception as error:  # decoders of hostile files raise nearly every type there is
        raise DataError(f"{name}: cannot be decoded ({str(error) or type(error).__name__})") from error


def as_rgb(photo: Photo, shortest: int | None = None) -> Image.Image:
    """Return an upright RGB image for a path, a file's bytes, a PIL image or a uint8 array (height, width[, 1|3|4]).

    `shortest` is that of `decode` and only matters for files. Anything else raises DataError.
    """
    if isinstance(photo, np.ndarray):
        return _from_array(photo)
    if isinstance(photo, Image.Image):
        name = getattr(photo, "filename", "") or f"{photo.mode} image"
        try:
            return _to_rgb(photo)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        except Exception as error:  # an image that was opened but not loaded yet fails here as in `decode`
            raise DataError(f"{name}: cannot be decoded ({str(error) or type(error).__name__})") from error
    if isinstance(photo, str | os.PathLike | bytes):
        return decode(photo, shortest)
    raise DataError(f"photo: wanted a path, bytes, a PIL image or a uint8 array, found {type(photo).__name__}")


def is_photo(path: Path) -> bool:
    """Say whether the file's extension is one of an image format that can be read."""
    return path.suffix.lower() in EXTENSIONS


def name_as_text(name: str) -> str:
    """Return a file's name as it can be written, hashed and compared on every system.

    Accents are composed, and bytes that are no UTF-8, as old disks have them, are written out.
    """
    return unicodedata.normalize("NFC", name.encode("utf-8", "backslashreplace").decode("utf-8"))


@functools.lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    # HEIF and AVIF are there only with some builds or plug-ins of Pillow, and an unknown name would raise KeyError.
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _check_pixels(image: ImageFile.ImageFile) -> None:
    # Pillow itself refuses only at twice its limit and prints a warning in between.
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise DataError(f"{_too_large()} ({image.width} x {image.height})")


def _too_large() -> str:
    return (
        f"more than the {Image.MAX_IMAGE_PIXELS} pixels that are decoded, as a guard against decompression bombs; "
        "shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS"
    )


def _is_empty(source: str | os.PathLike[str] | bytes) -> bool:
    try:
        return (len(source) if isinstance(source, bytes) else Path(source).stat().st_size) == 0
    except OSError:
        return False


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    turn = _UPRIGHT.get(_orientation(image))
    if image.mode == "RGB" and turn is None and not image.has_transparency_data:
        return image
    image = _eight_bit(image)
    if image.has_transparency_data:
        # Premultiplied grey is the one mode that has no direct way to RGBA.
        coloured = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        white = Image.new("RGBA", coloured.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, coloured)
    image = image.convert("RGB")
    if turn is not None:
        image = image.transpose(turn)
    # What is upright and opaque now must not be turned or laid over white a second time.
    image.info = {}
    return image


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - a damaged EXIF block raises many types, and the pixels are good without it
        return 1


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale grey pixels of more than 8 bits; Pillow's own conversion clips them at 255."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    if image.mode == "F":
        raise DataError("floating-point pixels have no agreed range; save it with 8 or 16 bits per channel")
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise DataError(f"grey values from {pixels.min()} to {pixels.max()}; wanted 16 bits, 0 to 65535")
    return Image.fromarray(((pixels + 128) // 257).astype(np.uint8))


def _from_array(pixels: NDArray[Any]) -> Image.Image:
    channels = 1 if pixels.ndim == 2 else pixels.shape[-1] if pixels.ndim == 3 else 0
    if pixels.dtype != np.uint8 or channels not in (1, 3, 4) or pixels.size == 0:
        raise DataError(
            "photo: wanted a uint8 array (height, width) or (height, width, channels) with 1, 3 or 4 channels, "
            f"found {pixels.dtype} {pixels.shape}"
        )
    if pixels.ndim == 3 and channels == 1:
        pixels = pixels[..., 0]
    return _to_rgb(Image.fromarray(np.ascontiguousarray(pixels)))
