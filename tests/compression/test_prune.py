"""A model with fewer channels: as small as asked for, the right channels gone, trained again, saved and exported."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from tiny_models import write_photos

import edge_sdk as edge
from edge_sdk import edge_file, pretrained
from edge_sdk.builder import Builder
from edge_sdk.compression import prune as pruning
from edge_sdk.compression.coupled_channels import coupled_channels
from edge_sdk.compression.importance import by_magnitude, taylor_scores
from edge_sdk.cost import multiply_adds
from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.errors import DataError, UsageError
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.ops.loss import SoftmaxCrossEntropy
from edge_sdk.ops.reduce import ReduceMean
from edge_sdk.preprocess import Preprocess
from edge_sdk.session import Session
from edge_sdk.spec import BATCH, Spec
from edge_sdk.training.fit import CHECKPOINT
from edge_sdk.training.listener import Silent


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve photos of each of three colours."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def wide() -> Model:
    """Two convolutions of 32 and 24 channels; there is something to remove."""
    net = Network("wide", (16, 16, 3), 0)
    x = net.activation(net.batch_norm(net.conv(net.image, 32, 3, "first", 2), "norm1"), "relu")
    x = net.activation(net.batch_norm(net.conv(x, 24, 3, "second", 2), "norm2"), "relu")
    graph, workspace = net.head(net.global_average_pool(x), 3)
    return Model(graph, workspace, Preprocess((16, 16), mean=(127.0,) * 3, std=(128.0,) * 3), ("blue", "green", "red"))


@pytest.mark.parametrize("of", ["multiply-adds", "weights"])
@pytest.mark.parametrize("keep", [0.7, 0.4])
@pytest.mark.parametrize("with_photos", [False, True])
def test_the_network_becomes_as_small_as_asked_for(wide, photos, of, keep, with_photos):
    """At most that share is left, by a count of its own, in multiples of 8 channels; the batch norms are there."""
    pruned = edge.prune_channels(wide, keep, of, photos if with_photos else None)

    whole, graph = wide.graph, pruned.model.graph
    counts = {
        "multiply-adds": (multiply_adds(whole.bind(1)), multiply_adds(graph.bind(1))),
        "weights": tuple(sum(a.size for a in m.workspace.values()) for m in (wide, pruned.model)),
    }
    assert counts[of][1] <= keep * counts[of][0]
    assert (pruned.multiply_adds, pruned.weights) == (counts["multiply-adds"], counts["weights"])
    assert [(one.layer, one.before, one.after % 8) for one in pruned.layers[:2]] == [
        ("first", 32, 0),
        ("second", 24, 0),
    ]
    assert pruned.layers[2].reason == "it is an output of the graph"
    assert sum(node.op.name == "batch_norm" for node in graph.nodes) == 2
    assert pruned.model.provenance["pruning"]["weights"] == list(counts["weights"])


@pytest.mark.parametrize("with_photos", [False, True])
def test_channels_that_are_0_go_first(wide, photos, with_photos):
    """Half of the first layer is made 0; removing that much of it leaves the outputs what they were."""
    arrays = wide.workspace.copy()
    idle = np.arange(0, 32, 2)
    for name in ("first.weight", "norm1.offset", "norm1.mean"):
        arrays[name][idle] = 0
    for name in ("second.weight", "norm2.offset", "norm2.mean"):
        arrays[name][8:16] = 0
    model = wide.replace(workspace=arrays)
    image = np.random.default_rng(0).standard_normal((4, 16, 16, 3), np.float32)

    pruned = edge.prune_channels(model, 0.7, "weights", photos if with_photos else None).model

    assert pruned.graph.specs["first"].shape[3] < 32
    np.testing.assert_allclose(pruned.run(image), model.run(image), rtol=0, atol=1e-5)


def test_scores_are_the_change_of_the_loss(wide):
    """Against differences: reading channels a little less changes the loss by the root of the score."""
    random = np.random.default_rng(3)
    image, label = random.standard_normal((8, 16, 16, 3), np.float32), random.integers(0, 3, 8).astype(np.int32)
    coupled = coupled_channels(wide.graph)
    g = Builder.extend(wide.graph)
    losses = g.add(SoftmaxCrossEntropy(), wide.graph.value("logits"), g.input("label", Spec((BATCH,), "int32")))
    graph = g.build(g.add(ReduceMean(axes=(0,)), losses, name="loss"))

    def loss(factor: float, place: int) -> float:
        arrays = wide.workspace.copy()
        arrays["second.weight"][..., place] *= factor
        return float(Session(graph, arrays, "reference", 8).run({"image": image, "label": label})["loss"])

    scores = taylor_scores(wide.graph, wide.workspace, coupled, [(image, label)])

    places = coupled.places["second.weight"][3]
    for place in (0, 5, 31):
        slope = (loss(1.01, place) - loss(0.99, place)) / 0.02
        assert np.sqrt(scores[places[place]]) == pytest.approx(abs(slope), rel=0.05, abs=2e-5)


def test_magnitudes_are_those_of_folded_filters(wide):
    """By hand: |filter| · |scale| / deviation, in order."""
    arrays = wide.workspace.copy()
    arrays["norm1.scale"] = np.linspace(2, -1, 32).astype(np.float32)
    arrays["norm1.variance"] = np.linspace(1, 3, 32).astype(np.float32)
    coupled = coupled_channels(wide.graph)

    scores = by_magnitude(wide.graph, arrays, coupled)

    sums = np.abs(arrays["first.weight"]).sum(axis=(1, 2, 3)) * np.abs(arrays["norm1.scale"])
    wanted = np.argsort(sums / np.sqrt(arrays["norm1.variance"] + 1e-5))
    assert np.argsort(scores[coupled.places["first.weight"][0]]).tolist() == wanted.tolist()


def test_the_network_is_analysed_once(wide, photos, monkeypatch):
    """Its weights are hashed and its channels are looked at once, and the order is that of the loss all the same."""
    counted = Counter()

    def once(module, name):
        right = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given: counted.update([name]) or right(*given))

    once(pruning, "coupled_channels")
    once(edge_file, "digest")

    pruned = edge.prune_channels(wide, 0.5, data=photos)

    assert counted == {"coupled_channels": 1, "digest": 1}
    facts = pruned.model.provenance["pruning"]
    assert facts["criterion"] == "loss"
    assert facts["model_sha256"] == edge_file.digest(wide)
    assert pruned.model.workspace.digest() != edge.prune_channels(wide, 0.5).model.workspace.digest()


def test_the_same_arguments_give_the_same_bytes(wide, photos):
    """Photos are read in the order of a seed."""
    first, second = (edge.prune_channels(wide, 0.5, data=photos).model for _ in range(2))

    assert first.workspace.digest() == second.workspace.digest()


def test_a_pruned_model_is_trained_saved_and_exported(wide, photos, tmp_path):
    """It learns to tell the colours apart, the file has its weights, and its int8 file runs in the runtime."""
    whole = edge.fit(wide, photos, epochs=3, batch_size=6, learning_rate=0.05, seed=3).model

    done = edge.prune_and_train(whole, photos, keep=0.4, epochs=6, batch_size=6, learning_rate=3e-3, out=tmp_path / "a")
    report = edge.export(done.run.model, tmp_path / "a.tflite", "int8", photos, photos)

    opened = edge.load(tmp_path / "a")
    assert opened.workspace.digest() == done.run.model.workspace.digest()
    assert opened.provenance["pruning"]["criterion"] == "loss"
    assert edge.evaluate(opened, photos).top1 > 0.9
    assert report.agreement > 0.9
    assert report.float_tensors == ()


def test_fine_tuning_goes_on_where_it_was_interrupted(wide, photos, tmp_path):
    """Ctrl-C in the second epoch; the same call with resume=None ends with the bytes of a run without it."""

    class Stop(Silent):
        def on_batch(self, epoch, batch, loss):
            if (epoch, batch) == (1, 2):
                raise KeyboardInterrupt

    settings = {"keep": 0.5, "epochs": 3, "batch_size": 6, "resume": None}
    whole = edge.prune_and_train(wide, photos, out=tmp_path / "whole", **settings).run.model

    with pytest.raises(KeyboardInterrupt):
        edge.prune_and_train(wide, photos, out=tmp_path / "cut", listener=Stop(), **settings)
    assert (tmp_path / "cut" / CHECKPOINT).exists()
    resumed = edge.prune_and_train(wide, photos, out=tmp_path / "cut", **settings).run.model

    assert resumed.workspace.digest() == whole.workspace.digest()


def test_shuffled_channels_are_never_all_removed():
    """In ShuffleNet a split may take all its channels from few groups; each part keeps some."""
    model = pretrained.load("shufflenet_v2_x0_5", weights=None, num_classes=3, image_size=32)

    pruned = edge.prune_channels(model, 0.5)

    image = np.random.default_rng(0).standard_normal((1, 32, 32, 3), np.float32)
    assert pruned.model.run(image).shape == (1, 3)
    assert pruned.multiply_adds[1] <= 0.5 * pruned.multiply_adds[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 0}, "keep is 0, wanted a share above 0 and up to 1"),
        ({"keep": 1.5}, "keep is 1.5"),
        ({"keep": 0.01}, r"1% of its multiply-adds cannot be reached; with 8 channels a layer \d+% are left"),
        ({"of": "weihgts"}, "did you mean 'weights'"),
        ({"multiple": 0}, "multiple is 0"),
    ],
)
def test_mistakes_are_named(wide, arguments, message):
    """Shares, measures and multiples that make no sense, and networks that cannot become so small."""
    with pytest.raises(UsageError, match=message):
        edge.prune_channels(wide, **arguments)


def test_photos_without_labels_are_refused(wide):
    """There is no loss on them."""
    blank = ArrayDataset.of(np.zeros((4, 16, 16, 3), np.uint8), np.full(4, -1), wide.labels)

    with pytest.raises(DataError, match="photos with labels"):
        edge.prune_channels(wide, 0.5, data=blank)
