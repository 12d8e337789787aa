"""A file that loses more than it may gets no name; the ladder is climbed as far as needed, and every file is run."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_models import rescaled_model, tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.errors import DataError, ExportError, UsageError
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.ops.activation import Gelu
from edge_sdk.preprocess import Preprocess


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve photos of each of three colours."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def trained(photos):
    """A model that tells the colours apart."""
    return edge.fit(tiny_model(), photos, epochs=4, batch_size=6, learning_rate=0.05, seed=3).model


@pytest.fixture(scope="module")
def hard(trained) -> Model:
    """The same function, with channels of very different range between two of its layers."""
    return rescaled_model(trained)


def test_an_easy_network_climbs_one_rung(trained, photos, tmp_path):
    """Plain calibration is enough, and the report says so."""
    report = edge.export(trained, tmp_path / "a.tflite", "int8", photos, photos, max_drop=3.0)

    assert [one.rung for one in report.attempts] == ["calibration"]
    assert report.drop <= 3.0
    assert json.loads((tmp_path / "a.tflite.json").read_text())["report"]["attempts"][0]["rung"] == "calibration"


def test_a_hard_network_climbs_until_its_file_is_good_enough(hard, photos, tmp_path):
    """The first file is not, a later one is, and only that one is written."""
    report = edge.export(hard, tmp_path / "a.tflite", "int8", photos, photos, max_drop=0.0)

    drops = [one.drop for one in report.attempts]
    assert len(drops) > 1
    assert drops[0] > 10
    assert drops[-1] <= 0
    assert edge.evaluate(tmp_path / "a.tflite", photos).top1 == report.file_accuracy == report.model_accuracy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tflite", "a.tflite.json"]


def test_what_is_not_good_enough_gets_another_name(hard, photos, tmp_path):
    """Nothing lies under the name asked for; beside it are the best file and a report of every layer."""
    with pytest.raises(ExportError, match=r"more than the 0\.5 allowed \(by rung: calibration .*a\.rejected\.tflite"):
        edge.export(hard, tmp_path / "a.tflite", "int8", photos, photos, max_drop=0.5, rungs=("calibration",))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.rejected.tflite", "a.rejected.tflite.json"]
    report = json.loads((tmp_path / "a.rejected.tflite.json").read_text())["report"]
    assert report["path"].endswith("a.rejected.tflite")
    layers = {layer["value"]: layer for layer in report["layers"]["layers"]}
    assert {"signal_to_noise", "cosine", "histogram", "share"} <= layers["logits"].keys()
    assert edge.evaluate(tmp_path / "a.rejected.tflite", photos).top1 == report["file_accuracy"]


def test_a_file_must_answer_as_the_model_does(hard, photos, tmp_path):
    """Where accuracy may fall without limit, other answers still send the ladder on; refused, the share is named."""
    report = edge.export(hard, tmp_path / "a.tflite", "int8", photos, photos, min_agreement=100)

    shares = [one.agreement for one in report.attempts]
    assert len(shares) > 1
    assert max(shares[:-1]) < 1 == shares[-1]
    with pytest.raises(
        ExportError, match=r"answers as the model does for \d+\.\d+ % on 36 photos, less than the 99 wanted"
    ):
        edge.export(hard, tmp_path / "b.tflite", "int8", photos, photos, min_agreement=99, rungs=("calibration",))
    assert not (tmp_path / "b.tflite").exists()


def test_a_file_of_half_precision_is_gated_too(trained, photos, tmp_path):
    """Without a ladder there is one file, and it is held against the same limit."""
    report = edge.export(trained, tmp_path / "a.tflite", "fp16", check=photos, max_drop=0.0)

    assert (report.drop, report.attempts) == (0.0, ())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": 0.5}, "photos that the int8 file was not made with"),
        ({"max_drop": -1.0, "check": "photos"}, "a number of points from 0 to 100, not -1"),
        ({"min_agreement": 98.5}, r"min_agreement=98.5 .* was not made with"),
        ({"min_agreement": 101.0, "check": "photos"}, "a number of % from 0 to 100, not 101"),
        ({"rungs": ("bias_correction",)}, "did you mean 'bias-correction'"),
        ({"min_runtime": "2.1400"}, "2.1400"),
    ],
)
def test_mistakes_are_said_before_anything_is_computed(trained, photos, tmp_path, options, message):
    """Limits without held-out photos, limits that are none, unknown rungs and runtimes."""
    given = {name: photos if value == "photos" else value for name, value in options.items()}

    with pytest.raises(UsageError, match=message):
        edge.export(trained, tmp_path / "a.tflite", "int8", photos, **given)

    assert list(tmp_path.iterdir()) == []


def test_photos_that_teach_nothing_are_refused(trained, tmp_path):
    """All of one colour each: the ranges would be those of nothing."""
    blank = np.full((20, 16, 16, 3), 7, np.uint8)

    with pytest.raises(DataError, match="one colour"):
        edge.export(trained, tmp_path / "a.tflite", "int8", blank)


def test_doubtful_photos_are_reported(trained, photos, tmp_path):
    """Two photos are few; the file is written, and the report says what may be wrong."""
    few = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)

    report = edge.export(trained, tmp_path / "a.tflite", "int8", few, photos)

    assert any("ranges will be those of single photos" in finding for finding in report.findings)


def test_a_file_that_is_too_large_gets_weights_of_4_bits(trained, photos, tmp_path):
    """Where that is enough; the limit is one that the file of 8 bits breaks."""
    wide = edge.export(trained, tmp_path / "a.tflite", "int8", photos, photos, self_test=False)

    narrow = edge.export(
        trained, tmp_path / "b.tflite", "int8", photos, photos, self_test=False, max_size=wide.bytes - 1
    )

    assert narrow.bytes < wide.bytes
    assert narrow.minimum_runtime == "2.11.0"


@pytest.mark.parametrize(("precision", "advice"), [("none", "quantize='int8' makes it smaller"), ("int8", "allowed; ")])
def test_a_file_that_stays_too_large_gets_no_name(trained, photos, tmp_path, precision, advice):
    """It lies beside, and the message has both sizes."""
    with pytest.raises(ExportError, match=r"has [\d,]+ bytes, more than the 1,000 allowed") as refusal:
        edge.export(trained, tmp_path / "a.tflite", precision, photos, photos, max_size=1000)

    assert advice in str(refusal.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.rejected.tflite", "a.rejected.tflite.json"]


def test_a_layer_on_real_numbers_may_have_no_8_bit_form(photos, tmp_path):
    """The check before the calibration knows the scheme too: a gelu is refused, and taken where it is excepted."""
    net = Network("gated", (16, 16, 3), 0)
    features = net.global_average_pool(net.conv(net.image, 8, 3, "stem"))
    graph, weights = net.head(net.builder.add(Gelu(), features, name="gate"), 3)
    model = Model(graph, weights, Preprocess((16, 16)), ("blue", "green", "red"))

    with pytest.raises(ExportError, match=r"no 8-bit form of gelu \(gate\)"):
        edge.export(model, tmp_path / "a.tflite", "int8", photos)
    report = edge.export(model, tmp_path / "a.tflite", "int8", photos, scheme=edge.Scheme(layers={"gate": "float32"}))

    assert report.operators["GELU"] == 1
    assert report.float_tensors
