"""`--device`: what is missing is said in one line before anything begins; auto says what it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import edge_sdk as edge
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.device_choice import chosen_device, described
from edge_sdk.errors import DeviceError, UsageError
from edge_sdk.kernels.gpu import cuda_driver, driver

Break = Callable[..., None]


@pytest.fixture(autouse=True)
def real_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Device "gpu" is what CuPy finds, looked for anew in each test."""
    monkeypatch.delenv(driver.VARIABLE, raising=False)
    driver.current_driver.cache_clear()
    monkeypatch.setattr(cuda_driver, "check_compiler", lambda: None)


class _RuntimeError(Exception):
    """CuPy's own class of errors."""


def _cupy(count: Callable[[], int]) -> ModuleType:
    module = ModuleType("cupy")
    module.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=count, CUDARuntimeError=_RuntimeError))
    return module


def _no_driver() -> int:
    raise _RuntimeError("cudaErrorInsufficientDriver: too old")


MISSING: dict[str, tuple[Any, str]] = {
    "CuPy": (None, "needs CuPy: pip install 'edge-sdk[gpu-cuda12]'"),
    "driver": (_cupy(_no_driver), "no usable NVIDIA driver (cudaErrorInsufficientDriver: too old); nvidia-smi"),
    "GPU": (_cupy(lambda: 0), "lists no GPU; see nvidia-smi and CUDA_VISIBLE_DEVICES"),
}


@pytest.mark.parametrize("missing", MISSING)
def test_what_is_missing_is_named_before_anything_begins(
    refused, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """No photo is looked for, no weights are fetched, no folder is made: one line says what to do."""
    module, wanted = MISSING[missing]
    monkeypatch.setitem(sys.modules, "cupy", module)
    for name in ("edge_sdk.data.folder.ImageFolder.scan", "edge_sdk.pretrained.load"):
        monkeypatch.setattr(name, None)

    for command in (("train", photos, "--out", tmp_path / "run"), ("demo", "--out", tmp_path / "run")):
        message = refused(*command, "--device", "gpu")

        assert len(message.splitlines()) == 1
        assert wanted in message
    assert not (tmp_path / "run").exists()


def test_a_broken_cupy_is_told_from_a_missing_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first line of what its import says is passed on."""
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    (tmp_path / "cupy.py").write_text('raise ImportError("\\nlibcuda is of another world\\nand more")')
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(DeviceError) as error:
        chosen_device("gpu")

    assert "it is there, and says: libcuda is of another world)" in str(error.value)
    assert "\n" not in str(error.value)


def test_auto_without_a_gpu_trains_on_the_cpu_and_says_why(
    run, photos: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is that of device cpu, to the last byte."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    command = ("train", photos, "--model", model, "--epochs", 1, "--batch", 6)

    results = {device: run(*command, "--device", device, "--out", tmp_path / device) for device in ("cpu", "auto")}

    said = [line for line in results["auto"].err.splitlines() if line.startswith("device auto is the CPU: ")]
    assert [result.code for result in results.values()] == [0, 0]
    assert len(said) == 1
    assert "CuPy" in said[0]
    assert "device" not in results["cpu"].err
    assert (tmp_path / "auto" / "best.edge").read_bytes() == (tmp_path / "cpu" / "best.edge").read_bytes()


def test_auto_takes_the_gpu_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a driver that works it says which GPU."""
    monkeypatch.setattr(driver, "current_driver", lambda: None)
    monkeypatch.setattr("edge_sdk.kernels.gpu.memory.current_driver", lambda: SimpleNamespace(description="a fine GPU"))
    said: list[str] = []

    assert chosen_device("auto", said.append) == "gpu"
    assert said == ["device auto is the GPU: a fine GPU"]
    assert (described("gpu"), described("cpu")) == ("gpu (a fine GPU)", "cpu")


def test_an_unknown_device_gets_a_suggestion() -> None:
    """Python's names are those of the command line, and the naive kernels."""
    with pytest.raises(UsageError, match="device 'gpus' is not one of cpu, gpu, reference, auto; did you mean 'gpu'"):
        chosen_device("gpus")


def test_evaluation_on_a_gpu_is_refused_where_it_cannot_be(
    run, refused, photos: Path, model: Path, tflite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model or an int8 file needs the GPU that is asked for; auto leaves a file in its runtime without a word."""
    monkeypatch.setitem(sys.modules, "cupy", None)

    assert "needs CuPy" in refused("eval", model, photos, "--device", "gpu")
    assert "needs CuPy" in refused("eval", tflite, photos, "--device", "gpu")
    with pytest.raises(UsageError, match="not what is open in a runtime of its own"):
        edge.evaluate(TFLiteModel.open(tflite), photos, device="gpu")
    assert "device auto is the CPU" in run("eval", model, photos, "--device", "auto").err
    assert "device" not in run("eval", tflite, photos, "--device", "auto").err


def test_fit_looks_for_the_device_before_the_photos() -> None:
    """In Python too the error comes first."""
    with pytest.raises(UsageError, match="device 'cuda' is not one of"):
        edge.fit(None, Path("nowhere"), device="cuda")
