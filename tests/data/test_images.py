"""Every kind of photo becomes upright 8-bit RGB, or an error that names it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from edge_sdk.data import as_rgb, decode
from edge_sdk.errors import DataError

ORIENTATIONS = {
    # EXIF 2.32, table of tag 0x0112: how the stored array comes out of the upright one.
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_exif_orientation_is_undone(orientation, suffix, tmp_path, scene):
    """A photo stored turned or mirrored comes back as it was seen."""
    upright = np.asarray(scene(31, 20))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    stored = Image.fromarray(np.ascontiguousarray(ORIENTATIONS[orientation](upright)))
    stored.save(path, exif=exif, **({"lossless": True} if suffix == ".webp" else {}))

    decoded = decode(path)

    np.testing.assert_array_equal(np.asarray(decoded), upright)


def test_orientation_is_applied_only_once(tmp_path, scene):
    """An image that was decoded already is not turned again, and neither is one that Pillow opened."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.jpg"
    scene(40, 20).save(path, exif=exif, quality=95)

    decoded = decode(path)

    assert decoded.size == (20, 40)
    assert as_rgb(decoded).size == (20, 40)
    with Image.open(path) as opened:
        assert as_rgb(opened).size == (20, 40)


def test_damaged_exif_does_not_cost_the_photo(tmp_path, scene):
    """Pixels are good without a readable orientation."""
    path = tmp_path / "exif.png"
    scene(8, 8).save(path, exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff")

    assert decode(path).size == (8, 8)


def test_sixteen_bit_grey_is_scaled(tmp_path):
    """65535 is white and 32768 is mid-grey; Pillow's conversion would clip both to white."""
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    path = tmp_path / "grey16.png"
    Image.fromarray(values).save(path)

    pixels = np.asarray(decode(path))

    assert pixels.shape == (1, 6, 3)
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 0, 1, 1, 128, 255])
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])


def test_sixteen_bit_tiff_and_pgm_are_scaled(tmp_path):
    """The same through the other formats that carry 16 bits, one of them big-endian in mode I."""
    values = np.array([[0, 25700, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "grey16.tif")
    (tmp_path / "grey16.pgm").write_bytes(b"P5 3 1 65535\n" + values.astype(">u2").tobytes())

    for name in ("grey16.tif", "grey16.pgm"):
        np.testing.assert_array_equal(np.asarray(decode(tmp_path / name))[0, :, 1], [0, 100, 255])


@pytest.mark.parametrize(("mode", "values"), [("F", [[0.5]]), ("I", [[70000]])])
def test_pixels_without_an_agreed_range_are_refused(mode, values, tmp_path):
    """Guessing the range of float or 32-bit pixels would give a black or white photo without a word."""
    path = tmp_path / "range.tif"
    Image.fromarray(np.array(values, {"F": np.float32, "I": np.int32}[mode])).save(path)

    with pytest.raises(DataError, match=r"range\.tif: .*16 bits"):
        decode(path)


def test_cmyk_jpeg_has_its_colours(tmp_path):
    """A photo for print comes back in red, not in its complement."""
    path = tmp_path / "print.jpg"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path, quality=95)

    red, green, blue = np.asarray(decode(path))[8, 8].tolist()

    assert red > 240
    assert green < 15
    assert blue < 15


def test_transparency_is_laid_over_white(tmp_path):
    """Alpha 0 is white whatever colour stands there, and half of black is grey."""
    path = tmp_path / "alpha.png"
    Image.fromarray(np.array([[[255, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 128]]], np.uint8)).save(path)

    pixels = np.asarray(decode(path))

    np.testing.assert_array_equal(pixels[0], [[255, 0, 0], [255, 255, 255], [127, 127, 127]])


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\xff"])
def test_palette_with_transparency(transparency, tmp_path):
    """The transparent entry of a palette is white, the others keep their colour."""
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 0, 0, 0, 200, 100, 50])
    path = tmp_path / "palette.png"
    image.save(path, transparency=transparency)

    pixels = np.asarray(decode(path))

    np.testing.assert_array_equal(pixels[0], [[10, 20, 30], [255, 255, 255], [200, 100, 50]])


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "La", "RGBa", "CMYK", "YCbCr", "HSV", "PA", "I;16"]
)
def test_every_mode_of_pillow_gives_rgb(mode):
    """An image in memory is converted from whatever mode it has."""
    rgb = as_rgb(Image.new(mode, (5, 4)))

    assert (rgb.mode, rgb.size) == ("RGB", (5, 4))


def test_animation_gives_its_first_frame(tmp_path):
    """Of several frames the first one is the photo."""
    path = tmp_path / "film.gif"
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])

    assert decode(path).getpixel((0, 0)) == (255, 0, 0)


def test_bytes_decode_as_the_file_does(tmp_path, scene):
    """The bytes of a file and the file itself are the same photo."""
    path = tmp_path / "photo.jpg"
    scene(50, 40).save(path)

    np.testing.assert_array_equal(np.asarray(decode(path.read_bytes())), np.asarray(decode(str(path))))


def test_reduced_decoding_keeps_the_wanted_size(tmp_path, scene):
    """A JPEG may come smaller, never with a shorter side below the wanted one, and looks the same."""
    path = tmp_path / "large.jpg"
    scene(640, 480).save(path, quality=95)

    reduced, full = decode(path, shortest=100), decode(path)

    assert reduced.size == (160, 120)
    assert full.size == (640, 480)
    expected = np.asarray(full.resize(reduced.size, Image.Resampling.BOX), np.int16)
    assert np.abs(np.asarray(reduced, np.int16) - expected).max() <= 4


def _png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels and whose data holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bomb_is_refused(side, tmp_path):
    """A few bytes that promise billions of pixels are refused, just above Pillow's limit and far above it."""
    path = tmp_path / "bomb.png"
    path.write_bytes(_png_of(side, side))

    with pytest.raises(DataError, match=r"bomb\.png: more than the \d+ pixels"):
        decode(path)


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("name", "spoil", "reason"),
    [
        ("half.jpg", _half, "truncated"),
        ("half.png", _half, "cannot be decoded"),
        ("head.jpg", lambda data: data[:20], "header is corrupt|cannot be decoded"),
        ("empty.jpg", lambda _: b"", "the file is empty"),
        ("text.jpg", lambda _: b"<html>not found</html>", "no image of a known format"),
        ("script.jpg", lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of a known format"),
    ],
)
def test_spoilt_file_is_named_with_its_reason(name, spoil, reason, tmp_path, scene):
    """A file that is no photo raises DataError with its name and what is wrong with it."""
    buffer = io.BytesIO()
    scene(300, 300).save(buffer, "PNG" if name.endswith("png") else "JPEG")
    (tmp_path / name).write_bytes(spoil(buffer.getvalue()))

    with pytest.raises(DataError, match=reason) as caught:
        decode(tmp_path / name)

    assert name in str(caught.value)


def test_spoilt_bytes_never_raise_anything_else(scene):
    """A thousand damaged files: each decodes or raises DataError."""
    random = np.random.default_rng(0)
    outcomes = set()
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP"):
        buffer = io.BytesIO()
        scene(24, 24).save(buffer, kind)
        for _ in range(200):
            damaged = bytearray(buffer.getvalue())
            for position in random.integers(0, min(len(damaged), 400), 4):
                damaged[position] = random.integers(256)
            try:
                decode(bytes(damaged))
                outcomes.add("decoded")
            except DataError:
                outcomes.add("refused")

    assert outcomes == {"decoded", "refused"}


def test_missing_file_and_folder_are_named(tmp_path):
    """A path that is no file says so."""
    with pytest.raises(DataError, match=r"gone\.jpg: no such file"):
        decode(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match="a folder; wanted a photo"):
        decode(tmp_path)


@pytest.mark.parametrize(
    "photo",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_array_that_is_no_photo_is_refused(photo):
    """The message says what was wanted and what was found."""
    with pytest.raises(DataError, match="wanted a uint8 array"):
        as_rgb(photo)


def test_other_objects_are_refused():
    """A number is no photo."""
    with pytest.raises(DataError, match="found int"):
        as_rgb(3)


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (3, 5, 3)])
def test_array_keeps_its_pixels(shape):
    """Grey is repeated in three channels, colours stay."""
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)

    rgb = np.asarray(as_rgb(pixels))

    np.testing.assert_array_equal(rgb, np.broadcast_to(pixels.reshape(3, 5, -1), (3, 5, 3)))
