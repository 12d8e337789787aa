"""Quantization-aware training brings back what rounding lost, and its run is a run like any other."""

from __future__ import annotations

import numpy as np
import pytest

import edge_sdk as edge
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.writer import write
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.errors import DataError, UsageError
from edge_sdk.evaluation import evaluate
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.calibration import CalibrationImages
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe, prepare
from edge_sdk.quantization.post_training import QuantizedModel
from edge_sdk.quantization.quantization_aware import AwareRun, distil, quantize_aware, train_candidate
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.training.fit import Interrupted, Silent

SIDE, CLASSES, SPREAD = 12, 8, 300
ONE_SCALE = Scheme(per_channel=False)
SETTINGS = {"learning_rate": 1e-3, "batch_size": 16, "augment": "off", "compute_threads": 1}


def stripes(count: int, seed: int) -> ArrayDataset:
    """Noisy photos of stripes, whose direction is the class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    angle, phase = labels * np.pi / CLASSES, random.random(count) * 2 * np.pi
    rows, columns = np.mgrid[:SIDE, :SIDE]
    along = np.cos(angle)[:, None, None] * columns + np.sin(angle)[:, None, None] * rows
    wave = 60 + 25 * np.sin(1.2 * along + phase[:, None, None])
    pixels = random.integers(0, 140, (count, SIDE, SIDE, 3)) + wave[..., None]
    return ArrayDataset.of(np.clip(pixels, 0, 255).astype(np.uint8), labels, tuple("abcdefgh"))


TRAINING, HELD_OUT = stripes(400, 0), stripes(400, 1)


@pytest.fixture(scope="module")
def model() -> Model:
    """A trained network whose channels differ 300 : 1 in range, by a rescaling that changes nothing it computes."""
    net = Network("stripes", (SIDE, SIDE, 3))
    x = net.activation(net.batch_norm(net.conv(net.image, 8, 3, "stem.conv", 2), "stem.norm"), "relu")
    x = net.activation(net.batch_norm(net.conv(x, 16, 3, "block.conv"), "block.norm"), "relu")
    graph, workspace = net.head(net.global_average_pool(x), CLASSES)
    rule = Preprocess((SIDE, SIDE), mean=(127.0,) * 3, std=(128.0,) * 3)
    plain = Model(graph, workspace, rule, TRAINING.labels, {"architecture": "stripes"})
    trained = edge.fit(plain, TRAINING, HELD_OUT, epochs=15, **{**SETTINGS, "learning_rate": 0.1}).model
    arrays = trained.workspace.copy()
    factors = np.geomspace(1, SPREAD, 8).astype(np.float32)
    arrays["stem.norm.scale"] = arrays["stem.norm.scale"] * factors
    arrays["stem.norm.offset"] = arrays["stem.norm.offset"] * factors
    arrays["block.conv.weight"] = arrays["block.conv.weight"] / factors
    return trained.replace(workspace=arrays)


@pytest.fixture(scope="module")
def candidate(model) -> Candidate:
    """It, calibrated, with one scale for all channels of a weight."""
    bare = prepare(model, "uint8", ONE_SCALE)
    return observe(bare, CalibrationImages.of(TRAINING, model.labels, bare.preprocess))


@pytest.fixture(scope="module")
def aware(model, candidate) -> AwareRun:
    """It, trained further on its integers."""
    return train_candidate(candidate, model, TRAINING, HELD_OUT, epochs=6, **SETTINGS)


def on_integers(candidate: Candidate, model: Model) -> QuantizedModel:
    """The model that a candidate becomes."""
    return QuantizedModel(*integer_graph(candidate), model.preprocess, model.labels)


def test_it_recovers_what_rounding_lost(model, candidate, aware):
    """Int8 with one scale a weight loses a quarter of the photos, and training brings them back, within a point."""
    wanted = evaluate(model, HELD_OUT).top1

    found = evaluate(on_integers(aware.candidate, model), HELD_OUT).top1

    assert wanted >= 0.98
    assert evaluate(on_integers(candidate, model), HELD_OUT).top1 < wanted - 0.25
    assert found >= wanted - 0.01


def test_the_rounded_network_predicts_as_the_integer_graph_and_the_file(model, aware):
    """On 99.5 % of the photos; Session and mobile runtime give the same logits, bit for bit."""
    graph, arrays = integer_graph(aware.candidate)
    integer = evaluate(QuantizedModel(graph, arrays, model.preprocess, model.labels), HELD_OUT).scores
    pixels = np.asarray(HELD_OUT.photos)[:64]

    rounded = evaluate(aware.run.model, HELD_OUT).scores

    assert np.mean(rounded.argmax(axis=1) == integer.argmax(axis=1)) >= 0.995
    (runtime,) = TFLiteModel(write(graph, arrays).data, "written").invoke({"image": pixels}).values()
    np.testing.assert_array_equal(runtime, integer[:64])


def test_scales_may_stay_as_they_are_given(model, candidate):
    """Without learned scales weights alone change; activations keep what calibration found."""
    aware = train_candidate(candidate, model, TRAINING, HELD_OUT, epochs=2, learned_scales=False, **SETTINGS)

    lost = evaluate(on_integers(candidate, model), HELD_OUT).top1
    assert aware.candidate.activations == candidate.activations
    assert not aware.candidate.weight_parameters
    assert evaluate(on_integers(aware.candidate, model), HELD_OUT).top1 > lost + 0.2


def test_the_result_does_not_depend_on_threads(model, candidate):
    """The same seed gives the same integers, whatever computes them."""
    first, second = (
        train_candidate(candidate, model, TRAINING, epochs=1, validation=0.0, **{**SETTINGS, "compute_threads": n})
        for n in (1, 2)
    )

    (graph, arrays), (other, others) = (integer_graph(run.candidate) for run in (first, second))
    assert graph == other
    assert arrays.digest() == others.digest()


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(model, candidate, tmp_path):
    """Its integers are those of a run without a stop."""

    class Stopping(Silent):
        def on_batch(self, epoch: int, batch: int, loss: float) -> None:
            if (epoch, batch) == (1, 5):
                raise KeyboardInterrupt

    arguments = {"epochs": 2, "out": tmp_path, **SETTINGS}
    wanted = train_candidate(candidate, model, TRAINING, HELD_OUT, **{**arguments, "out": None})
    with pytest.raises(Interrupted, match="epoch 2"):
        train_candidate(candidate, model, TRAINING, HELD_OUT, listener=Stopping(), **arguments)

    found = train_candidate(candidate, model, TRAINING, HELD_OUT, resume=True, **arguments)

    (graph, arrays), (other, others) = (integer_graph(run.candidate) for run in (wanted, found))
    assert graph == other
    assert arrays.digest() == others.digest()
    photos = model.preprocess.normalise(np.asarray(HELD_OUT.photos)[:8])
    saved = edge.load(tmp_path / "best.edge")
    np.testing.assert_array_equal(saved.run(photos), found.run.model.run(photos))


def test_photos_without_labels_are_enough(model, candidate):
    """Calibration photos and the float network's probabilities bring most of it back."""
    images = CalibrationImages.of(TRAINING, model.labels, candidate.preprocess)

    found = distil(candidate, images, epochs=25, learning_rate=1e-3)

    lost = evaluate(on_integers(candidate, model), HELD_OUT).top1
    assert evaluate(on_integers(found, model), HELD_OUT).top1 > lost + 0.2


def test_distillation_is_deterministic(candidate):
    """The same photos and seed give the same weights and scales, another seed others."""
    images = [np.random.default_rng(0).standard_normal((40, SIDE, SIDE, 3)).astype(np.float32)]

    first, second, other = (distil(candidate, images, epochs=1, seed=seed) for seed in (0, 0, 1))

    assert first.workspace.digest() == second.workspace.digest()
    assert first.activations == second.activations
    assert first.workspace.digest() != other.workspace.digest()


def test_a_model_and_photos_are_all_it_takes(model):
    """quantize_aware calibrates on the training photos; a frozen backbone keeps its weights."""
    found = quantize_aware(
        model, TRAINING, HELD_OUT, scheme=ONE_SCALE, freeze="backbone", epochs=1, learned_scales=False, **SETTINGS
    )

    before, after = prepare(model).workspace, found.candidate.workspace
    changed = [value for value in after if not np.array_equal(before[value], after[value])]
    assert sorted(changed) == ["head.bias", "head.weight"]


def test_what_makes_no_sense_is_said(model, candidate):
    """No photos, a loss that explodes, a teacher without a share of the loss, one of other classes."""
    with pytest.raises(DataError, match="no image"):
        distil(candidate, [])
    with pytest.raises(UsageError, match="smaller learning rate"):
        distil(candidate, [np.asarray(TRAINING.photos[:64], np.float32)], learning_rate=1e38)
    with pytest.raises(UsageError, match="give both or none"):
        edge.fit(model, TRAINING, teacher=model)
    with pytest.raises(UsageError, match="2 classes"):
        edge.fit(model, TRAINING, teacher=model.with_labels(("x", "y")), distillation=0.5)
    with pytest.raises(UsageError, match="distillation = 2"):
        edge.fit(model, TRAINING, teacher=model, distillation=2)


def test_a_teacher_is_followed(model):
    """With distillation alone an untrained classifier learns to give the teacher's answers; labels are not needed."""
    blank = model.with_labels(model.labels)
    wrong = ArrayDataset.of(np.asarray(TRAINING.photos), np.zeros(len(TRAINING), np.int64), TRAINING.labels)

    settings = {**SETTINGS, "freeze": "backbone", "optimizer": "adam", "learning_rate": 0.05, "epochs": 10}
    found = edge.fit(blank, wrong, validation=0.0, teacher=model, distillation=1.0, **settings).model

    agreement = evaluate(found, HELD_OUT).scores.argmax(axis=1) == evaluate(model, HELD_OUT).scores.argmax(axis=1)
    assert agreement.mean() >= 0.9
