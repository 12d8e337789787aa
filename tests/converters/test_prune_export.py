"""Files that are too large: weights of 4 bits, then fewer channels, trained again; every file is run and judged."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_models import wide_model, write_photos

import edge_sdk as edge
from edge_sdk.converters.gate import Attempt, Limits, Stage, first_good_enough, rejected_path
from edge_sdk.converters.tflite.edges import Edges
from edge_sdk.converters.tflite.finished_file import Writer
from edge_sdk.converters.tflite.fitting import ROOM, prune_to_size, size_of_file
from edge_sdk.data.folder import ImageFolder
from edge_sdk.edge_file import digest
from edge_sdk.errors import DataError, ExportError, UsageError
from edge_sdk.training.fit import Run


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve photos of each of three colours."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def trained(photos):
    """A model with channels to spare that tells the colours apart."""
    return edge.fit(wide_model(), photos, epochs=3, batch_size=6, learning_rate=0.05, seed=3).model


def small(trained, photos, path, **options):
    """The int8 export of a model that may lose channels."""
    given = {"max_drop": 3.0, "prune": True, "train": photos, "prune_epochs": 2, **options}
    return edge.export(trained, path, "int8", photos, photos, **given)


def test_what_fits_whole_keeps_its_channels(trained, photos, tmp_path):
    """Nothing is removed that need not be."""
    report = small(trained, photos, tmp_path / "a.tflite", max_size=60_000)

    assert [one.stage for one in report.attempts] == ["int8"]


def test_weights_of_4_bits_come_before_fewer_channels(trained, photos, tmp_path):
    """Where they are enough."""
    report = small(trained, photos, tmp_path / "a.tflite", max_size=35_000)

    assert [one.stage for one in report.attempts] == ["int8", "int8 with int4 weights"]
    assert [one.bytes <= 35_000 for one in report.attempts] == [False, True]


def test_channels_go_where_4_bits_are_not_enough(trained, photos, tmp_path):
    """The file is small enough, runs as its report says, and tells of the whole model that it was made of."""
    path = tmp_path / "a.tflite"
    report = small(trained, photos, path, max_size=22_000)

    assert [one.stage for one in report.attempts[:2]] == ["int8", "int8 with int4 weights"]
    assert report.attempts[2].stage.endswith("% of the weights")
    assert path.stat().st_size == report.bytes == report.attempts[-1].bytes <= 22_000
    assert edge.evaluate(path, photos).top1 == report.file_accuracy >= report.model_accuracy - 0.03
    assert report.model_accuracy == edge.evaluate(trained, photos).top1
    pruning = json.loads((tmp_path / "a.tflite.json").read_text())["provenance"]["pruning"]
    assert pruning["model_sha256"] == digest(trained)
    assert pruning["weights"][1] < pruning["weights"][0]
    assert edge.load(path).graph.specs["logits"].shape[-1] == 3


def test_a_pruned_network_is_held_against_the_whole_one(trained, photos, tmp_path):
    """The difference of logits is to the whole model's: it is what an independent comparison of both gives."""
    path = tmp_path / "a.tflite"
    report = small(trained, photos, path, max_size=22_000)

    whole, file = (edge.evaluate(each, photos).scores for each in (trained, path))
    assert report.largest_difference == pytest.approx(np.abs(whole - file).max(), abs=1e-6)


def test_a_float_file_loses_channels_too(trained, photos, tmp_path):
    """It has no form of fewer bits, is as exact as any float file to its own network, and as small as asked for."""
    report = edge.export(
        trained, tmp_path / "a.tflite", check=photos, max_size=80_000, prune=True, train=photos, prune_epochs=1
    )

    assert next(one.stage for one in report.attempts) == "none"
    assert report.bytes <= 80_000
    assert report.relative_difference > 1e-4


def test_nothing_is_small_enough(trained, photos, tmp_path):
    """The smallest of the files that there are lies beside, with what was tried."""
    with pytest.raises(ExportError, match=r"has [\d,]+ bytes, more than the 4,000 allowed"):
        small(trained, photos, tmp_path / "a.tflite", max_size=4_000)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.rejected.tflite", "a.rejected.tflite.json"]
    report = json.loads((tmp_path / "a.rejected.tflite.json").read_text())["report"]
    assert report["bytes"] == min(one["bytes"] for one in report["attempts"])


def test_small_enough_files_that_lose_too_much_are_refused(trained, photos, tmp_path, monkeypatch):
    """After a training that spoils it no file gets the name; the message has every stage with what it loses."""

    def spoil(pruned, *_, **__):
        arrays = pruned.model.workspace.copy()
        arrays["head.weight"][...] *= -1
        return Run(pruned.model.replace(workspace=arrays), (), None)

    monkeypatch.setattr("edge_sdk.converters.tflite.stages.fine_tune", spoil)

    with pytest.raises(ExportError, match=r"by rung: int8 calibration 0\.00, .*% of the weights"):
        small(trained, photos, tmp_path / "a.tflite", max_size=22_000, max_drop=0.5, rungs=("calibration",))

    assert not (tmp_path / "a.tflite").exists()
    report = json.loads((tmp_path / "a.rejected.tflite.json").read_text())["report"]
    assert [one["stage"][:22] for one in report["attempts"][:2]] == ["int8", "int8 with int4 weights"]
    assert len(report["attempts"]) == 4
    assert report["bytes"] <= 22_000
    assert report["drop"] == min(one["drop"] for one in report["attempts"] if one["bytes"] <= 22_000) > 10


def test_the_same_call_gives_the_same_bytes(trained, photos, tmp_path):
    """Pruning, training and writing have no other source of chance than the seed."""
    for name in ("a", "b"):
        small(trained, photos, tmp_path / f"{name}.tflite", max_size=22_000)

    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()


@pytest.mark.parametrize("precision", ["none", "fp16", "dynamic", "int8", "int16x8"])
def test_the_size_of_a_file_is_known_before_it_is_made(trained, photos, tmp_path, precision):
    """It is that of the finished file, less at most what is left free for it."""
    calibrate = photos if precision.startswith("int") else None
    report = edge.export(trained, tmp_path / "a.tflite", precision, calibrate, photos)

    dataset = ImageFolder.scan(photos).train
    edges = Edges(precision.startswith("int"))
    scheme = edge.Scheme(activations="int16") if precision == "int16x8" else edge.Scheme()
    size = size_of_file(Writer(trained, precision, dataset, edges, dataset, None, fixed_batch=False), scheme)

    assert abs(size - report.bytes) < ROOM / 2


def test_the_largest_network_that_fits_is_kept(trained, photos):
    """One step of 8 channels more would make its file too large, by files that were written here."""
    pruned = prune_to_size(trained, 30_000, photos)
    dataset = ImageFolder.scan(photos).train

    def size(model):
        return size_of_file(Writer(model, "int8", dataset, Edges(integers=True), dataset, None, fixed_batch=False))

    assert size(pruned.model) + ROOM <= 30_000
    share = pruned.weights[1] / pruned.weights[0]
    larger = (edge.prune_channels(trained, share + 0.02 * step, "weights", photos) for step in range(1, 20))
    bigger = next(each for each in larger if each.weights[1] > pruned.weights[1])
    assert size(bigger.model) + ROOM > 30_000


def test_mistakes_are_said_before_anything_is_computed(trained, photos, tmp_path):
    """Pruning without a size or photos, with photos of other classes, of no epoch; sizes out of reach."""
    for options, message in (
        ({"max_size": None}, "give max_size= "),
        ({"train": None, "max_size": 9}, "train= "),
        ({"max_size": 9, "prune_epochs": 0}, "prune_epochs"),
    ):
        with pytest.raises(UsageError, match=message):
            small(trained, photos, tmp_path / "a.tflite", **options)
    other = write_photos(tmp_path / "other")
    (other / "red").rename(other / "pink")
    with pytest.raises(DataError, match="'pink', a class that the model does not have"):
        small(trained, photos, tmp_path / "a.tflite", train=other, max_size=22_000)
    with pytest.raises(UsageError, match=r"no int8 file of at most 900 bytes .* with 8 channels a layer it has [\d,]+"):
        prune_to_size(trained, 900, photos)


def test_a_model_trained_in_8_bits_is_not_pruned(trained, photos):
    """Its scales are those of the channels that it has."""
    rounded = edge.quantize_aware(trained, photos, epochs=1, batch_size=6).run.model

    with pytest.raises(UsageError, match="trained in 8-bit numbers; prune the model that this training began with"):
        edge.prune_channels(rounded, 0.5)


class Paper:
    """A finished file of some other kind."""

    def __init__(self, bytes_, drop, attempts=()):
        self.report = Sheet(bytes_, drop, attempts)

    def with_report(self, **changes):
        """The same with other fields."""
        return Paper(self.report.bytes, self.report.drop, changes.get("attempts", self.report.attempts))

    def save(self, path, **more):
        """Leave its drop under the name."""
        path.write_text(str(self.report.drop))


class Sheet:
    """Its report."""

    precision, photos, agreement, file_accuracy = "paper", 5, 0.5, None

    def __init__(self, bytes_, drop, attempts):
        self.bytes, self.drop, self.attempts = bytes_, drop, attempts


def stages():
    """Three stages by hand, of (bytes, drop)."""
    files = {"whole": [(900, 1.0)], "narrow": [(500, 9.0), (500, 8.0)], "small": [(400, 4.0)]}
    return [
        Stage(name, [(None, one) for one in forms], lambda form: Paper(*form), last_if_it_fits=name == "whole")
        for name, forms in files.items()
    ]


@pytest.mark.parametrize(
    ("limits", "wanted", "tried"),
    [
        (Limits(), (900, 1.0), 0),
        (Limits(max_size=800), (500, 9.0), 2),
        (Limits(max_drop=8.5, max_size=800), (500, 8.0), 3),
        (Limits(max_drop=5.0, max_size=800), (400, 4.0), 4),
    ],
)
def test_the_first_file_within_limits_is_taken(tmp_path, limits, wanted, tried):
    """Of any kind: the gate asks for no more than a report and a way to save."""
    finished = first_good_enough(tmp_path / "a.txt", stages(), limits)

    assert (finished.report.bytes, finished.report.drop) == wanted
    assert len(finished.report.attempts) == tried
    assert all(isinstance(one, Attempt) for one in finished.report.attempts)


@pytest.mark.parametrize(
    ("limits", "message", "left"),
    [
        (Limits(max_drop=0.5), r"loses 1\.00 % of the answers on 5 photos, more than the 0\.5 allowed", 1.0),
        (Limits(max_drop=0.5, max_size=800), r"loses 4\.00 .*by rung: whole 1\.00, narrow 9\.00, narrow 8\.00", 4.0),
        (Limits(max_drop=0.5, max_size=300), "has 400 bytes, more than the 300 allowed", 4.0),
    ],
)
def test_the_best_of_the_files_that_are_not_is_left(tmp_path, limits, message, left):
    """Of those that fit the one that loses least, else the smallest; none is tried behind a whole one that fits."""
    with pytest.raises(ExportError, match=message):
        first_good_enough(tmp_path / "a.txt", stages(), limits)

    assert rejected_path(tmp_path / "a.txt").read_text() == str(left)
