"""A frozen backbone is computed once, and the run comes out as if it were computed in every step."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from own_cache import own_cache
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.data.augment import Augment, random_generator
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.data.folder import ImageFolder
from edge_sdk.data.images import as_rgb
from edge_sdk.passes.dead_code import prune
from edge_sdk.session import run_once
from edge_sdk.training import feature_plan
from edge_sdk.training.features import Features, Views
from edge_sdk.training.fit import BEST, CHECKPOINT, Interrupted
from edge_sdk.training.frozen_part import cut_off_frozen
from edge_sdk.training.listener import Silent
from edge_sdk.training.step import training_forward

SETTINGS = {"epochs": 4, "batch_size": 6, "learning_rate": 0.05, "seed": 3}
STEM = ["stem.*", "block.depthwise.*", "block.norm1.*"]


class Record(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.notes, self.losses, self.unreadable = [], [], []
        self.computed = 0

    def on_note(self, message):
        self.notes.append(message)

    def on_features(self, done, total):
        self.computed = done
        assert done <= total

    def on_batch(self, epoch, batch, loss):
        self.losses.append(loss)

    def on_unreadable(self, photo):
        self.unreadable.append(photo.name)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of photos of three colours."""
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """The folder of features, which has none yet."""
    monkeypatch.setenv("EDGE_CACHE", str(own_cache(tmp_path / "cache")))
    return tmp_path / "cache" / "features"


@pytest.mark.parametrize("freeze", ["backbone", STEM])
def test_steps_are_those_of_ordinary_training(photos, freeze):
    """Without augmentation every loss, every metric and every weight agrees within float rounding."""
    once, each = Record(), Record()
    settings = {**SETTINGS, "freeze": freeze, "augment": "off"}

    cached = edge.fit(tiny_model(), photos, listener=once, **settings)
    ordinary = edge.fit(tiny_model(), photos, listener=each, feature_cache=False, **settings)

    assert "computed" in once.notes[0]
    assert each.notes == []
    np.testing.assert_allclose(once.losses, each.losses, rtol=2e-4)
    for mine, theirs in zip(cached.history, ordinary.history, strict=True):
        assert mine.validation_accuracy == pytest.approx(theirs.validation_accuracy, abs=1e-9)
        assert mine.loss == pytest.approx(theirs.loss, rel=2e-4)
    for name, array in ordinary.model.workspace.items():
        np.testing.assert_allclose(cached.model.workspace[name], array, rtol=1e-3, atol=1e-5, err_msg=name)


def test_features_are_computed_once(photos, empty_cache):
    """The first run computes each view of each photo, the second nothing, and both end with the same bytes."""
    first, second = Record(), Record()
    settings = {**SETTINGS, "freeze": "backbone", "feature_views": 2}

    one = edge.fit(tiny_model(), photos, listener=first, **settings)
    other = edge.fit(tiny_model(), photos, listener=second, **settings)

    held_out = 36 // 5
    assert first.computed in {2 * (36 - held_out + change) + held_out - change for change in (-1, 0, 1)}
    assert second.computed == 0
    assert "36 photos are computed once (2 views)" in first.notes[0]
    assert str(empty_cache) in first.notes[0]
    assert "were computed before (2 views)" in second.notes[0]
    assert one.model.workspace.digest() == other.model.workspace.digest()


@pytest.mark.parametrize(
    "change", [{"augment": "any-side-up"}, {"seed": 4}, {"feature_views": 3}], ids=lambda change: next(iter(change))
)
def test_what_decides_the_views_decides_the_file(photos, empty_cache, change):
    """Other augmentation, seed or number of views: nothing is taken from the file of the first run."""
    settings = {**SETTINGS, "freeze": "backbone", "feature_views": 2}
    edge.fit(tiny_model(), photos, **settings)
    record = Record()

    edge.fit(tiny_model(), photos, listener=record, **settings | change)

    assert record.computed >= 50


def test_other_weights_have_other_features(photos, empty_cache):
    """The frozen weights are part of the key."""
    settings = {**SETTINGS, "freeze": "backbone", "augment": "off"}
    edge.fit(tiny_model(), photos, **settings)
    record = Record()

    edge.fit(tiny_model(seed=1), photos, listener=record, **settings)

    assert record.computed == 36


def test_a_photo_that_changes_is_computed_anew(tmp_path, empty_cache):
    """Even if its name and its size stay: its bytes are part of the key."""
    data = write_photos(tmp_path / "photos")
    settings = {**SETTINGS, "freeze": "backbone", "augment": "off"}
    for path in sorted((data / "red").iterdir()):
        pixels = np.asarray(as_rgb(path))
        path.unlink()
        path.with_suffix(".ppm").write_bytes(b"P6 24 20 255\n" + pixels.tobytes())
    edge.fit(tiny_model(), data, **settings)
    changed = data / "red" / "0.ppm"
    size = changed.stat().st_size
    changed.write_bytes(changed.read_bytes()[:-1] + b"\x07")
    record = Record()

    edge.fit(tiny_model(), data, listener=record, **settings)

    assert changed.stat().st_size == size
    assert record.computed > 0


def test_views_are_functions_of_seed_photo_and_view(photos, tmp_path):
    """Each row is what the reference kernels make of that view of that photo."""
    model, augment = tiny_model(), Augment.named("any-side-up")
    dataset = ImageFolder.scan(photos).train.select(range(10))
    part = cut_off_frozen(training_forward(model, freeze="backbone"))
    features = Features(part, Views(dataset, model.preprocess, augment, seed=5, count=3), tmp_path)

    features.compute(None)

    (value,) = part.specs
    graph, workspace = prune(model.graph, model.workspace, outputs=(model.graph.producer("logits").inputs[0],))
    for view in range(3):
        rows = features.gather(np.arange(10), view)[value]
        for index in range(10):
            pixels = augment.vary(model.preprocess.crop(dataset.photo(index)), random_generator(5, view, 1, index))
            image = (pixels.astype(np.float32) - 127) / 128
            (wanted,) = run_once(graph, workspace, {"image": image[np.newaxis]}, "reference").values()
            np.testing.assert_allclose(rows[index], wanted[0], rtol=1e-4, atol=1e-5)
    assert not np.array_equal(features.gather(np.arange(10), 0)[value], features.gather(np.arange(10), 1)[value])


def test_a_photo_that_cannot_be_read_is_named_each_time(tmp_path, empty_cache):
    """It is left out as in ordinary training, by the first run and by one that finds the features."""
    data = write_photos(tmp_path / "photos")
    (data / "red" / "torn.png").write_bytes((data / "red" / "0.png").read_bytes()[:60])
    settings = {**SETTINGS, "freeze": "backbone", "augment": "off", "validation": 0.0}
    records = [Record(), Record(), Record()]

    runs = [
        edge.fit(tiny_model(), data, listener=record, feature_cache=cache, **settings)
        for record, cache in zip(records, (True, True, False), strict=True)
    ]

    assert [record.unreadable for record in records] == [["red/torn.png"]] * 3
    assert [run.unreadable for run in runs] == [("red/torn.png",)] * 3
    assert (records[0].computed, records[1].computed) == (37, 0)
    np.testing.assert_allclose(records[0].losses, records[2].losses, rtol=2e-4)
    assert records[1].losses == records[0].losses


def test_a_photo_that_can_be_read_again_is_taken_in(tmp_path):
    """What was unreadable is asked for again at each run."""

    class Flaky(ArrayDataset):
        """Its photo 3 cannot be read as long as `broken`."""

        broken = True

        def photo(self, index, shortest=None):
            if index == 3 and self.broken:
                raise edge.errors.DataError("photo 3: torn")
            return super().photo(index, shortest)

    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    dataset = Flaky.of(pixels, np.zeros(12, int), ("one",))
    model = tiny_model()
    part = cut_off_frozen(training_forward(model, freeze="backbone"))
    views = Views(dataset, model.preprocess)
    before = Features(part, views, tmp_path)
    before.compute(None)
    first = before.readable().copy()
    Flaky.broken = False
    after = Features(part, views, tmp_path)

    after.compute(None)

    assert np.flatnonzero(~first).tolist() == [3]
    assert after.readable().all()
    assert after.unreadable == []


def test_damage_in_the_cache_changes_nothing(photos, empty_cache):
    """Files with changed bytes are noticed, and the run ends with the same weights."""
    settings = {**SETTINGS, "freeze": "backbone", "feature_views": 2}
    before = edge.fit(tiny_model(), photos, **settings)
    for path in empty_cache.iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    record = Record()

    after = edge.fit(tiny_model(), photos, listener=record, **settings)

    assert record.computed > 0
    assert after.model.workspace.digest() == before.model.workspace.digest()


def test_without_a_cache_folder_the_run_is_the_same(photos, tmp_path, monkeypatch):
    """A folder that cannot be made is said, and the features are kept for the run."""
    settings = {**SETTINGS, "freeze": "backbone"}
    before = edge.fit(tiny_model(), photos, **settings)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "file"))
    record = Record()

    after = edge.fit(tiny_model(), photos, listener=record, **settings)

    assert "temporary file" in record.notes[0]
    assert "cannot be used" in record.notes[0]
    assert after.model.workspace.digest() == before.model.workspace.digest()


def test_features_that_are_too_large_are_not_kept(photos, empty_cache, monkeypatch):
    """The run says so and computes the frozen part in each epoch."""
    monkeypatch.setattr(feature_plan, "MOST_BYTES", 1000)
    record = Record()

    run = edge.fit(tiny_model(), photos, listener=record, freeze="backbone", **SETTINGS)

    assert "each epoch computes them" in record.notes[0]
    assert not empty_cache.exists()
    assert len(run.history) == 4


def test_augmentation_of_a_network_that_trains_further_is_kept(photos, empty_cache):
    """Where more than the head trains, every epoch has views of its own unless the caller names a number."""
    record = Record()

    edge.fit(tiny_model(), photos, listener=record, freeze=STEM, **SETTINGS)

    assert "feature_views" in record.notes[0]
    assert not empty_cache.exists()


class StopAt(Record):
    """Presses Ctrl-C while features are computed, or after some batches."""

    def __init__(self, rows=None, batches=None):
        super().__init__()
        self.rows, self.batches = rows, batches

    def on_features(self, done, total):
        super().on_features(done, total)
        if self.rows is not None and done >= self.rows:
            raise KeyboardInterrupt

    def on_batch(self, epoch, batch, loss):
        super().on_batch(epoch, batch, loss)
        if len(self.losses) == self.batches:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """An uninterrupted run on three views."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return edge.fit(tiny_model(), photos, out=out, freeze="backbone", feature_views=3, **SETTINGS)


def test_ctrl_c_while_features_are_computed_keeps_them(finished, photos, tmp_path, empty_cache):
    """The resumed run computes the rest and ends with the same bytes."""
    out, stopped, record = tmp_path / "run", StopAt(rows=16), Record()
    settings = {**SETTINGS, "freeze": "backbone", "feature_views": 3}
    with pytest.raises(Interrupted, match="epoch 1 after 0 batches"):
        edge.fit(tiny_model(), photos, out=out, listener=stopped, **settings)

    edge.fit(tiny_model(), photos, out=out, resume=True, listener=record, **settings)

    assert stopped.computed >= 16
    assert "are there" in record.notes[0]
    assert record.computed + stopped.computed <= 3 * 36
    assert (out / BEST).read_bytes() == (finished.folder / BEST).read_bytes()


@pytest.mark.parametrize("batches", [1, 4, 7, 13])
def test_ctrl_c_while_the_head_trains_changes_nothing(finished, photos, tmp_path, batches):
    """Models that short epochs have not written yet are written then."""
    out = tmp_path / "run"
    settings = {**SETTINGS, "freeze": "backbone", "feature_views": 3}
    with pytest.raises(Interrupted):
        edge.fit(tiny_model(), photos, out=out, listener=StopAt(batches=batches), **settings)

    resumed = edge.fit(tiny_model(), photos, out=out, resume=True, **settings)

    assert (out / BEST).read_bytes() == (finished.folder / BEST).read_bytes()
    assert (out / "last.edge").read_bytes() == (finished.folder / "last.edge").read_bytes()
    assert resumed.history == finished.history


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tiny_models import tiny_model
import edge_sdk as edge
from edge_sdk.training.listener import Silent

class Slow(Silent):
    def on_features(self, done, total):
        print("features", done, flush=True)
        time.sleep(0.02)
    def on_batch(self, epoch, batch, loss):
        print("batch", epoch, batch, flush=True)
        time.sleep(0.02)

edge.fit(
    tiny_model(), sys.argv[2], out=sys.argv[3], listener=Slow(), epochs=4, batch_size=6, learning_rate=0.05, seed=3,
    freeze="backbone", feature_views=3,
)
"""


def start(photos, out):
    """Start the run of `finished` in a process of its own."""
    tests = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, tests, str(photos), str(out)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no kill -9")
@pytest.mark.parametrize("moment", ["features", "batch 1 2"])
def test_kill_9_changes_nothing(finished, photos, tmp_path, empty_cache, moment):
    """Killed while features are computed, or while the head trains, the run is resumed to the same bytes."""
    out, record = tmp_path / "run", Record()
    child = start(photos, out)
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(moment):
            os.kill(child.pid, signal.SIGKILL)
            break
    child.wait()
    child.stdout.close()

    edge.fit(
        tiny_model(), photos, out=out, resume=True, listener=record, freeze="backbone", feature_views=3, **SETTINGS
    )

    assert child.returncode == -signal.SIGKILL
    assert 0 < record.computed < 3 * 28 if moment == "features" else record.computed == 0
    assert (out / BEST).read_bytes() == (finished.folder / BEST).read_bytes()


def test_two_runs_at_once_share_a_file(finished, photos, tmp_path, empty_cache):
    """Both compute the same key into the same folder, and both end with the same bytes."""
    children = [start(photos, tmp_path / name) for name in ("one", "two")]

    for child in children:
        child.communicate()

    assert [child.returncode for child in children] == [0, 0]
    for name in ("one", "two"):
        assert (tmp_path / name / BEST).read_bytes() == (finished.folder / BEST).read_bytes()


def test_features_of_another_setting_are_not_resumed(finished, photos, tmp_path):
    """Other views would not end with the same bytes; the message names the setting."""
    out = tmp_path / "run"
    shutil.copytree(finished.folder, out)

    with pytest.raises(edge.EdgeError, match="feature_views = 3, now it is 2"):
        edge.fit(tiny_model(), photos, out=out, resume=True, freeze="backbone", feature_views=2, **SETTINGS)
    assert (out / CHECKPOINT).exists()
