"""What a file says about itself, as the SDK and as the clients of app developers read it."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from edge_sdk.converters.tflite.flatfile import FlatModel
from edge_sdk.converters.tflite.metadata import (
    EDGE_ENTRY,
    TFLITE_ENTRY,
    About,
    add_metadata,
    append_labels,
    read_metadata,
)
from edge_sdk.converters.tflite.model_check import check_model
from edge_sdk.errors import FormatError
from edge_sdk.preprocess import Preprocess

RULE = Preprocess((8, 6), resize=10, interpolation="bicubic", mean=(1.5, 2.5, 3.5), std=(4.0, 5.0, 6.0))
ABOUT = About("cats", RULE, ("tabby", "tiger cat", "naïve ☂"), {"seed": 3})


def written(about: About = ABOUT, *, pixel_input: bool = False) -> tuple[dict[str, bytes], bytes]:
    """The entries and the whole of a file without operators."""
    model = FlatModel()
    model.subgraph("main")
    add_metadata(model, about, pixel_input=pixel_input)
    data = append_labels(model.to_bytes(), about.labels)
    return check_model(data, "file").metadata, data


def test_everything_comes_back():
    """The SDK's own entry keeps the whole preprocessing rule and the provenance."""
    found = read_metadata(*written(), "file")

    assert (found.name, found.labels, found.preprocess, found.provenance) == ("cats", ABOUT.labels, RULE, {"seed": 3})
    assert (found.mean, found.std) == (RULE.mean, RULE.std)


def test_other_clients_find_normalisation_and_labels():
    """Without the SDK's entry the standard one gives name, mean, deviation and labels."""
    entries, data = written()

    found = read_metadata({TFLITE_ENTRY: entries[TFLITE_ENTRY]}, data, "file")

    assert (found.name, found.labels, found.mean, found.std) == ("cats", ABOUT.labels, RULE.mean, RULE.std)
    assert found.preprocess is None


def test_a_file_of_pixels_tells_other_clients_not_to_normalise():
    """Mean 0 and deviation 1, while the SDK's entry still has the network's own rule."""
    found = read_metadata(*written(pixel_input=True), "file")

    assert (found.mean, found.std) == ((0.0,) * 3, (1.0,) * 3)
    assert found.preprocess == RULE


def test_the_label_file_is_an_uncompressed_zip_behind_the_model():
    """As MediaPipe and the Task Library expect it; a line end inside a label becomes a space."""
    _, data = written(About("x", RULE, ("a\nb", "c")))

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (entry,) = archive.infolist()
        assert (entry.filename, entry.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert archive.read(entry) == b"a b\nc"


def test_equal_metadata_is_equal_bytes():
    """No time stamp gets into the ZIP."""
    assert written()[1] == written()[1]


def test_a_file_without_metadata_says_nothing():
    """A file of another maker is not an error."""
    assert read_metadata({}, b"", "file").labels == ()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[1]", "format is None"),
        (b'{"format": "1"}', "format is '1'"),
        (b'{"format": 99}', "reads up to 1"),
        (b'{"format": 1, "labels": [1], "provenance": {}}', "labels"),
        (b'{"format": 1, "labels": [], "provenance": []}', "provenance"),
        (b'{"format": 1, "labels": [], "provenance": {}, "preprocess": {"size": 3}}', "preprocess"),
    ],
)
def test_a_damaged_entry_of_our_own_is_refused(entry, message):
    """The message names the file and the entry."""
    with pytest.raises(FormatError, match=rf"file, metadata EDGE_SDK.*{message}|{message}"):
        read_metadata({EDGE_ENTRY: entry}, b"", "file")


def test_standard_metadata_whose_labels_are_missing_is_refused():
    """The entry names a label file, but the ZIP was cut off."""
    entries, _ = written()

    with pytest.raises(FormatError, match=r"labels\.txt"):
        read_metadata({TFLITE_ENTRY: entries[TFLITE_ENTRY]}, b"no zip here", "file")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_labels_compressed_in_unusual_ways_are_refused(method):
    """LZMA takes the memory that an entry asks for, and a damaged one has an error of its own kind."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("labels.txt", "tabby\n" * 1000)
    entries, _ = written()

    with pytest.raises(FormatError, match="neither stored nor deflated"):
        read_metadata(entries, file.getvalue(), "file")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_truncated_standard_metadata_is_refused(share):
    """Every offset of the flatbuffer is checked."""
    entries, data = written()
    entry = entries[TFLITE_ENTRY]

    with pytest.raises(FormatError, match=TFLITE_ENTRY):
        read_metadata({TFLITE_ENTRY: entry[: int(len(entry) * share)]}, data, "file")


def test_our_entry_is_plain_json():
    """Any tool can read it."""
    entries, _ = written()

    assert json.loads(entries[EDGE_ENTRY])["labels"] == list(ABOUT.labels)
