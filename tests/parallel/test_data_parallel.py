"""Training in several processes: the run of a single one, to rounding; the same weights in all of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from parallel_runs import plain_model, trained, written
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.cli.main import main
from edge_sdk.data.folder import ImageFolder
from edge_sdk.errors import UsageError
from edge_sdk.graph import Graph
from edge_sdk.ops.communication import FinishMean, StartMean
from edge_sdk.training.optimizers import named_optimizer
from edge_sdk.training.step import training_forward

SETTINGS = {"epochs": 2, "batch_size": 4, "learning_rate": 0.05, "seed": 3, "feature_cache": False}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six photos of each of three colours."""
    return str(write_photos(tmp_path_factory.mktemp("photos"), 6))


def close(found, wanted):
    """Compare two results of `trained`."""
    assert found["losses"] == pytest.approx(wanted["losses"], rel=1e-5)
    assert found["accuracies"] == wanted["accuracies"]
    for name, array in wanted["weights"].items():
        np.testing.assert_allclose(found["weights"][name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def test_two_processes_do_what_one_does(photos):
    """Each batch's photos are the same ones, and so are losses, accuracies and weights, in both processes."""
    found = edge.run_processes(2, trained, photos, None, SETTINGS)

    close(found, trained(photos, None, SETTINGS))
    assert found["same"] == 2


def test_all_processes_have_the_same_model(photos, tmp_path):
    """Running statistics too, which are of a process's own rows: the first one's; every figure is of that model."""
    settings = {**SETTINGS, "epochs": 2}

    found = edge.run_processes(2, trained, photos, str(tmp_path / "run"), settings, 0, tiny_model)

    held_out = ImageFolder.scan(photos).split(0.2, SETTINGS["seed"])[1]
    assert found["same"] == 2
    assert found["accuracies"][-1][1] == edge.evaluate(tmp_path / "run" / "last.edge", held_out).top1


@pytest.mark.emulated
def test_two_gpus_do_what_one_processor_does(photos, monkeypatch, tmp_path):
    """The same on two emulated devices, in float32 and, with a loss that is scaled, in float16."""
    monkeypatch.setenv("EDGE_GPU", "emulated")
    wanted = trained(photos, None, SETTINGS)

    found = edge.run_processes(2, trained, photos, None, {**SETTINGS, "device": "gpu"})
    halves = edge.run_processes(2, trained, photos, None, {**SETTINGS, "device": "gpu", "precision": "fp16"})

    close(found, wanted)
    assert halves["losses"] == pytest.approx(wanted["losses"], rel=0.01)
    assert found["same"] == halves["same"] == 2


def test_a_stopped_run_goes_on_where_it_was(photos, tmp_path):
    """Ctrl-C reaches all processes at the same step; resumed, weights are a run's without a break, by the bit."""
    whole = edge.run_processes(2, trained, photos, str(tmp_path / "whole"), SETTINGS)
    with pytest.raises(KeyboardInterrupt, match="interrupted in epoch 2 after 2 batches"):
        edge.run_processes(2, trained, photos, str(tmp_path / "stopped"), SETTINGS, 4)

    resumed = edge.run_processes(2, trained, photos, str(tmp_path / "stopped"), {**SETTINGS, "resume": True})

    assert written(tmp_path / "stopped") == written(tmp_path / "whole")
    assert resumed["losses"] == whole["losses"]
    for name, array in whole["weights"].items():
        assert np.array_equal(resumed["weights"][name], array), name


def test_a_batch_that_cannot_be_shared_is_refused(photos):
    """Three photos among two processes would weigh some gradients more than others."""
    with pytest.raises(UsageError, match="3 photos cannot be shared equally by 2 processes; give a multiple of 2"):
        edge.run_processes(2, trained, photos, None, {**SETTINGS, "batch_size": 3})


def test_the_command_trains_in_processes(photos, tmp_path, capfd):
    """`edge train --processes 2` writes the run of one, and says a thing once."""
    options = ["--model", "mobilenet_v3_small", "--weights", "none", "--image-size", "32", "--epochs", "1"]
    more = ["--batch", "4", "--processes", "2", "--out", str(tmp_path / "run"), "--json"]

    with pytest.raises(SystemExit) as stop:
        main(["train", photos, *options, *more])

    out = capfd.readouterr().out
    assert stop.value.code == 0
    assert json.loads(out)["epochs"] == 1
    assert written(tmp_path / "run") == ["best.edge", "last.checkpoint", "last.edge", "metrics.jsonl"]


def test_the_command_writes_the_figures_of_one_process(photos, tmp_path, capfd):
    """Accuracies in metrics.jsonl, of training and of validation, are the same; losses are, to rounding."""
    plain_model().save(tmp_path / "plain.edge")
    options = ["--model", str(tmp_path / "plain.edge"), "--epochs", "3", "--batch", "4", "--learning-rate", "0.1"]

    figures = []
    for count in ("1", "2"):
        with pytest.raises(SystemExit) as stop:
            main(["train", photos, *options, "--processes", count, "--out", str(tmp_path / count)])
        assert stop.value.code == 0
        lines = (tmp_path / count / "metrics.jsonl").read_text("utf-8").splitlines()
        figures.append([json.loads(line) for line in lines])

    for one, two in zip(*figures, strict=True):
        assert two.pop("loss") == pytest.approx(one.pop("loss"), rel=1e-5)
        assert two == one
    assert figures[0][-1]["validation_accuracy"] > 0


def test_the_commands_mistakes_are_told_in_one_line(photos, tmp_path, capfd):
    """Errors of processes come out as those of one: a line, exit code 2."""
    with pytest.raises(SystemExit) as stop:
        main(["train", photos, "--model", "resnet81", "--processes", "2", "--out", str(tmp_path / "run")])

    assert stop.value.code == 2
    assert capfd.readouterr().err.count("\n") == 1


def steps_graph(processes: int) -> Graph:
    """A training step's graph."""
    forward = training_forward(plain_model(), seed=0)
    step = forward.step(named_optimizer("sgd", 0.9, 0.0), learning_rate=0.1, processes=processes)
    return step.graph


def test_means_begin_while_gradients_are_computed():
    """Each bucket is sent off right behind its last gradient; the first is under way while most others are computed."""
    graph = steps_graph(2)

    place = {value: index for index, node in enumerate(graph.nodes) for value in node.outputs}
    begun = [index for index, node in enumerate(graph.nodes) if isinstance(node.op, StartMean)]
    ended = [index for index, node in enumerate(graph.nodes) if isinstance(node.op, FinishMean)]

    assert 2 <= len(begun) <= 4
    for index in begun:
        assert max(place[value] for value in graph.nodes[index].inputs) in (index - 1, *begun)
    assert begun[0] < begun[-1] < min(ended)


def test_every_gradient_is_averaged_once():
    """All trained weights, each in one bucket; a run of one process has no such nodes."""
    graph = steps_graph(2)

    averaged = [value for node in graph.nodes if isinstance(node.op, StartMean) for value in node.inputs]
    trained_weights = [value for value in graph.updates if value in plain_model().graph.params]

    assert len(averaged) == len(set(averaged)) == len(trained_weights)
    assert not any(isinstance(node.op, StartMean) for node in steps_graph(1).nodes)
