"""The command line as a person calls it, on a tiny model and photos of three colours."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from PIL import Image
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.cli.main import main
from edge_sdk.model import Model

ANNOUNCED = ("INFO: Created TensorFlow Lite", "compiling kernels, once", "compiled ")
"""How lines begin that are no part of an answer: the runtime's, and those of a start whose kernels are compiled."""


@dataclass(frozen=True)
class Result:
    """What a call of `edge` left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


@pytest.fixture
def run(capfd) -> Callable[..., Result]:
    """Call `edge` with these arguments in this process."""

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return Result(int(end.value.code or 0), *capfd.readouterr())

    return call


@pytest.fixture
def refused(run) -> Callable[..., str]:
    """Call `edge` with a mistake: it says so in one or two lines, prints nothing else and ends with 2."""

    def call(*arguments: object) -> str:
        result = run(*arguments)
        lines = [line for line in result.err.splitlines() if not line.startswith(ANNOUNCED)]
        assert (result.code, result.out) == (2, "")
        assert 1 <= len(lines) <= 2
        assert lines[0].startswith("edge: ")
        return "\n".join(lines)

    return call


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Twelve photos of each colour, a folder a class."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="session")
def trained(photos, tmp_path_factory) -> edge.Model:
    """A model that tells the colours apart."""
    return edge.fit(tiny_model(), photos, epochs=4, batch_size=6, learning_rate=0.05, seed=3).model


@pytest.fixture(scope="session")
def model(trained: Model, tmp_path_factory) -> Path:
    """The .edge file of the trained model."""
    path = tmp_path_factory.mktemp("models") / "colours.edge"
    trained.save(path)
    return path


@pytest.fixture(scope="session")
def tflite(trained: Model, photos, tmp_path_factory) -> Path:
    """The int8 .tflite file of the trained model."""
    path = tmp_path_factory.mktemp("files") / "colours.tflite"
    edge.export(trained, path, quantize="int8", calibrate=photos)
    return path


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Parts of two real photos, a folder a class."""
    folder = tmp_path_factory.mktemp("scenes")
    for label, photo in (("cat", skimage.data.chelsea()), ("coffee", skimage.data.coffee())):
        (folder / label).mkdir()
        for index in range(8):
            left = 30 * index
            Image.fromarray(photo[20:240, left : left + 220]).save(folder / label / f"{index}.png")
    return folder
