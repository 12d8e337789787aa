"""Whatever a person gets wrong, `edge` says what in one or two lines, and ends with 2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_models import tiny_model, write_photos


@dataclass(frozen=True)
class Place:
    """Good files and bad ones, side by side."""

    folder: Path
    photos: Path
    model: Path
    tflite: Path

    def fill(self, arguments: Iterable[str], run: Path) -> list[str]:
        """Arguments of a table below with the paths of this place; `run` is where the command would write."""
        photo = self.photos / "red" / "0.png"
        paths = {"photos": self.photos, "model": self.model, "tflite": self.tflite, "photo": photo}
        return [argument.format(here=self.folder, run=run, **paths) for argument in arguments]


@pytest.fixture(scope="module")
def place(photos, model, tflite, tmp_path_factory):
    """A folder with everything that can be wrong."""
    here = tmp_path_factory.mktemp("mistakes")
    (here / "empty").mkdir()
    (here / "classes-without-photos" / "red").mkdir(parents=True)
    (here / "classes-without-photos" / "blue").mkdir()
    write_photos(here / "one", count=2)
    for label in ("green", "blue"):
        shutil.rmtree(here / "one" / label)
    (here / "loose").mkdir()
    shutil.copy(photos / "red" / "0.png", here / "loose")
    write_photos(here / "other", count=2)
    (here / "other" / "blue").rename(here / "other" / "bleu")
    torn = write_photos(here / "torn", count=2)
    for photo in torn.rglob("*.png"):
        photo.write_bytes(b"\x89PNG\r\n\x1a\n torn")
    (here / "text.png").write_text("I am no photo")
    (here / "empty.png").touch()
    (here / "text.edge").write_text("I am no model, whatever my name says. " * 9)
    (here / "empty.edge").touch()
    (here / "cut.edge").write_bytes(model.read_bytes()[:-100])
    (here / "text.tflite").write_text("I am no model, whatever my name says. " * 9)
    (here / "empty.tflite").touch()
    (here / "cut.tflite").write_bytes(tflite.read_bytes()[:300])
    (here / "model.onnx").write_bytes(b"onnx")
    tiny_model(classes=2).save(here / "two.edge")
    return Place(here, photos, model, tflite)


# The arguments, and what the message must name.
MODEL_FILES = [
    ("{here}/absent.edge", "absent.edge"),
    ("{here}/absent.tflite", "absent.tflite"),
    ("{here}/absent", "absent"),
    ("{here}/text.edge", "text.edge"),
    ("{here}/empty.edge", "empty.edge"),
    ("{here}/cut.edge", "cut.edge"),
    ("{here}/text.tflite", "text.tflite"),
    ("{here}/empty.tflite", "empty.tflite"),
    ("{here}/cut.tflite", "cut.tflite"),
    ("{here}/model.onnx", "model.onnx"),
    ("{here}/empty", "best.edge"),
    ("{photo}", "0.png"),
]
OTHERS = [
    (("trian", "{photos}"), "did you mean 'train'?"),
    (("xyzzy",), "no command 'xyzzy'"),
    (("--verison",), "--version"),
    (("predict",), "MODEL"),
    (("predict", "{model}"), "IMAGES"),
    (("predict", "{model}", "{here}/absent.png"), "absent.png"),
    (("predict", "{model}", "{here}/text.png"), "text.png"),
    (("predict", "{model}", "{here}/empty.png"), "empty.png"),
    (("predict", "{tflite}", "{here}/text.png"), "text.png"),
    (("predict", "{model}", "{photos}"), "photos: a folder; wanted a photo"),
    (("predict", "{model}", "{photo}", "--top", "0"), "--top"),
    (("predict", "{model}", "{photo}", "--top", "many"), "--top"),
    (("predict", "{model}", "{photo}", "--jsn"), "--json"),
    (("eval", "{model}"), "DATA"),
    (("eval", "{model}", "{here}/absent"), "absent"),
    (("eval", "{model}", "{photo}"), "found a file"),
    (("eval", "{model}", "{here}/empty"), "no photo"),
    (("eval", "{model}", "{here}/loose"), "sub-folder per class"),
    (("eval", "{model}", "{here}/other"), "did you mean 'blue'?"),
    (("eval", "{model}", "{here}/torn"), "cannot be read"),
    (("eval", "{here}/two.edge", "{photos}"), "'red'"),
    (("eval", "{model}", "{photos}", "--batch", "0"), "--batch"),
    (("inspect",), "MODEL"),
    (("inspect", "{model}", "--batch", "99999999"), "--batch"),
    (("inspect", "{model}", "--dot", "--json"), "--json does not go with it"),
    (("inspect", "{model}", "--dot", "--memory", "{run}.svg"), "--memory does not go with it"),
    (("inspect", "{tflite}", "--delegates", "--plan"), "--plan does not go with it"),
    (("verify", "{model}"), "takes an exported .tflite file; edge export"),
    (("verify", "{photos}"), "takes an exported .tflite file"),
    (("snippets", "{model}", "--out", "{run}"), "takes an exported .tflite file; edge export"),
    (("convert", "{photos}", "{run}.edge"), "photos: a folder"),
    (("export", "{model}"), "--out"),
    (("export", "{model}", "--quantize", "int4", "--out", "{run}.tflite"), "int8"),
    (("export", "{model}", "--quantize", "int8", "--out", "{run}.tflite"), "calibrat"),
    (("export", "{model}", "--input-type", "uint8", "--out", "{run}.tflite"), "int8"),
    (("export", "{model}", "--out", "{run}.pb"), "must end in .tflite, .onnx or .mlpackage"),
    (("export", "{model}", "--out", "{run}.tflte"), "did you mean '.tflite'?"),
    (("export", "{tflite}", "--out", "{tflite}"), "is the model that is read"),
    (("export", "{model}", "--weights", "int4", "--out", "{run}.tflite"), "--weights int4 is for --quantize int8"),
    (("export", "{model}", "--min-agreement", "0.985", "--out", "{run}.tflite"), "98.5, not 0.985"),
    (
        (
            "export",
            "{model}",
            "--quantize",
            "int8",
            "--calibrate",
            "{photos}",
            "--max-drop",
            "1",
            "--out",
            "{run}.tflite",
        ),
        "--check",
    ),
    (("export", "{model}", "--max-drop", "1", "--out", "{run}.onnx"), "--max-drop"),
    (("export", "{model}", "--opset", "17", "--out", "{run}.tflite"), "--opset"),
    (("export", "{model}", "--check", "{photos}", "--out", "{run}.mlpackage"), "--check"),
    (("export", "{model}", "--quantize", "palette4", "--out", "{run}.tflite"), ".mlpackage"),
    (("export", "{model}", "--max-size", "4 acres", "--out", "{run}.tflite"), "4MB"),
    (("export", "{model}", "--max-size", "1kB", "--prune", "--out", "{run}.tflite"), "--train"),
    (("export", "{model}", "--train", "{photos}", "--prune", "--out", "{run}.tflite"), "--max-size"),
    (("export", "{model}", "--prune", "--out", "{run}.onnx"), "--prune is no option of .onnx files"),
    (("prune", "{model}", "{photos}", "--keep", "0.5"), "--out"),
    (("prune", "{model}", "{photos}", "--out", "{run}.edge"), "give either --keep"),
    (("prune", "{model}", "{photos}", "--keep", "0.5", "--max-size", "1kB", "--out", "{run}.edge"), "give either"),
    (("prune", "{model}", "{photos}", "--keep", "0.5", "--out", "{run}.tflite"), "must end in .edge"),
    (("prune", "{model}", "{photos}", "--keep", "0.5", "--out", "{model}"), "is the model that is read"),
    (("prune", "{model}", "{photos}", "--keep", "5", "--out", "{run}.edge"), "0<x<=1"),
    (("prune", "{model}", "{photos}", "--keep", "0.01", "--out", "{run}.edge"), "cannot be reached"),
    (("prune", "{model}", "{photos}", "--max-size", "10", "--out", "{run}.edge"), "no int8 file of at most 10 bytes"),
    (("prune", "{model}", "{photos}", "--max-size", "4 acres", "--out", "{run}.edge"), "4MB"),
    (("prune", "{model}", "{here}/absent", "--keep", "0.5", "--out", "{run}.edge"), "absent"),
    (("prune", "{model}", "{photos}", "--keep", "0.9", "--resume", "--out", "{run}.edge"), "nothing to resume"),
    (("prune", "{model}", "{photos}", "--keep", "0.9", "--epochs", "0", "--out", "{run}.edge"), "--epochs"),
    (("export", "{model}", "--rungs", "serch", "--max-size", "1MB", "--out", "{run}.tflite"), "did you mean 'search'?"),
    (("export", "{model}", "--rungs", "search", "--out", "{run}.tflite"), "--rungs goes with --max-drop"),
    (("export", "{model}", "--train", "{photos}", "--out", "{run}.tflite"), "--train goes with --max-drop"),
    (("export", "{model}", "--prune-epochs", "3", "--out", "{run}.tflite"), "--prune-epochs goes with --prune"),
    (("export", "{model}", "--min-runtime", "2.1", "--out", "{run}.tflite"), "2.1"),
    (("export", "{model}", "--out", "{here}/empty"), "empty"),
    (("export", "{model}", "--out", "{photo}/a.tflite"), "0.png"),
    (("export", "{model}", "--check", "{here}/absent", "--out", "{run}.tflite"), "absent"),
    (("export", "{model}", "--check", "{here}/empty", "--out", "{run}.tflite"), "no photo"),
    (("export", "{model}", "--quantize", "int8", "--calibrate", "{here}/torn", "--out", "{run}.tflite"), "read"),
    (("train", "{photos}"), "--out"),
    (("train", "{here}/absent", "--out", "{run}"), "absent"),
    (("train", "{here}/oter", "--out", "{run}"), "did you mean 'other'?"),
    (("train", "{photo}", "--out", "{run}"), "found a file"),
    (("train", "{here}/empty", "--out", "{run}"), "no photo"),
    (("train", "{here}/classes-without-photos", "--out", "{run}"), "no photo"),
    (("train", "{here}/loose", "--out", "{run}"), "sub-folder per class"),
    (("train", "{here}/one", "--out", "{run}"), "single class"),
    (("train", "{photos}", "--model", "resnet8", "--out", "{run}"), "did you mean 'resnet18'?"),
    (("train", "{photos}", "--model", "xyzzy", "--out", "{run}"), "efficientnet_lite0"),
    (("train", "{photos}", "--model", "{here}/absent", "--out", "{run}"), "absent: neither a network of the zoo nor"),
    (("train", "{photos}", "--model", "ResNet18", "--out", "{run}"), "not in the zoo; did you mean 'resnet18'?"),
    (("train", "{photos}", "--model", "{here}/absent.edge", "--out", "{run}"), "absent.edge"),
    (("train", "{photos}", "--model", "{here}/cut.edge", "--out", "{run}"), "cut.edge"),
    (("train", "{photos}", "--model", "{model}", "--image-size", "32", "--out", "{run}"), "--image-size"),
    (("train", "{photos}", "--model", "{model}", "--weights", "imagenet", "--out", "{run}"), "--weights"),
    (("train", "{photos}", "--model", "resnet18", "--weights", "imagnet", "--out", "{run}"), "'imagenet'"),
    (("train", "{photos}", "--model", "resnet18", "--weights", "{model}", "--out", "{run}"), "colours.edge"),
    (("train", "{photos}", "--model", "{model}", "--resume", "--out", "{run}"), "nothing to resume"),
    (("train", "{photos}", "--model", "{model}", "--out", "{photo}"), "0.png"),
    (("train", "{photos}", "--model", "{model}", "--freeze", "xyzzy", "--out", "{run}"), "xyzzy"),
]
OPTIONS = [
    ("--epochs", "0"), ("--epochs", "two"), ("--batch", "0"), ("--batch", "-4"), ("--learning-rate", "-1"),
    ("--learning-rate", "nan"), ("--learning-rate", "inf"), ("--weight-decay", "-1"), ("--label-smoothing", "1"),
    ("--warmup-epochs", "-1"), ("--validation", "1"), ("--validation", "nan"), ("--seed", "-1"),
    ("--optimizer", "sgdd"), ("--augment", "wild"), ("--no-such-option", "1"),
]  # fmt: skip
SIZES = ["0", "-5", "1", "31", "1000000"]


@pytest.mark.parametrize(("file", "named"), MODEL_FILES)
@pytest.mark.parametrize("command", ["predict", "eval", "inspect", "export"])
def test_a_bad_model_file(refused, place, tmp_path, command, file, named):
    """Every command that takes a model names the file that is missing, damaged or of another kind."""
    more = {"predict": ["{photo}"], "eval": ["{photos}"], "inspect": [], "export": ["--out", "{run}.tflite"]}

    assert named in refused(command, *place.fill((file, *more[command]), tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arguments", "named"), OTHERS)
def test_a_mistake(refused, place, tmp_path, arguments, named):
    """The message names what is wrong, a name that is nearly right gets a suggestion, and nothing is written."""
    assert named in refused(*place.fill(arguments, tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("option", "value"), OPTIONS)
def test_a_training_option_out_of_range(refused, place, tmp_path, option, value):
    """The option is named, and no run is begun."""
    message = refused("train", place.photos, "--model", place.model, "--out", tmp_path / "run", option, value)

    assert option.lstrip("-").replace("-", " ") in message.replace("_", " ").replace("-", " ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "settings", "named"),
    [("torn", (), "cannot be read"), ("", ("--learning-rate", "1e30", "--batch", "6"), "smaller learning rate")],
)
def test_a_run_that_fails_underway(run, place, tmp_path, data, settings, named):
    """After the progress, the last line says why; no warnings of the libraries beneath are among them."""
    photos = place.folder / data if data else place.photos

    result = run("train", photos, "--model", place.model, "--out", tmp_path / "run", *settings)

    last = result.err.splitlines()[-1]
    assert (result.code, result.out) == (2, "")
    assert last.startswith("edge: ")
    assert named in last
    assert "Warning" not in result.err


@pytest.mark.parametrize("size", SIZES)
def test_an_image_size_out_of_range(refused, place, tmp_path, size):
    """A size that the network cannot take is refused before memory is taken for it."""
    network = ("--model", "resnet18", "--weights", "none", "--image-size", size)

    message = refused("train", place.photos, *network, "--out", tmp_path / "run")

    assert size in message


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
@pytest.mark.parametrize("command", ["export", "train"])
def test_a_folder_that_may_not_be_written(refused, place, tmp_path, command):
    """The system's reason is passed on with the path."""
    tmp_path.chmod(0o500)
    arguments = {
        "export": (place.model, "--out", tmp_path / "a.tflite"),
        "train": (place.photos, "--model", place.model, "--out", tmp_path / "run"),
    }

    assert str(tmp_path) in refused(command, *arguments[command])


def test_no_arguments_give_the_help_page(run):
    """`edge` alone explains itself, on stdout."""
    result = run()

    assert result.code == 2
    assert "Examples:" in result.out


def test_a_process_of_its_own_ends_the_same_way(place):
    """Exit code and streams are those of the tests above: nothing is added at the interpreter's end."""
    command = [sys.executable, "-m", "edge_sdk.cli.main", "predict", str(place.folder / "text.edge"), "x.png"]

    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("edge: ")
    assert len(done.stderr.splitlines()) <= 2
