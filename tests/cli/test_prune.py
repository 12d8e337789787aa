"""`edge prune` writes a smaller model, says what became of it, and goes on where it was interrupted."""

from __future__ import annotations

import pytest
from tiny_models import wide_model

import edge_sdk as edge
from edge_sdk.cli.output import TrainingDisplay
from edge_sdk.cost import multiply_adds
from edge_sdk.edge_file import digest

SETTINGS = ("--epochs", 2, "--batch", 6)


@pytest.fixture(scope="module")
def wide(photos, tmp_path_factory):
    """The .edge file of a trained model with channels to spare."""
    path = tmp_path_factory.mktemp("models") / "wide.edge"
    edge.fit(wide_model(), photos, epochs=3, batch_size=6, learning_rate=0.05, seed=3).model.save(path)
    return path


def test_a_share_of_the_cost_is_kept(run, wide, photos, tmp_path):
    """The figures are those of the two files, the model tells of the whole one, and no checkpoint is left."""
    out = tmp_path / "small.edge"

    facts = run("prune", wide, photos, "--keep", 0.4, *SETTINGS, "--check", photos, "--out", out, "--json").json

    models = [edge.load(wide), edge.load(out)]
    assert facts["multiply_adds"] == [multiply_adds(model.graph.bind(1)) for model in models]
    assert facts["multiply_adds"][1] <= 0.4 * facts["multiply_adds"][0]
    assert facts["weights"] == [sum(a.size for a in model.workspace.values()) for model in models]
    assert facts["bytes"] == [wide.stat().st_size, out.stat().st_size]
    assert facts["accuracy"] == [edge.evaluate(model, photos).top1 for model in models]
    assert facts["layers"]["first"][1] < facts["layers"]["first"][0] == 64
    assert facts["kept"] == {"logits": "it is an output of the graph"}
    assert models[1].provenance["pruning"]["model_sha256"] == digest(models[0])
    assert models[1].provenance["training"]["settings"]["epochs"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["small.edge"]


def test_the_exported_file_is_as_small_as_asked_for(run, wide, photos, tmp_path):
    """The table has both networks side by side, and the next command is a good one."""
    out = tmp_path / "small.edge"

    result = run("prune", wide, photos, "--max-size", "22kB", *SETTINGS, "-o", out)
    report = edge.export(edge.load(out), tmp_path / "a.tflite", "int8", photos, photos)

    assert result.code == 0
    assert "edge: which channels matter least …" in result.err
    for name in ("multiply-adds", "weights", ".edge file", "int8 .tflite file, about", "accuracy on 6 photos"):
        assert name in result.out
    assert f"next: edge export {out} --quantize int8 --calibrate {photos}" in result.out
    assert 15_000 < report.bytes <= 22_000


def test_ctrl_c_keeps_a_checkpoint_and_resuming_gives_the_same_model(run, wide, photos, tmp_path, monkeypatch):
    """Interrupted in the second epoch, the command ends with 130 and says how to go on; then the bytes are the same."""
    command = ("prune", wide, photos, "--keep", 0.5, *SETTINGS)
    run(*command, "--out", tmp_path / "whole.edge")
    out = tmp_path / "cut.edge"

    def stop(self, epoch, batch, loss):
        if (epoch, batch) == (1, 2):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingDisplay, "on_batch", stop)
        cut = run(*command, "--out", out)
    assert (cut.code, out.exists(), (tmp_path / "cut.run" / "last.checkpoint").exists()) == (130, False, True)
    assert "--resume" in cut.err
    assert str(tmp_path / "cut.run") in cut.err
    again = run(*command, "--out", out)
    resumed = run(*command, "--out", out, "--resume")

    assert again.code == 2
    assert "the checkpoint of an interrupted call is there; add --resume" in again.err
    assert resumed.code == 0
    assert out.read_bytes() == (tmp_path / "whole.edge").read_bytes()
    assert not (tmp_path / "cut.run").exists()


def test_a_file_is_exported_as_small_as_asked_for(run, wide, photos, tmp_path):
    """`edge export --prune` does it in one command; what was tried is shown with its size."""
    given = ("export", wide, "--quantize", "int8", "--calibrate", photos, "--check", photos, "--max-drop", 3)

    result = run(
        *given, "--max-size", "22kB", "--prune", "--prune-epochs", 2, "--train", photos, "--out", tmp_path / "a.tflite"
    )

    assert result.code == 0
    assert "int8 with int4 weights" in result.out
    assert "% of the weights" in result.out
    assert "edge: epoch 2/2 done" in result.err
    assert (tmp_path / "a.tflite").stat().st_size <= 22_000
