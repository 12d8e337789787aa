"""Compiled kernels on disk: never stale, never fatal, shared by processes that start at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_model

import edge_sdk as edge
from edge_sdk.kernel import load_device
from edge_sdk.training.step import training_session

PROGRAM = """
import numpy as np
import edge_sdk as edge
from edge_sdk.builder import Builder
from edge_sdk.compilation import compilation
from edge_sdk.ops.activation import Relu
from edge_sdk.ops.elementwise import Add

g = Builder("small")
x = g.input("x", edge.Spec((4, 5), "float32"))
r = g.add(Relu(), x)
y = g.add(Add(), r, r, name="y")
result = edge.Session(g.build(y), edge.Workspace()).run({"x": np.full((4, 5), 0.25, np.float32)})
known = compilation()
print(float(result["y"].sum()), known.compiled, known.loaded, known.folder)
"""
SUM = "10.0"  # of twenty times ¼ + ¼


def start(cache: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a program that needs two kernels."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env={**os.environ, "EDGE_CACHE": str(cache), **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(cache: Path, **environment: str) -> tuple[list[str], str]:
    """Return what the program printed: sum, compiled, loaded, folder; and what it said on stderr."""
    process = start(cache, **environment)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.split(), err


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A cache with the two kernels."""
    cache = tmp_path_factory.mktemp("filled")
    printed, _ = run(cache)
    assert printed[:3] == [SUM, "2", "0"]
    return cache


@pytest.fixture
def cache(filled, tmp_path) -> Path:
    """A copy of the filled cache, to be spoiled."""
    return Path(shutil.copytree(filled, tmp_path / "cache"))


def kernel_files(cache: Path) -> list[Path]:
    """The files of compiled functions."""
    return sorted(cache.rglob("*.kernel"))


def test_a_second_start_compiles_nothing(cache):
    """And it says nothing."""
    printed, said = run(cache)

    assert printed[:3] == [SUM, "0", "2"]
    assert said == ""


def test_the_first_start_says_so_once_and_can_be_silenced(tmp_path):
    """One line on stderr through logging, without any set-up of logging."""
    quiet = PROGRAM.replace(
        "import numpy", "import logging; logging.getLogger('edge_sdk').setLevel('ERROR')\nimport numpy", 1
    )
    _, said = run(tmp_path / "a")
    environment = {**os.environ, "EDGE_CACHE": str(tmp_path / "b")}
    silenced = subprocess.run(
        [sys.executable, "-c", quiet], env=environment, capture_output=True, text=True, check=True
    )

    assert said.count("compiling kernels, once for this machine") == len(said.splitlines()) == 1
    assert silenced.stderr == ""


def test_the_kernels_lie_in_the_folder_that_was_chosen(cache):
    """$EDGE_CACHE moves them, into a folder of their own."""
    printed, _ = run(cache)

    assert Path(printed[3]).parent == cache / "kernels"


def test_a_damaged_file_is_compiled_again(cache):
    """The result is right, the damaged function alone is compiled, and the next start finds it whole."""
    path = kernel_files(cache)[0]
    content = path.read_bytes()
    middle = len(content) // 2
    damaged = {
        "truncated": content[:middle],
        "empty": b"",
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "garbage": b"\x80\x05garbage" * 100,
    }

    printed = {}
    for damage, bytes_found in damaged.items():
        path.write_bytes(bytes_found)
        printed[damage] = run(cache)[0][:3]
    after, _ = run(cache)

    assert printed == {damage: [SUM, "1", "1"] for damage in damaged}
    assert after[:3] == [SUM, "0", "2"]


@pytest.mark.long
def test_three_processes_that_start_at_once_on_an_empty_cache(tmp_path):
    """All are right, and leave whole files."""
    processes = [start(tmp_path) for _ in range(3)]
    results = [process.communicate(timeout=300) for process in processes]
    printed, _ = run(tmp_path)

    assert [process.returncode for process in processes] == [0, 0, 0], results
    assert [out.split()[0] for out, _ in results] == [SUM] * 3
    assert printed[:3] == [SUM, "0", "2"]
    assert list(tmp_path.rglob("*.part")) == []


def test_a_home_that_cannot_be_written_gets_a_temporary_folder(tmp_path):
    """A file stands where the folder should be, which stops root as well; it is said once, and found again."""
    (tmp_path / "file").write_text("")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}

    first, said = run(tmp_path / "file", **environment)
    second, _ = run(tmp_path / "file", **environment)

    assert first[:3] == [SUM, "2", "0"]
    assert Path(first[3]).is_relative_to(temporary)
    assert said.count("cannot be kept in") == 1
    assert second[:3] == [SUM, "0", "2"]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="temporary folders are a user's own on this system")
def test_a_temporary_folder_that_others_can_write_is_not_trusted(tmp_path):
    """Whoever can write there could hand us code."""
    (tmp_path / "file").write_text("")
    foreign = tmp_path / f"edge-sdk-{os.getuid()}"
    foreign.mkdir()
    foreign.chmod(0o777)

    printed, _ = run(tmp_path / "file", TMPDIR=str(tmp_path))

    assert printed[0] == SUM
    assert not Path(printed[3]).is_relative_to(foreign)


def test_a_disk_that_is_full_costs_only_time(tmp_path):
    """No file can be written that is as large as a kernel; the kernels run, and it is said once."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); import signal\n"
    limited += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    pytest.importorskip("resource")
    environment = {**os.environ, "EDGE_CACHE": str(tmp_path)}

    result = subprocess.run(
        [sys.executable, "-c", limited + PROGRAM], env=environment, capture_output=True, text=True, check=True
    )

    assert result.stdout.split()[:3] == [SUM, "2", "0"]
    assert result.stderr.count("cannot be kept in") == 1
    assert list(tmp_path.rglob("*.part")) == []


@pytest.mark.long
@pytest.mark.parametrize(
    "environment",
    [{"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, {"EDGE_SIMD_LANES": "4"}, {"NUMBA_OPT": "1"}],
    ids=str,
)
def test_what_changes_the_code_changes_the_folder(cache, environment):
    """Nothing compiled otherwise is loaded."""
    before = {path.parent for path in kernel_files(cache)}

    printed, _ = run(cache, **environment)

    assert printed[:3] == [SUM, "2", "0"]
    assert Path(printed[3]) not in before


@pytest.mark.parametrize("part", ["numba", "llvmlite", "features", "processor", "python", "system", "sources"])
def test_the_key_names_everything_that_decides_the_code(part):
    """Versions, processor and its features, system, Python, and every source of the kernels."""
    load_device("cpu")
    key = sys.modules["edge_sdk.kernels.cpu.code_cache"].key()

    assert key[part]


def test_old_folders_are_removed_but_the_newest_and_those_in_use(tmp_path):
    """Six folders of other keys: four stay for being the newest; of the other two, the one used today."""
    load_device("cpu")
    code_cache = sys.modules["edge_sdk.kernels.cpu.code_cache"]
    now, day = time.time(), 24 * 3600
    for name, age in [("a", 9), ("b", 8), ("c", 7), ("d", 6), ("e", 5), ("f", 4), ("current", 30)]:
        (tmp_path / name).mkdir()
        mark = tmp_path / name / code_cache.MARK
        mark.write_text("{}")
        os.utime(mark, (now - age * day, now - age * day))
    os.utime(tmp_path / "b" / code_cache.MARK, (now - 8 * day, now - 8 * day))

    code_cache.remove_old(tmp_path, tmp_path / "current")
    left = sorted(folder.name for folder in tmp_path.iterdir())
    for name in "cdef":
        os.utime(tmp_path / name / code_cache.MARK, (now - 3600, now - 3600))
    for name in "gh":
        (tmp_path / name).mkdir()
        (tmp_path / name / code_cache.MARK).write_text("{}")
    code_cache.remove_old(tmp_path, tmp_path / "current")

    assert left == ["c", "current", "d", "e", "f"]
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["c", "current", "d", "e", "f", "g", "h"]


def signatures() -> dict[str, int]:
    """How many forms of each kernel are compiled or loaded in this process."""
    found = {}
    for name, module in sys.modules.items():
        if name.startswith("edge_sdk.kernels.cpu."):
            for function, value in vars(module).items():
                if hasattr(value, "signatures") and hasattr(value, "py_func"):
                    found[f"{name}.{function}"] = len(value.signatures)
    return found


def test_new_shapes_compile_nothing():
    """What one network at one batch size has compiled serves other batch sizes and another network; a kernel that only
    other sizes use may be added, but none gets a second form.
    """

    def step(model: edge.Model, batch: int) -> None:
        session = training_session(model, batch)
        x = np.zeros((batch, *model.preprocess.shape), np.float32)
        session.run({"image": x, "label": np.zeros(batch, np.int32)})
        model.run(x)

    step(tiny_model(), 4)
    before = {name: count for name, count in signatures().items() if count}

    for model, batch in [(tiny_model(), 7), (tiny_model(seed=1, classes=2), 5), (tiny_model(), 16)]:
        step(model, batch)

    assert len(before) > 10
    assert {name: signatures()[name] for name in before} == before
