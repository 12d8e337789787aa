"""The self-test in a file: recorded, read back, replayed; and the hash of everything else in it."""

from __future__ import annotations

import dataclasses
import json
import struct

import numpy as np
import pytest
from mutations import mutated
from tiny_models import LABELS, tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.converters.tflite import seal
from edge_sdk.converters.tflite.replay import limit_elsewhere, replay
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.self_test import ENTRY, SelfTest, compact, read_self_test, to_bytes
from edge_sdk.converters.tflite.verification import verify_file
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.data.folder import ImageFolder
from edge_sdk.errors import EdgeError, FormatError

PIXELS = np.random.default_rng(1).integers(0, 256, (2, 10, 7, 3), np.uint8)
OUTPUTS = np.array([[0.5, -1.5], [2.0, 0.25]], np.float32)


def entry(pixels=PIXELS, limit=1 << 20, **changes) -> bytes:
    """An entry of two photos with float outputs."""
    shown, step, packed = compact(pixels, limit)
    values = {
        "mean": (1.0, 2.0, 3.0),
        "std": (4.0, 5.0, 6.0),
        "input_dtype": "float32",
        "exact": False,
        "tolerance": 0.5,
        "limit": 0.75,
        "runtime": "r 1",
    }
    return to_bytes(SelfTest(shown, OUTPUTS[: len(shown)], **{**values, **changes}), step, packed)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of three colours, a folder a class."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def files(photos, tmp_path_factory):
    """A float and an int8 file."""
    folder = tmp_path_factory.mktemp("files")
    edge.export(tiny_model(), folder / "none.tflite", check=photos)
    edge.export(tiny_model(), folder / "int8.tflite", quantize="int8", calibrate=photos, output_type="uint8")
    return folder


def test_an_entry_comes_back():
    """Pixels and outputs bit by bit; the float input is (pixel - mean) / std."""
    test = read_self_test(entry(), "file")

    wanted = (PIXELS.astype(np.float32) - np.float32([1, 2, 3])) / np.float32([4, 5, 6])
    np.testing.assert_array_equal(test.pixels, PIXELS)
    np.testing.assert_array_equal(test.outputs, OUTPUTS)
    np.testing.assert_array_equal(test.inputs, wanted)
    assert (test.exact, test.tolerance, test.limit, test.runtime) == (False, 0.5, 0.75, "r 1")


def test_large_photos_are_kept_coarse():
    """Within 80 bytes each stored pixel stands for a square of them, and reading spreads it the same way."""
    data = entry(limit=80)

    test = read_self_test(data, "file")

    step = json.loads(data[8 : 8 + struct.unpack("<I", data[4:8])[0]])["step"]
    assert step > 1
    for y, x in ((0, 0), (9, 6), (4, 5)):
        np.testing.assert_array_equal(test.pixels[:, y, x], PIXELS[:, y // step * step, x // step * step])


def test_the_entry_of_a_file_keeps_within_its_limit(files):
    """64 KiB for a small file, which is room for two photos as they are."""
    file = TFLiteModel.open(files / "int8.tflite")

    stored = file.entries[ENTRY]

    assert len(stored) < 64 << 10
    assert read_self_test(stored, "file").pixels.shape == (2, 16, 16, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not begin"),
        (b"EST1\xff\xff\xff\xff{}", "would have"),
        (b"EST1\x01\0\0\0{", "not JSON"),
        (b"EST1\x02\0\0\0[]", "format is None"),
        (b'EST1\x0d\0\0\0{"format": 99}'.replace(b"\x0d", b"\x0e"), "would have|reads up to 1"),
        (b'EST1\x0c\0\0\0{"format":9}', "reads up to 1"),
        (b'EST1\x0c\0\0\0{"format":1}', "count"),
    ],
)
def test_a_damaged_entry_is_refused(data, message):
    """The message names the file and the entry."""
    with pytest.raises(FormatError, match=rf"^file, metadata EDGE_SELF_TEST: .*({message})"):
        read_self_test(data, "file")


def test_an_entry_that_would_unpack_to_more_than_it_says_is_refused():
    """A zip bomb is not unpacked: the announced size is the most that is made."""
    shown, step, packed = compact(np.zeros((2, 500, 500, 3), np.uint8), 1 << 20)
    few = SelfTest(
        shown[:, :4, :4], OUTPUTS, (0.0,) * 3, (1.0,) * 3, "uint8", exact=True, tolerance=1.0, limit=1.0, runtime="r"
    )
    lying = to_bytes(few, step, packed)

    with pytest.raises(FormatError, match="bytes of pixels, wanted 96"):
        read_self_test(lying, "file")


def test_mutated_entries_never_crash():
    """Each of 2000 damaged entries is read or refused with a FormatError."""
    data = entry()
    refused = 0

    for seed in range(2000):
        try:
            read_self_test(mutated(data, seed), "file")
        except FormatError:
            refused += 1

    assert refused > 1000


def test_a_file_that_was_just_written_passes(files):
    """Every check passes, the self-test exactly, and the lineage names the versions."""
    found = verify_file(files / "int8.tflite")

    assert found.passed
    assert [(check.name, check.state) for check in found.checks] == [
        (name, "passed") for name in ("hash", "side-car", "runtime", "labels", "metadata", "self-test")
    ]
    assert (found.replay.verdict, found.replay.exact_promised) == ("exact", True)
    assert found.lineage["sdk"] == edge.__version__
    assert found.lineage["calibration"]["photos"] == 36


def test_the_lineage_states_the_photos_that_judge(photos, tmp_path):
    """Those of the check, all of them, and those by which the ladder chose; their hashes are the data sets' own."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), np.uint8)
    calibrate = ArrayDataset.of(pixels, [-1] * 300, LABELS)
    chosen = [index * 300 // 200 for index in range(200)]
    rest = sorted({*range(300)} - {*chosen})
    few = calibrate.select(range(30))

    edge.export(tiny_model(), tmp_path / "a.tflite", "int8", calibrate, photos, max_drop=100, rungs=())
    edge.export(tiny_model(), tmp_path / "b.tflite", "int8", few, few.select([7]), max_drop=100, rungs=())
    edge.export(tiny_model(), tmp_path / "c.tflite", "int8", calibrate)

    climbed, aside, plain = (verify_file(tmp_path / f"{name}.tflite").lineage for name in "abc")
    folder = ImageFolder.scan(photos, labels=LABELS).train
    assert climbed["check"] == {"photos": 36, "sha256": folder.fingerprint()}
    assert climbed["calibration"] == {
        "photos": 200,
        "sha256": calibrate.select(chosen).fingerprint(),
        "judging": {"photos": 100, "sha256": calibrate.select(rest).fingerprint()},
    }
    assert aside["check"] == {"photos": 1, "sha256": calibrate.select([7]).fingerprint()}
    assert aside["calibration"] == {"photos": 30, "sha256": few.fingerprint()}
    assert (plain["check"], plain["calibration"].keys()) == (None, {"photos", "sha256"})


def test_every_damaged_byte_is_found(files, tmp_path):
    """Of 60 files with one bit flipped anywhere, none passes."""
    data = (files / "int8.tflite").read_bytes()
    path = tmp_path / "damaged.tflite"

    for at in range(7, len(data), len(data) // 60):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert not verify_file(path).passed, at


def test_mutated_files_never_crash(files, tmp_path):
    """Each of 150 damaged files is judged; all that differ from the original fail."""
    data = (files / "none.tflite").read_bytes()
    path = tmp_path / "damaged.tflite"

    for seed in range(150):
        damaged = mutated(data, seed)
        path.write_bytes(damaged)
        try:
            passed = verify_file(path).passed
        except EdgeError as error:
            pytest.fail(f"seed {seed}: {error}")
        assert not passed or damaged == data, seed


def test_changed_weights_that_are_hashed_anew_fail_the_self_test(files, tmp_path):
    """The hash is no signature; the scores of the golden photos tell."""
    data = bytearray((files / "none.tflite").read_bytes())
    bias = tiny_model().inference[1]["head.weight"].tobytes()
    at = data.find(bias)
    assert at > 0
    data[at : at + len(bias)] = np.frombuffer(bias, np.float32)[::-1].tobytes()
    mark = data.find(b"edge-sdk:sha256:") + 16
    data[mark : mark + 32] = bytes(32)
    path = tmp_path / "edited.tflite"
    path.write_bytes(seal.seal(bytes(data)))

    found = verify_file(path)

    states = {check.name: check.state for check in found.checks}
    assert states == {**dict.fromkeys(states, "passed"), "side-car": "absent", "self-test": "failed"}
    assert found.replay.verdict == "different"


def test_the_limit_elsewhere_is_four_times_what_the_sets_of_kernels_differ_by():
    """Hand values: the farthest of the sets counts, and at least one step."""
    outputs = np.array([[100, 7]], np.uint8)

    assert limit_elsewhere(1.0, outputs, [outputs, np.array([[97, 8]], np.uint8)]) == 12.0
    assert limit_elsewhere(1.0, outputs, [outputs, outputs]) == 4.0
    assert limit_elsewhere(0.25, np.array([[1.0]], np.float32), [np.array([[1.5]], np.float32)]) == 2.0


def test_a_file_knows_how_far_its_runtimes_kernels_are_from_each_other(files):
    """The limit in an 8-bit file is what its golden photos give in the three sets of kernels, run again here."""
    data = (files / "int8.tflite").read_bytes()
    file = TFLiteModel(data)
    test = read_self_test(file.entries[ENTRY], "file")
    name, result = file.inputs[0].name, file.outputs[0].name

    answers = [
        [TFLiteModel(data, profile=profile).invoke({name: x[np.newaxis]})[result] for x in test.inputs]
        for profile in ("reference", "litert")
    ]

    farthest = max(np.abs(np.concatenate(one).astype(int) - test.outputs.astype(int)).max() for one in answers)
    assert test.limit == 4 * max(1, farthest)


def test_another_runtime_may_round_otherwise(files):
    """Three steps off is different in the recording runtime, and passes when it was another one that recorded."""
    file = TFLiteModel.open(files / "int8.tflite")
    stored = read_self_test(file.entries[ENTRY], "file")
    _, step, packed = compact(stored.pixels, 1 << 20)
    moved = dataclasses.replace(stored, outputs=(stored.outputs - 3).astype(np.uint8))

    here = replay(file, to_bytes(moved, step, packed))
    elsewhere = replay(file, to_bytes(dataclasses.replace(moved, runtime="another 1.0"), step, packed))

    assert (here.verdict, here.largest_difference) == ("different", 3.0)
    assert elsewhere.verdict == "other arithmetic"


def test_the_side_car_of_another_file_is_found(files, tmp_path):
    """Its hash is not that of the file."""
    path = tmp_path / "a.tflite"
    path.write_bytes((files / "none.tflite").read_bytes())
    (tmp_path / "a.tflite.json").write_bytes((files / "int8.tflite.json").read_bytes())

    found = verify_file(path)

    assert [check.name for check in found.checks if check.state == "failed"] == ["side-car"]


def test_a_label_that_looks_like_the_hash_is_refused(tmp_path):
    """There must be one place that is the hash."""
    model = tiny_model().replace(labels=("edge-sdk:sha256:", "b", "c"))

    with pytest.raises(EdgeError, match="marks its hash"):
        edge.export(model, tmp_path / "m.tflite")
