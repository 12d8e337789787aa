"""Features of a frozen part, computed by several processes: each its part, once; the run is that of one process."""

from __future__ import annotations

import numpy as np
import pytest
from own_cache import own_cache
from parallel_runs import trained_on_features
from tiny_models import write_photos

import edge_sdk as edge

SETTINGS = {
    "epochs": 3, "batch_size": 6, "learning_rate": 0.05, "seed": 3, "freeze": "backbone", "feature_views": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve photos of each of three colours, and a torn one: four blocks of each of two views, and one to validate."""
    folder = write_photos(tmp_path_factory.mktemp("photos"), 12)
    (folder / "red" / "torn.png").write_bytes((folder / "red" / "0.png").read_bytes()[:60])
    return str(folder)


@pytest.fixture(scope="module")
def alone(photos, tmp_path_factory):
    """The run of one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_CACHE", str(own_cache(tmp_path_factory.mktemp("alone"))))
        return trained_on_features(photos, None, SETTINGS)


@pytest.fixture(scope="module")
def shared(photos, tmp_path_factory):
    """The run of two processes, and the folder in which they keep features."""
    folder = own_cache(tmp_path_factory.mktemp("shared"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_CACHE", str(folder))
        return edge.run_processes(2, trained_on_features, photos, None, SETTINGS), folder


def close(found, wanted):
    """Compare two results: every share of photos is the same, losses and weights are, to rounding."""
    assert found["losses"] == pytest.approx(wanted["losses"], rel=1e-5)
    assert found["accuracies"] == wanted["accuracies"]
    assert found["unreadable"] == wanted["unreadable"]
    for name, array in wanted["weights"].items():
        np.testing.assert_allclose(found["weights"][name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def test_processes_share_out_what_is_computed_once(alone, shared):
    """Each block is computed by one of them, into one file; the run is that of one process, in both of them."""
    found, folder = shared

    close(found, alone)
    assert found["same"] == 2
    assert sum(found["written"]) == alone["written"][0]
    assert max(found["written"]) - min(found["written"]) <= 2  # of two files
    assert len(list((folder / "features").iterdir())) == 2
    assert found["told"][-1][0] == found["told"][-1][1] == alone["told"][-1][0]
    assert found["torn"] == alone["torn"] == ["red/torn.png"]


def test_features_that_are_there_are_not_computed_again(photos, alone, shared, monkeypatch):
    """By any number of processes; the photo that has none is named all the same."""
    monkeypatch.setenv("EDGE_CACHE", str(shared[1]))

    found = edge.run_processes(3, trained_on_features, photos, None, SETTINGS)

    close(found, alone)
    assert (found["same"], sum(found["written"]), found["told"]) == (3, 0, [])
    assert found["torn"] == ["red/torn.png"]
    assert "were computed before (2 views)" in found["notes"][0]


def test_without_a_common_folder_features_are_sent(photos, tmp_path, alone):
    """Each process computes its part, and writes the others' into its own folder."""
    found = edge.run_processes(2, trained_on_features, photos, None, SETTINGS, str(tmp_path))

    close(found, alone)
    assert found["same"] == 2
    assert found["written"] == [alone["written"][0]] * 2
    assert [len(list((tmp_path / rank / "features").iterdir())) for rank in "01"] == [2, 2]


def test_ctrl_c_while_features_are_computed_keeps_them(photos, tmp_path, shared, monkeypatch):
    """All processes stop at their next block; the resumed run computes the rest, and ends with the same bytes."""
    monkeypatch.setenv("EDGE_CACHE", str(own_cache(tmp_path / "cache")))
    out = str(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt, match="interrupted in epoch 1 after 0 batches"):
        edge.run_processes(2, trained_on_features, photos, out, SETTINGS, "", "stop")

    resumed = edge.run_processes(2, trained_on_features, photos, out, {**SETTINGS, "resume": True})

    whole, _ = shared
    assert 0 < sum(resumed["written"]) < sum(whole["written"])
    assert "are there" in resumed["notes"][0]
    assert resumed["losses"] == whole["losses"]
    for name, array in whole["weights"].items():
        assert np.array_equal(resumed["weights"][name], array), name
