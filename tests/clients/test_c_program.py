"""The exported files in a C program on libLiteRt, without Python.

    pytest -m clients tests/clients/test_c_program.py

It needs a C compiler (Debian: gcc) and Linux; the library is the one in the ai-edge-litert package.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from clients.environments import run
from clients.exported_files import FILES

pytestmark = pytest.mark.clients

SOURCES = Path(__file__).with_name("c")
FLOAT_TOLERANCE = 1e-4
DYNAMIC_TOLERANCE = 0.02


@pytest.fixture(scope="module")
def classify(tmp_path_factory) -> Path:
    """The compiled program."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    found = importlib.util.find_spec("ai_edge_litert")
    if sys.platform != "linux" or compiler is None or found is None or found.origin is None:
        pytest.skip("a C program on libLiteRt.so needs Linux, a C compiler (apt-get install gcc) and ai-edge-litert")
    library = Path(found.origin).with_name("libLiteRt.so")
    program = tmp_path_factory.mktemp("c") / "classify"
    compiled = run(
        compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-o", program,
        SOURCES / "classify.c", library, f"-Wl,-rpath,{library.parent}",
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr
    return program


@pytest.mark.parametrize("name", FILES)
def test_a_file_answers_in_a_c_program(name, exported, classify, tmp_path):
    """Float files agree with our own evaluation to 1e-4, int8 files bit for bit."""
    file = exported[name]
    inputs, outputs = tmp_path / "inputs.bin", tmp_path / "outputs.bin"
    file.x.tofile(inputs)

    done = run(classify, file.path, inputs, outputs, environment={})

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(file.x)} images\n"
    found = file.logits(np.fromfile(outputs, file.output_type).reshape(file.expected.shape))
    if file.step is not None:
        np.testing.assert_array_equal(found, file.expected)
    else:
        assert file.relative_difference(found) <= (DYNAMIC_TOLERANCE if file.form == "dynamic" else FLOAT_TOLERANCE)


def test_the_program_loads_no_python(classify):
    """Of the libraries that it is linked with, none is Python's."""
    linked = run("ldd", classify)

    assert "libLiteRt.so" in linked.stdout
    assert "python3." not in "".join(line.partition("=>")[0] for line in linked.stdout.splitlines())


def test_damaged_files_and_half_images_are_refused(exported, classify, tmp_path):
    """The program ends with 1 and says what is wrong."""
    file = exported["mobilenetv2_int8"]
    damaged, inputs = tmp_path / "damaged.tflite", tmp_path / "inputs.bin"
    damaged.write_bytes(file.path.read_bytes()[:100])
    inputs.write_bytes(file.x.tobytes()[:-1])

    refused = run(classify, damaged, inputs, tmp_path / "a", environment={})
    half = run(classify, file.path, inputs, tmp_path / "b", environment={})

    assert (refused.returncode, half.returncode) == (1, 1)
    assert "LiteRtCreateModelFromFile" in refused.stderr
    assert "the inputs end within an image" in half.stderr
