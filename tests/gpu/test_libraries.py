"""NVIDIA's libraries where they are absent, too old or lack something: one line says so, and nothing else changes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_sdk.cli.main import main
from edge_sdk.errors import DeviceError, UsageError
from edge_sdk.kernel import find_kernel, load_device
from edge_sdk.kernels.gpu import cublas, cublas_names, cudnn, cudnn_names, libraries
from edge_sdk.kernels.gpu.algorithm_cache import AlgorithmCache, Engine
from edge_sdk.kernels.gpu.cudnn import Cudnn
from edge_sdk.kernels.gpu.cudnn_engines import engines_of
from edge_sdk.kernels.gpu.libraries import ALIGNMENT, OWN_KERNELS, Entry, checked_address, load_library, report
from edge_sdk.ops.conv import Conv2D
from edge_sdk.ops.linear import Linear
from edge_sdk.spec import Spec

load_device("gpu")

pytestmark = pytest.mark.emulated

ENGINES: list[Engine] = [(3, ((1, 2), (4, 0))), (5, ())]


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without these libraries."""
    for module, names in ((cudnn, "libno_cudnn.so.9"), (cublas, "libno_cublas.so.13")):
        monkeypatch.setattr(module, "LIBRARIES", (names,))


def compiled(folder: Path, text: str) -> str:
    """A library of one's own."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: no library can be made")
    place = folder / "libmade.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(place)], input=text, text=True, check=True)
    return str(place)


def test_a_missing_library_is_told_in_one_line(absent: None) -> None:
    """What is missing is named, with what to install."""
    lines = report()

    assert lines.keys() == {"cuDNN", "cuBLAS"}
    for line in lines.values():
        assert line.startswith("not used: libno_")
        assert "pip install 'edge-sdk[cudnn-cuda13]'" in line
        assert "\n" not in line


def test_doctor_has_a_line_for_each_library(absent: None, capsys: pytest.CaptureFixture[str]) -> None:
    """People and programs read what is used, and why not."""
    told = doctor(capsys, "--json")
    text = doctor(capsys)

    for name, why in json.loads(told)["gpu_libraries"].items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        assert line.endswith(why)


def test_doctor_counts_the_convolutions_without_an_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A search that found nothing is remembered, and told."""
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))
    library = Cudnn.__new__(Cudnn)
    library.version, library.handle = 92801, None
    monkeypatch.setattr(cudnn, "current_cudnn", lambda: library)
    for key, engines in (("a", ENGINES), ("b", []), ("c", [])):
        engines_of(library).kept.put(key, engines)

    told = json.loads(doctor(capsys, "--json"))["gpu_libraries"]["cuDNN"]

    assert told.endswith("; 2 of 3 convolutions seen here run on the package's own kernels")


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `edge doctor` prints."""
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_without_libraries_our_own_kernels_are_all_there_is() -> None:
    """The emulated device has none, and every choice is as it was."""
    convolution = find_kernel(Conv2D(), "gpu", [Spec((1, 4, 4, 2)), Spec((3, 1, 1, 2))])
    product = find_kernel(Linear(), "gpu", [Spec((2, 4)), Spec((3, 4))])

    assert convolution is not None
    assert product is not None
    assert (convolution.algorithm, product.algorithm) == ("conv2d", "linear")


class Functions:
    """A library that has a GPU: it hands out handles, or refuses to."""

    def __init__(self, status: int) -> None:
        self.status, self.stream = status, 0

    def cudnnGetVersion(self) -> int:  # noqa: N802 - the library's name
        return 92801

    def cublasLtGetVersion(self) -> int:  # noqa: N802 - the library's name
        return 131000

    def cudnnCreate(self, handle: Any) -> int:  # noqa: N802 - the library's name
        handle._obj.value = 5
        return self.status

    cublasLtCreate = cudnnCreate  # noqa: N815 - the library's name

    def cudnnSetStream(self, handle: Any, stream: int) -> int:  # noqa: N802 - the library's name
        self.stream = stream
        return 0

    def cudnnGetErrorString(self, status: int) -> bytes:  # noqa: N802 - the library's name
        return b"NOT_INITIALIZED"

    cublasLtGetStatusString = cudnnGetErrorString  # noqa: N815 - the library's name

    def cudnnGetLastErrorString(self, text: Any, size: int) -> None:  # noqa: N802 - the library's name
        text.value = b"an old driver\nand more"


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Functions]]:
    """A GPU whose driver has the stream 77, and libraries whose handles are made with a status."""

    def opened(status: int) -> Functions:
        functions = Functions(status)
        monkeypatch.setattr(libraries, "current_driver", lambda: SimpleNamespace(stream=77))
        for module in (cudnn, cublas):
            monkeypatch.setattr(module, "loaded_functions", lambda: functions)
            module._opened.cache_clear()
        return functions

    yield opened
    for module in (cudnn, cublas):
        module._opened.cache_clear()


def test_libraries_work_on_the_stream_of_the_driver(with_gpu: Callable[[int], Functions]) -> None:
    """Each has one handle; the order of launches is that of all kernels."""
    functions = with_gpu(0)

    first, second = cudnn.current_cudnn(), cublas.current_cublas()

    assert first is not None
    assert second is not None
    assert (first.handle, second.handle, functions.stream, second.stream) == (5, 5, 77, 77)
    assert first is cudnn.current_cudnn()
    assert report() == {"cuDNN": "9.28.1", "cuBLAS": "13.10.0"}


def test_a_library_that_gives_no_handle_is_not_used(with_gpu: Callable[[int], Functions]) -> None:
    """Its own words are told, in one line."""
    with_gpu(1001)

    assert cudnn.current_cudnn() is None
    assert cublas.current_cublas() is None
    assert report() == {
        "cuDNN": "9.28.1, not used: cuDNN: handle: NOT_INITIALIZED: an old driver (status 1001)",
        "cuBLAS": "13.10.0, not used: cuBLAS: handle: NOT_INITIALIZED (status 1001)",
    }


def test_without_a_gpu_the_version_is_told(
    with_gpu: Callable[[int], Functions], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why there is none stands in the line on the GPU."""

    def no_driver() -> None:
        raise DeviceError("a long story")

    with_gpu(0)
    monkeypatch.setattr(libraries, "current_driver", no_driver)

    assert report() == {
        "cuDNN": "9.28.1, not used: there is no GPU to use it on",
        "cuBLAS": "13.10.0, not used: there is no GPU to use it on",
    }


def test_own_kernels_alone_where_that_is_wanted(
    with_gpu: Callable[[int], Functions], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One variable leaves the libraries aside, and the report says so."""
    monkeypatch.setenv(OWN_KERNELS, "1")
    with_gpu(0)

    assert cudnn.current_cudnn() is None
    assert cublas.current_cublas() is None
    assert report()["cuDNN"] == "9.28.1, not used: EDGE_OWN_KERNELS is 1"


def test_a_wish_that_is_misspelt_is_no_wish(
    with_gpu: Callable[[int], Functions], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the caller's mistake, and not a reason to do without libraries."""
    monkeypatch.setenv(OWN_KERNELS, "yes")
    with_gpu(0)

    with pytest.raises(UsageError, match="EDGE_OWN_KERNELS is 0 or 1, not 'yes'"):
        find_kernel(Linear(), "gpu", [Spec((2, 4)), Spec((3, 4))])


def test_a_version_without_a_function_is_not_used(tmp_path: Path) -> None:
    """The function that it lacks is named."""
    place = compiled(tmp_path, "int first(void) { return 1; }")

    with pytest.raises(DeviceError, match=r"libmade\.so has no function second; install another"):
        load_library((place,), (Entry("first", None, ()), Entry("second", None, ())), "install another")


def test_a_version_that_is_too_old_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a cuDNN 8 nothing is asked but its version."""
    functions = [f"int {entry.name}(void) {{ return 8907; }}" for entry in cudnn_names.ENTRIES]
    monkeypatch.setattr(cudnn, "LIBRARIES", (compiled(tmp_path, "\n".join(functions)),))

    assert cudnn.report().startswith("not used: cuDNN 8.9.7 is older than 9")


def test_an_array_that_is_not_aligned_is_refused() -> None:
    """A library was promised aligned arrays: others are an error, not a wrong result."""
    assert checked_address("cuDNN", 2 * ALIGNMENT) == 2 * ALIGNMENT
    with pytest.raises(DeviceError, match="cuDNN: an array at 0x18 does not start at a multiple of 16 bytes"):
        checked_address("cuDNN", 0x18)


def test_names_of_libraries_fit_both_versions_of_cuda() -> None:
    """The packages for CUDA 13 and 12 hold these files, on Linux and on Windows."""
    assert cublas_names.LIBRARIES[:2] == ("libcublasLt.so.13", "libcublasLt.so.12")
    assert cudnn_names.LIBRARIES == ("libcudnn.so.9", "cudnn64_9.dll")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))
    return tmp_path


def test_engines_are_remembered_for_one_device_and_version(folder: Path) -> None:
    """Another process reads what was written; another device or version starts anew; processes add to each other."""
    first, second = (AlgorithmCache("cudnn", "9.1.0", "a GPU") for _ in range(2))

    first.put("one", ENGINES)
    second.put("two", [])

    read = AlgorithmCache("cudnn", "9.1.0", "a GPU")
    assert (read.get("one"), read.get("two"), read.get("three")) == (ENGINES, [], None)
    assert read.without_engine() == (1, 2)
    assert AlgorithmCache("cudnn", "9.2.0", "a GPU").get("one") is None
    assert AlgorithmCache("cudnn", "9.1.0", "another GPU").get("one") is None


@pytest.mark.parametrize(
    "entry", [7, [7], [[-1, []]], [[1.5, []]], [[True, []]], [[2**64, []]], [[1, [3]]], [[1, [[1, 2, 3]]]], [["1", []]]]
)
def test_a_damaged_entry_counts_as_absent(entry: object, folder: Path) -> None:
    """The other entries of the file stay."""
    cache = AlgorithmCache("cudnn", "9.1.0", "a GPU")
    cache.put("good", ENGINES)
    content = json.loads(cache.path.read_text("utf-8"))
    content["engines"]["bad"] = entry
    cache.path.write_text(json.dumps(content), "utf-8")

    read = AlgorithmCache("cudnn", "9.1.0", "a GPU")

    assert (read.get("good"), read.get("bad")) == (ENGINES, None)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 2}', "[" * 100000, '{"format": 1, "engines": 3}'])
def test_a_damaged_file_counts_as_empty(content: str, folder: Path) -> None:
    """Whatever lies there is overwritten by the next search."""
    cache = AlgorithmCache("cudnn", "9.1.0", "a GPU")
    cache.path.parent.mkdir(parents=True, exist_ok=True)
    cache.path.write_text(content, "utf-8")

    read = AlgorithmCache("cudnn", "9.1.0", "a GPU")
    assert read.get("one") is None
    read.put("one", ENGINES)

    assert AlgorithmCache("cudnn", "9.1.0", "a GPU").get("one") == ENGINES


def test_a_folder_that_cannot_be_written_costs_time_alone(folder: Path) -> None:
    """What was found is known to this process."""
    (folder / "tuning").write_text("a file where a folder should be", "utf-8")
    cache = AlgorithmCache("cudnn", "9.1.0", "a GPU")

    cache.put("one", ENGINES)

    assert cache.get("one") == ENGINES
