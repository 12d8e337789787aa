"""Whole networks of stored numbers on device "gpu": the bits of the CPU, and who evaluates and validates by them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from small_networks import IMAGES, NETWORKS, NORMALISED, PIXELS, network
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk import pretrained
from edge_sdk.cli.main import main
from edge_sdk.graph import Graph
from edge_sdk.preprocess import Preprocess
from edge_sdk.quantization.candidate import Candidate, integer_graph, observe
from edge_sdk.quantization.integer_forms import integer_forms
from edge_sdk.quantization.post_training import QuantizedModel, quantize
from edge_sdk.quantization.profile import PROFILES, Profile
from edge_sdk.quantization.quantization_aware import quantize_aware
from edge_sdk.quantization.scheme import Scheme
from edge_sdk.session import Session
from edge_sdk.workspace import Workspace

SCHEMES = {"int8": Scheme(), "int16x8": Scheme(activations="int16"), "int4": Scheme(weights="int4")}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos of each of three colours."""
    return write_photos(tmp_path_factory.mktemp("photos"), 4)


def stored_network(name: str, scheme: Scheme) -> tuple[Graph, Workspace]:
    """A small network on integers."""
    graph, workspace = integer_forms(*network(*NETWORKS[name]))
    return integer_graph(observe(Candidate(graph, workspace, Preprocess((12, 12)), PIXELS, scheme), [NORMALISED]))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"aliases"}))
def test_small_networks_give_the_bits_of_the_reference(name: str, scheme: str) -> None:
    """From pixels to logits in every profile."""
    graph, workspace = stored_network(name, SCHEMES[scheme])
    images = IMAGES[:3]
    for profile in PROFILES:
        found, wanted = (
            Session(graph, workspace, device, len(images), profile=profile).run({"image": images})["logits"]
            for device in ("gpu", "reference")
        )

        np.testing.assert_array_equal(found, wanted, err_msg=profile)


def assert_same_logits(name: str, size: int, profile: Profile, scheme: Scheme) -> None:
    """Compare all logits of a network with those of the CPU."""
    model = pretrained.load(name, weights=None, image_size=size)
    pixels = np.random.default_rng(5).integers(0, 256, (2, *model.preprocess.shape), np.uint8)
    on_cpu = dataclasses.replace(quantize(model, pixels, scheme=scheme), profile=profile)

    found = dataclasses.replace(on_cpu, device="gpu").run(pixels)

    assert len(np.unique(found)) > 100
    np.testing.assert_array_equal(found, on_cpu.run(pixels))


@pytest.mark.parametrize("profile", PROFILES)
def test_mobilenet_v2_gives_the_logits_of_the_cpu(profile: Profile) -> None:
    """Dozens of layers after one another, on small photos: not one logit differs."""
    assert_same_logits("mobilenet_v2", 32, profile, Scheme())


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_networks_give_the_logits_of_the_cpu(name: str, profile: Profile, scheme: str) -> None:
    """The same of other networks, on 8 and on 16 bits."""
    assert_same_logits(name, 64, profile, SCHEMES[scheme])


@pytest.mark.parametrize("profile", PROFILES)
def test_a_model_is_evaluated_on_the_device(photos: Path, profile: Profile) -> None:
    """`evaluate` puts a quantized model there, and every score is the CPU's."""
    model = dataclasses.replace(quantize(tiny_model(), photos), profile=profile)
    notes: list[str] = []

    wanted, found = (
        edge.evaluate(model, photos, device=device, on_note=notes.append).scores for device in ("cpu", "auto")
    )

    assert notes == ["device auto is the GPU: a processor that emulates a GPU"]
    np.testing.assert_array_equal(found, wanted)


def test_the_command_line_evaluates_a_file_on_the_device(photos: Path, tmp_path: Path, capsys) -> None:
    """An int8 file is computed here, by the arithmetic that its runtime has by default: the runtime's scores."""
    path = tmp_path / "m.tflite"
    edge.export(tiny_model(), path, quantize="int8", calibrate=photos)

    with pytest.raises(SystemExit) as ended:
        main(["eval", str(path), str(photos), "--device", "gpu", "--json"])

    said = capsys.readouterr()
    assert ended.value.code == 0
    assert "is computed here, as the runtime's default kernels do (--profile xnnpack)" in said.err
    np.testing.assert_array_equal(edge.evaluate(path, photos, device="gpu").scores, edge.evaluate(path, photos).scores)


def test_training_in_8_bits_validates_on_the_device(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The integer form of each epoch runs where its steps do, and gives what it gives on the CPU."""
    devices: list[tuple[str, float]] = []
    run = QuantizedModel.run

    def noted(model: QuantizedModel, x: np.ndarray) -> np.ndarray:
        found = run(model, x)
        on_cpu = run(dataclasses.replace(model, device="cpu"), x)
        devices.append((model.device, float(np.abs(found - on_cpu).max())))
        return found

    monkeypatch.setattr(QuantizedModel, "run", noted)

    quantize_aware(tiny_model(), photos, epochs=1, batch_size=3, learning_rate=1e-3, seed=3, device="gpu")

    assert devices
    assert set(devices) == {("gpu", 0.0)}
