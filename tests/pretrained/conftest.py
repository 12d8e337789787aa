"""What the zoo's tests share: PyTorch's stored outputs, and checkpoints written without PyTorch."""

from __future__ import annotations

import importlib.util
import json
import pickle
import sys
import types
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from weight_server import Server, running_server

from edge_sdk.spec import Array

FILES = Path(__file__).parent / "files"
CheckpointWriter = Callable[[Path, Mapping[str, Array]], Path]


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on a free port of this machine's loopback."""
    with running_server() as running:
        yield running


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder; proxies and mirrors of the environment are out of the way."""
    for name in ("EDGE_OFFLINE", "EDGE_ZOO_URL", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def formulas() -> ModuleType:
    """The script that made the goldens, for its formulas."""
    spec = importlib.util.spec_from_file_location("make_torch_goldens", FILES / "make_torch_goldens.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def goldens() -> dict[str, Any]:
    """Layers of the networks in PyTorch by name, and cases of image sizes and logits."""
    return json.loads((FILES / "torch_goldens.json").read_text("utf-8"))["networks"]


@pytest.fixture(scope="session")
def state_dict(formulas, goldens) -> Callable[[str], dict[str, Array]]:
    """Return the weights of a network under the published keys and in their shapes."""
    return lambda name: {
        key: formulas.formula_weight(key, tuple(shape))
        for key, shape in formulas.unpacked(goldens[name]["layers"]).items()
    }


@pytest.fixture
def write_checkpoint(monkeypatch) -> Iterator[CheckpointWriter]:
    """Write arrays as torch.save does: a zip archive of a pickle that calls torch's functions, and raw storages.

    The files are hundreds of megabytes: they are removed when the test ends.
    """
    written: list[Path] = []
    torch, utilities = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2() -> None:
        """Only its name is pickled."""

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utilities._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utilities)

    class Storage:
        def __init__(self, key: int, array: Array) -> None:
            self.key, self.array = key, array

    class Tensor:
        def __init__(self, storage: Storage) -> None:
            self.storage = storage

        def __reduce__(self) -> tuple[Any, ...]:
            array = self.storage.array
            strides = tuple(step // array.itemsize for step in array.strides)
            return _rebuild_tensor_v2, (self.storage, 0, array.shape, strides, False, {})

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if not isinstance(value, Storage):
                return None
            kind = torch.LongStorage if value.array.dtype == np.int64 else torch.FloatStorage
            return "storage", kind, str(value.key), "cpu", value.array.size

    def write(path: Path, arrays: Mapping[str, Array]) -> Path:
        contiguous = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            with archive.open("archive/data.pkl", "w") as entry:
                tensors = {name: Tensor(Storage(key, array)) for key, (name, array) in enumerate(contiguous.items())}
                Pickler(entry, protocol=2).dump(tensors)
            for key, array in enumerate(contiguous.values()):
                archive.writestr(f"archive/data/{key}", array.tobytes())
            archive.writestr("archive/version", "3\n")
        written.append(path)
        return path

    yield write
    for path in written:
        path.unlink()
