"""What is shipped: every package and data file is in the wheel, and the wheel works away from the sources."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from source_tree import PACKAGE_FOLDERS, PYPROJECT, ROOT, run_python, source_files

import edge_sdk as edge
from edge_sdk.converters.tflite.runtime import TFLiteModel

BUILD_FILES = ("LICENSE", "README.md", "pyproject.toml")

USE = """
import json, sys
import numpy as np
import edge_sdk as edge
from edge_sdk import pretrained

model = pretrained.load("mobilenetv2", weights=None, num_classes=3, image_size=32, labels=("a", "b", "c"))
model.save("model.edge")
report = edge.export(edge.load("model.edge"), "model.tflite")
x = np.random.default_rng(0).standard_normal((2, 32, 32, 3), np.float32)
np.savez("seen.npz", x=x, logits=model.run(x))
homes = {name: module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "edge_sdk"}
print(json.dumps({"homes": homes, "difference": report.relative_difference}))
"""


def pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this interpreter's pip."""
    return subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip


def builder_is_installed() -> bool:
    """Whether the setuptools that pyproject.toml asks for is here already."""
    try:
        return int(importlib.metadata.version("setuptools").split(".")[0]) >= 77
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy of the sources, in which no earlier build has left anything."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in BUILD_FILES:
        shutil.copy(ROOT / name, source)
    for name in PACKAGE_FOLDERS.values():
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--no-build-isolation", "--no-index"] if builder_is_installed() else []
    result = pip("wheel", "--no-deps", *options, "--wheel-dir", str(folder), str(source))
    if result.returncode and not options and "No matching distribution found for setuptools" in result.stderr:
        pytest.skip("setuptools >= 77 is neither installed nor to be had from a package index")
    assert result.returncode == 0, result.stderr
    (built,) = folder.glob("edge_sdk-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with nothing but the installed wheel."""
    folder = tmp_path_factory.mktemp("installed")
    result = pip("install", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def used(installed, tmp_path_factory) -> tuple[Path, dict]:
    """A folder where a program of a user has built, saved, loaded, run and exported a model, and what it printed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    # Compiled code of a temporary installation would be of no use to anyone later.
    result = run_python(installed, "-c", USE, cwd=folder, environment={"NUMBA_CACHE_DIR": str(folder / "compiled")})
    assert result.returncode == 0, result.stderr
    return folder, json.loads(result.stdout)


def test_every_package_is_listed():
    """A folder with modules that pyproject.toml does not name would be missing from the wheel."""
    packages = {name.rpartition(".")[0] if path.stem != "__init__" else name for name, path in source_files().items()}

    assert packages == set(PYPROJECT["tool"]["setuptools"]["packages"])
    assert len(packages) == len(PYPROJECT["tool"]["setuptools"]["packages"])


PACKAGED = {".py", ".json", ".typed", ".template", ".cu", ".cuh", ".h", ".cpp"}


def test_the_wheel_has_every_file(wheel):
    """All modules, the type marker, the data of the zoo, the licence; and nothing else."""
    wanted = {f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"
              for package, folder in PACKAGE_FOLDERS.items()
              for path in (ROOT / folder).rglob("*")
              if path.is_file() and path.suffix in PACKAGED}  # fmt: skip

    found = set(zipfile.ZipFile(wheel).namelist())

    information = {name for name in found if ".dist-info/" in name}
    assert found - information == wanted
    assert {"edge_sdk/py.typed", "edge_sdk/pretrained/manifest.json"} <= found
    assert any(name.endswith("/LICENSE") for name in information)


def test_the_versions_are_the_same():
    """The package, the project file and what is installed name one version."""
    assert edge.__version__ == PYPROJECT["project"]["version"] == importlib.metadata.version("edge-sdk")


def test_the_command_starts_from_the_wheel(installed, tmp_path):
    """With no sources in sight."""
    result = run_python(installed, "-m", "edge_sdk.cli.main", "--version", cwd=tmp_path)

    assert (result.returncode, result.stdout, result.stderr) == (0, f"edge, version {edge.__version__}\n", "")


def test_the_wheel_does_the_main_job(used):
    """A network of the zoo is saved, loaded and exported by modules that all come from the wheel."""
    _, printed = used

    assert printed["difference"] < 1e-4
    assert len(printed["homes"]) > 50


def test_no_module_comes_from_the_sources(used, installed):
    """Were one missing in the wheel, the checkout must not step in."""
    _, printed = used

    assert [name for name, file in printed["homes"].items() if not Path(file).is_relative_to(installed)] == []


def test_files_of_the_wheel_are_read_by_the_sources(used):
    """What one installation writes, another reads: the same logits, as .edge and as .tflite."""
    folder, _ = used
    seen = np.load(folder / "seen.npz")
    x, wanted = seen["x"], seen["logits"]

    model, file = edge.load(folder / "model.edge"), TFLiteModel.open(folder / "model.tflite")

    assert model.labels == file.labels == ("a", "b", "c")
    assert np.ptp(wanted) > 0
    np.testing.assert_allclose(model.run(x), wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())
    np.testing.assert_allclose(file.run(x), wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
