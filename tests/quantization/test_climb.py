"""Climbing: what decides which rung is built upon, and what each rung may do."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from tiny_models import rescaled_model, tiny_model

import edge_sdk as edge
from edge_sdk.errors import ExportError
from edge_sdk.model import INPUT, OUTPUT, Model
from edge_sdk.quantization.calibration import CalibrationImages
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe, prepare
from edge_sdk.quantization.ladder import Climbed, climb
from edge_sdk.quantization.scheme import DEFAULT, Scheme
from edge_sdk.quantization.sensitivity import sensitivities
from edge_sdk.session import Session

PHOTOS = np.random.default_rng(3).integers(0, 100, (24, 16, 16, 3), np.uint8)
PHOTOS[3::4] += 150  # those that are set aside


@pytest.fixture(scope="module")
def model() -> Model:
    """A network one of whose layers has channels 1000 : 1 apart."""
    return rescaled_model(tiny_model())


def climbed(model: Model, *rungs: str, scheme: Scheme = DEFAULT, **options) -> list[Climbed]:
    """What some rungs make of a model."""
    candidate = prepare(model, scheme=scheme)
    images = CalibrationImages.of(PHOTOS, model.labels, candidate.preprocess)
    return list(climb(candidate, images, model, rungs, **options))  # type: ignore[arg-type]


def preprocessed(model: Model, photos: np.ndarray) -> np.ndarray:
    """Photos as the network takes them."""
    return np.stack([model.preprocess(photo) for photo in photos])


def logits(graph, workspace, x: np.ndarray) -> np.ndarray:
    """What a graph answers."""
    return Session(graph, workspace, batch=len(x)).run({INPUT: x})[OUTPUT].astype(np.float64)


def relative(candidate: Candidate, x: np.ndarray) -> float:
    """The size of the error of the logits by that of the logits."""
    wanted = logits(candidate.graph, candidate.workspace, x)
    return float(np.linalg.norm(logits(*integer_graph(candidate, "float32"), x) - wanted) / np.linalg.norm(wanted))


def test_rungs_do_not_see_the_photos_they_are_judged_by(model):
    """Ranges are those of the dark photos; the error is that of the bright ones, by NumPy."""
    (found,) = climbed(model, "calibration")

    dark, bright = preprocessed(model, np.delete(PHOTOS, np.s_[3::4], axis=0)), preprocessed(model, PHOTOS[3::4])
    assert found.candidate.activations == observe(prepare(model), [dark]).activations
    wanted = logits(*model.inference, bright)
    difference = logits(*integer_graph(found.candidate, "float32"), bright) - wanted
    centred = [x - x.mean(axis=1, keepdims=True) for x in (difference, wanted)]
    assert found.error == pytest.approx(np.square(centred[0]).sum() / np.square(centred[1]).sum(), rel=1e-4)


def test_what_is_no_better_is_not_built_upon(model):
    """A rung is kept when its error is below all before."""
    found = climbed(model, "search", "equalization", "bias-correction")

    least = np.inf
    for one in found:
        assert one.kept == (one.error < least)
        least = min(least, one.error)
    assert found[0].rung == "calibration"
    assert found[-1].error != found[0].error


def test_a_rung_that_changes_nothing_is_left_out(model):
    """A network with scales for channels cannot get them."""
    assert [one.rung for one in climbed(model, "channel-scales")] == ["calibration"]


def test_one_scale_a_tensor_becomes_one_a_channel(model):
    """Where the rung is allowed, and not elsewhere."""
    scheme = Scheme(per_channel=False)

    (plain, channels), (alone,) = (climbed(model, rung, scheme=scheme) for rung in ("channel-scales", "calibration"))

    assert (plain.candidate.scheme, alone.candidate.scheme) == (scheme, scheme)
    assert channels.candidate.scheme.per_channel
    assert channels.rung == "channel-scales"


def test_layers_on_real_numbers_halve_the_error(model):
    """Each candidate has as few, in the order of their sensitivity, as bring the error to a half, a quarter, …"""
    plain, *found = climbed(model, "mixed-precision")

    dark = preprocessed(model, np.delete(PHOTOS, np.s_[3::4], axis=0))
    alone = sensitivities(plain.candidate, [dark])
    order = sorted(alone, key=lambda value: (-alone[value], value))
    counts = [one.real_layers for one in found]
    assert counts == sorted(set(counts))
    assert counts[-1] == len(order) // 2
    start = relative(plain.candidate, dark)
    for one in found[:-1]:
        assert set(one.candidate.scheme.layers) == set(order[: one.real_layers])
        error = relative(one.candidate, dark)
        fewer = dict.fromkeys(order[: one.real_layers - 1], "float32")
        scheme = dataclasses.replace(one.candidate.scheme, layers=fewer)
        before = relative(dataclasses.replace(one.candidate, scheme=scheme), dark)
        halvings = np.floor(np.log2(start / error))
        assert error <= start / 2**halvings < before
        assert not one.kept


def test_training_starts_from_integers_alone(model):
    """What mixed precision left on real numbers is not what is trained."""
    found = climbed(model, "mixed-precision", "training")

    assert found[-1].rung == "training"
    assert found[-2].real_layers > 0
    assert found[-1].real_layers == 0


def test_what_is_too_large_is_left_out(model):
    """Mixed precision ends where one more step would not fit; what does not fit is neither judged nor built upon."""
    scheme, rungs = Scheme(per_channel=False), ("channel-scales", "mixed-precision", "training")
    plain, *wide, last = climbed(model, *rungs[1:], scheme=scheme)
    asked = []

    def fits(candidate: Candidate) -> bool:
        asked.append(candidate)
        real = sum(precision == "float32" for precision in candidate.scheme.layers.values())
        return real <= wide[0].real_layers and not candidate.scheme.per_channel

    found = climbed(model, *rungs, scheme=scheme, fits=fits)

    assert len(wide) > 1
    assert [(one.rung, one.real_layers, one.error) for one in found] == [
        (one.rung, one.real_layers, one.error) for one in (plain, wide[0], last)
    ]
    assert [one.scheme.per_channel for one in asked] == [True, False, False, False]
    assert [one.rung for one in climbed(model, *rungs, scheme=scheme, fits=lambda candidate: False)] == ["calibration"]


def test_files_that_are_too_large_are_not_run(model, tmp_path):
    """Of layers on real numbers only those are tried that the size allows; without a limit there are more."""
    options = {"quantize": "int8", "calibrate": PHOTOS, "check": PHOTOS, "max_drop": 0.0, "rungs": ("mixed-precision",)}
    tried = []
    for limit in (None, "size of the second"):
        size = None if limit is None else tried[0][1]["bytes"]
        with pytest.raises(ExportError, match="more than the 0 allowed"):
            edge.export(model, tmp_path / "a.tflite", max_size=size, scheme=Scheme(per_channel=False), **options)
        tried.append(json.loads((tmp_path / "a.rejected.tflite.json").read_text())["report"]["attempts"])

    sizes = [one["bytes"] for one in tried[0]]
    assert len(sizes) > 2
    assert sizes[1] < sizes[2]
    assert tried[1] == tried[0][:2]


def test_the_report_says_how_many_layers_compute_on_real_numbers(model, tmp_path):
    """Of each attempt; and the tensors of the file that was taken are named."""
    with pytest.raises(ExportError):
        edge.export(
            model, tmp_path / "a.tflite", "int8", PHOTOS, PHOTOS, max_drop=0.0, rungs=("mixed-precision",),
            scheme=Scheme(per_channel=False),
        )  # fmt: skip

    report = json.loads((tmp_path / "a.rejected.tflite.json").read_text())["report"]
    counts = [attempt["real_layers"] for attempt in report["attempts"]]
    assert [attempt["rung"] for attempt in report["attempts"]] == [
        "calibration",
        *["mixed-precision"] * (len(counts) - 1),
    ]
    assert counts[0] == 0 < counts[1]
    assert counts == sorted(counts)
    assert report["float_tensors"]
