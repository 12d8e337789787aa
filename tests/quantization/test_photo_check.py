"""Photos to calibrate on: whatever is wrong with them is said, and right ones pass without a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from tiny_models import LABELS, SIDE, tiny_model

from edge_sdk.data.dataset import ArrayDataset
from edge_sdk.errors import DataError
from edge_sdk.model import Model
from edge_sdk.pretrained import zoo
from edge_sdk.quantization.photo_check import check_photos


@pytest.fixture(scope="module")
def model() -> Model:
    """A network that tells a photo's brightest channel: its head is set by hand on channel means."""
    model = tiny_model()
    workspace = model.workspace
    weights = {name: np.zeros_like(array) for name, array in workspace.items()}
    for name, array in workspace.items():
        if name.endswith((".scale", ".variance")):
            weights[name] = np.ones_like(array)
    for channel in range(3):
        weights["stem.conv.weight"][channel, 1, 1, channel] = 1
        weights["head.weight"][2 - channel, channel] = 30
    return model.replace(workspace=type(workspace)(weights))


def colourful(count: int = 24, sides: tuple[int, int] = (20, 24)) -> np.ndarray:
    """Noisy photos of one colour after the other: red, green, blue."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 120, (count, *sides, 3)).astype(np.uint8)
    for index in range(count):
        pixels[index, ..., index % 3] += 130
    return pixels


def labelled(pixels: np.ndarray, model: Model, moved: int = 0) -> ArrayDataset:
    """With their right labels, or with others."""
    return ArrayDataset.of(pixels, [(2 - index + moved) % 3 for index in range(len(pixels))], model.labels)


def trained(model: Model, accuracy: float, **settings: object) -> Model:
    """A model that remembers its validation accuracy."""
    about = {"training": {"validation_accuracy": accuracy, "settings": settings}}
    return model.replace(provenance={**model.provenance, **about})


def found(model: Model, photos, reference=None) -> dict[str, tuple[str, str]]:
    """What the check says: level and message by kind."""
    findings = check_photos(model, photos, reference)

    assert len({finding.kind for finding in findings}) == len(findings)
    assert all("\n" not in finding.message for finding in findings)
    return {finding.kind: (finding.level, finding.message) for finding in findings}


def test_the_model_knows_colours(model):
    """What the tests below rest on."""
    x = np.stack([model.preprocess(one) for one in colourful(6)])

    assert model.run(x).argmax(axis=1).tolist() == [2, 1, 0, 2, 1, 0]


def test_right_photos_pass(model):
    """Enough, different, of all classes, of the right size, with and without labels, after a training that was good."""
    photos = colourful()

    assert check_photos(model, photos) == []
    assert check_photos(trained(model, 0.9), labelled(photos, model), photos) == []


@pytest.mark.parametrize(("count", "says"), [(1, "single photos"), (2, "single photos"), (3, "few"), (15, "few")])
def test_too_few(count, says, model):
    """Two levels of words; how many are wanted is said."""
    level, message = found(model, colourful(count))["too-few"]

    assert level == "warning"
    assert says in message
    assert f"{count} photo" in message
    assert "16" in message


def test_copies_of_a_photo_do_not_count(model):
    """A hundred times the same."""
    level, message = found(model, np.repeat(colourful(1), 100, axis=0))["too-few"]

    assert level == "warning"
    assert "1 photo (100, the others are copies)" in message


def test_blank_photos_are_an_error(model):
    """All of one colour each, though these differ."""
    photos = np.broadcast_to(np.arange(20, dtype=np.uint8).reshape(-1, 1, 1, 1), (20, 20, 24, 3))

    level, message = found(model, np.ascontiguousarray(photos))["constant"]

    assert level == "error"
    assert "20" in message


def test_some_blank_photos_are_named(model):
    """The first of them, and how many."""
    photos = colourful()
    photos[[5, 7]] = 9

    level, message = found(model, photos)["constant"]

    assert level == "warning"
    assert "2 of 24" in message
    assert "'5'" in message


def test_photos_much_smaller_than_the_input(model):
    """Thumbnails of 7 pixels for an input of 16 are enlarged more than twice; 8 is the limit."""
    level, message = found(model, colourful(sides=(7, 7)))["enlarged"]

    assert level == "warning"
    assert "7x7" in message
    assert f"{SIDE}x{SIDE}" in message
    assert "enlarged" not in found(model, colourful(sides=(8, 8)))


def test_panoramas(model):
    """Five times as wide as high."""
    level, message = found(model, colourful(sides=(20, 100)))["shape"]

    assert level == "warning"
    assert "20x100" in message
    assert "shape" not in found(model, colourful(sides=(20, 79)))


def test_a_rare_odd_photo_is_not_worth_a_line(model):
    """One panorama in two dozen photos."""
    photos = [*colourful(23), *colourful(1, (20, 100))]

    assert check_photos(model, ArrayDataset.of(photos, np.full(24, -1), model.labels)) == []


def test_grey_photos_for_a_model_that_takes_colours(model):
    """All of them, some of them, and beside a reference."""
    coloured, grey = colourful(), np.repeat(colourful()[..., :1], 3, axis=3)
    mixed = np.where(np.arange(24).reshape(-1, 1, 1, 1) % 2, coloured, grey)

    assert "all calibration photos are grey" in found(model, grey)["colour"][1]
    assert "50%" in found(model, mixed)["colour"][1]
    assert "100% of the calibration photos are grey, but 0%" in found(model, grey, coloured)["colour"][1]
    assert "0% of the calibration photos are grey, but 100%" in found(model, coloured, grey)["colour"][1]
    assert "colour" not in found(model, grey, grey)


def test_folders_that_are_no_classes(model, tmp_path):
    """The folder of another project; a misspelt class gets a suggestion."""
    for folder in ("cats", "gren"):
        write(tmp_path / folder, colourful(12))

    level, message = found(model, tmp_path)["folder"]

    assert level == "warning"
    assert "'cats', 'gren'" in message
    assert all(label in message for label in LABELS)


def test_folders_that_are_classes_pass(model, tmp_path):
    """Any of the model's."""
    write(tmp_path / "red", colourful(24)[::3])
    write(tmp_path / "green", colourful(24)[1::3])

    assert "folder" not in found(model, tmp_path)


def write(folder: Path, photos: np.ndarray) -> None:
    """As PNG files."""
    folder.mkdir(parents=True)
    for index, pixels in enumerate(photos):
        Image.fromarray(pixels).save(folder / f"{index}.png")


def test_all_of_one_class(model):
    """Red photos alone, without labels; with labels that say so it is no surprise."""
    red = colourful(60)[::3]

    level, message = found(model, red)["one-class"]

    assert level == "warning"
    assert "'red'" in message
    assert "one-class" not in found(model, ArrayDataset.of(red, np.full(20, 2), model.labels))


def test_labels_that_the_model_does_not_see(model):
    """A validation accuracy of 0.9, and nothing recognised now."""
    level, message = found(trained(model, 0.9), labelled(colourful(), model, moved=1))["accuracy"]

    assert level == "warning"
    assert "0%" in message
    assert "90%" in message


def test_a_model_that_is_unsure_of_what_it_sees(model):
    """Grey photos have no brightest channel: every class is as likely; with photos that are right, or a training."""
    grey = np.repeat(colourful()[..., :1], 3, axis=3)

    assert "90" not in found(model, grey, colourful())["confidence"][1]
    assert "85%" in found(trained(model, 0.9), grey)["confidence"][1]
    assert "confidence" not in found(model, grey)


def test_photos_that_cannot_be_read(model, tmp_path):
    """None of them is an error that is found; a folder that is not there is no folder to look at."""
    (tmp_path / "broken.jpg").write_bytes(b"no photo")

    assert found(model, tmp_path)["unreadable"][0] == "error"
    with pytest.raises(DataError, match="nowhere"):
        check_photos(model, tmp_path / "nowhere")


def test_numbers_inside_the_network_spread_as_in_training():
    """EfficientNet-Lite0 with ImageNet's weights: assorted photos are like its training, noise is not."""
    network = zoo.load("efficientnet_lite0")
    random = np.random.default_rng(0)
    scenes = (skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket())
    photos = []
    for index in range(16):
        scene, side = scenes[index % 4], int(random.integers(200, 300))
        top, left = (int(random.integers(0, extent - side + 1)) for extent in scene.shape[:2])
        photos.append(np.ascontiguousarray(scene[top : top + side, left : left + side]))
    nothing = np.full(16, -1)

    assert check_photos(network, ArrayDataset.of(photos, nothing, network.labels)) == []
    noise = random.integers(0, 255, (16, 224, 224, 3)).astype(np.uint8)
    assert "unlike those the model was trained on" in found(network, noise)["unlike-training"][1]
    assert "unlike-training" not in found(trained(network, 0.1, freeze="backbone"), noise)
