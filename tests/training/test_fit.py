"""Training ends with the same bytes whatever happened on the way, and learns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.errors import DataError, UsageError
from edge_sdk.training.fit import BEST, CHECKPOINT, METRICS, Interrupted, Silent

SETTINGS = {"epochs": 4, "batch_size": 6, "learning_rate": 0.05, "seed": 3}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of photos of three colours."""
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return edge.fit(tiny_model(), photos, out=out, **SETTINGS)


def test_training_learns_colours(finished, photos):
    """A network that sees the channels tells the colours apart."""
    assert finished.history[-1].loss < finished.history[0].loss
    assert edge.evaluate(finished.model, photos).top1 > 0.9


def test_the_run_leaves_its_files(finished):
    """Metrics are JSON lines, one an epoch; the best model opens by the folder's name."""
    lines = (finished.folder / METRICS).read_text().splitlines()

    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2, 3]
    assert edge.load(finished.folder).workspace.digest() == finished.model.workspace.digest()


def test_the_same_seed_gives_the_same_bytes(finished, photos, tmp_path):
    """Another process order, other thread count of the loader: the same file."""
    again = edge.fit(tiny_model(), photos, out=tmp_path / "again", threads=1, **SETTINGS)

    assert (again.folder / BEST).read_bytes() == (finished.folder / BEST).read_bytes()


def test_another_seed_gives_other_weights(finished, photos):
    """The seed matters: order, augmentation and dropout follow it."""
    other = edge.fit(tiny_model(), photos, **{**SETTINGS, "seed": 4})

    assert other.model.workspace.digest() != finished.model.workspace.digest()


class StopAt(Silent):
    """Presses Ctrl-C after some batches."""

    def __init__(self, batches):
        self.left = batches

    def on_batch(self, epoch, batch, loss):
        """Count down."""
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_resuming_after_ctrl_c_in_an_epoch_changes_nothing(finished, photos, tmp_path):
    """The checkpoint is in the middle of an epoch, and the finished weights are those of the whole run."""
    out = tmp_path / "run"
    with pytest.raises(Interrupted, match="epoch 2"):
        edge.fit(tiny_model(), photos, out=out, listener=StopAt(7), **SETTINGS)

    resumed = edge.fit(tiny_model(), photos, out=out, resume=True, **SETTINGS)

    assert (out / BEST).read_bytes() == (finished.folder / BEST).read_bytes()
    assert resumed.history == finished.history


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tiny_models import tiny_model
import edge_sdk as edge
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.training.fit import Silent

class Slow(Silent):
    def on_batch(self, epoch, batch, loss):
        print(epoch, batch, flush=True)
        time.sleep(0.05)

edge.fit(
    tiny_model(), sys.argv[2], out=sys.argv[3], listener=Slow(), epochs=4, batch_size=6, learning_rate=0.05, seed=3
)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no kill -9")
def test_resuming_after_kill_9_changes_nothing(finished, photos, tmp_path):
    """Killed without warning in the middle of an epoch, the run goes on from its last checkpoint to the same bytes."""
    out, tests = tmp_path / "run", os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, tests, str(photos), str(out)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if line.split() == ["2", "2"]:
            os.kill(child.pid, signal.SIGKILL)
            break
    child.wait()
    child.stdout.close()

    edge.fit(tiny_model(), photos, out=out, resume=True, **SETTINGS)

    assert child.returncode == -signal.SIGKILL
    assert (out / BEST).read_bytes() == (finished.folder / BEST).read_bytes()


def test_resuming_with_other_settings_is_refused(finished, photos):
    """The message names the setting and both values."""
    with pytest.raises(UsageError, match=r"learning_rate = 0\.05, now it is 0\.1"):
        edge.fit(tiny_model(), photos, out=finished.folder, resume=True, **{**SETTINGS, "learning_rate": 0.1})


def test_a_folder_with_a_run_is_not_overwritten(finished, photos):
    """Work of hours is not lost to a repeated command."""
    with pytest.raises(UsageError, match="holds a run already"):
        edge.fit(tiny_model(), photos, out=finished.folder, **SETTINGS)


def test_nothing_to_resume_is_said(photos, tmp_path):
    """The missing checkpoint is named."""
    with pytest.raises(UsageError, match=CHECKPOINT):
        edge.fit(tiny_model(), photos, out=tmp_path, resume=True, **SETTINGS)


def test_a_model_with_other_classes_is_refused(photos):
    """The message says how to load it."""
    with pytest.raises(DataError, match="num_classes=3"):
        edge.fit(tiny_model(classes=2), photos, **SETTINGS)


@pytest.mark.parametrize("freeze", [None, "backbone"])
def test_validation_data_in_another_order_are_known_by_their_names(freeze):
    """The accuracies are those of the same photos in the model's order, on features too."""
    model, labels = tiny_model(), np.arange(12) % 3
    photos = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    training = ArrayDataset.of(photos, labels, model.labels)
    turned = ArrayDataset.of(photos, 2 - labels, model.labels[::-1])

    wanted, found = (edge.fit(model, training, data, epochs=2, freeze=freeze) for data in (training, turned))

    assert [m.validation_accuracy for m in found.history] == [m.validation_accuracy for m in wanted.history]


def test_validation_data_of_other_classes_are_refused_before_training():
    """A class that is not trained on cannot be recognised."""
    model, photos = tiny_model(), np.zeros((6, 16, 16, 3), np.uint8)
    training, other = (
        ArrayDataset.of(photos, np.arange(6) % 3, names) for names in (model.labels, (*model.labels[:2], "pink"))
    )

    with pytest.raises(DataError, match="'pink' is none of those"):
        edge.fit(model, training, other, epochs=1)


def test_an_unknown_setting_gets_a_suggestion(photos):
    """A typo is no silent default."""
    with pytest.raises(UsageError, match="did you mean 'epochs'"):
        edge.fit(tiny_model(), photos, epoch=3)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("epochs", "5", "a whole number of at least 1"),
        ("epochs", 1.5, "a whole number of at least 1"),
        ("batch_size", True, "a whole number of at least 1"),
        ("learning_rate", 0, "a number above 0, or None"),
        ("weight_decay", float("nan"), "a number of at least 0"),
        ("freeze", True, 'None, "backbone", or patterns of parameter names'),
        ("seed", -1, "a whole number of at least 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(photos, name, value, wanted):
    """The message has the value and what was wanted."""
    with pytest.raises(UsageError) as raised:
        edge.fit(tiny_model(), photos, **{name: value})

    assert str(raised.value) == f"{name} = {value!r} makes no sense for training; wanted {wanted}"


def test_a_frozen_backbone_stays(photos):
    """Only the head changes, not even running statistics."""
    model = tiny_model()

    run = edge.fit(model, photos, freeze="backbone", **SETTINGS)

    for name, before in model.workspace.items():
        changed = not np.array_equal(before, run.model.workspace[name])
        assert changed == name.startswith("head."), name


def test_training_session_takes_steps():
    """The public one-step Session lowers the loss and updates its weights."""
    session = edge.training_session(tiny_model(), batch=4, optimizer="adamw", learning_rate=0.01)
    random = np.random.default_rng(0)
    feeds = {"image": random.standard_normal((4, 16, 16, 3), np.float32), "label": np.array([0, 1, 2, 0])}

    losses = [float(session.run(feeds)["loss"]) for _ in range(20)]

    assert losses[-1] < losses[0]


def test_a_frozen_pattern_that_matches_nothing_is_refused():
    """Freezing nothing by a typo would train everything."""
    with pytest.raises(UsageError, match="matches no parameter"):
        edge.training_session(tiny_model(), batch=2, freeze=["stam.*"])
