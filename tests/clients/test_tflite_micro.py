"""The int8 files in the interpreter for microcontrollers (tflite-micro), which has no fp16 and no dynamic range.

pytest -m clients tests/clients/test_tflite_micro.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clients.environments import python_with, run_client

pytestmark = pytest.mark.clients

PROGRAM = Path(__file__).with_name("programs") / "run_tflite_micro.py"
STEPS = 5
"""Its kernels are the reference's: four units of the last layer from XNNPACK's were seen."""


@pytest.fixture(scope="module")
def micro(environments) -> Path:
    """The interpreter of an environment with tflite-micro."""
    return python_with(environments / "micro", ["tflite-micro"])


@pytest.mark.parametrize("name", ["lite0_float32", "lite0_int8", "lite0_int8_uint8"])
def test_a_file_answers_in_the_micro_interpreter(name, exported, micro, tmp_path):
    """Float to 1e-4; int8 within a few units, and with the same best class of every photo."""
    file = exported[name]
    np.save(tmp_path / "x.npy", file.x)

    run_client(micro, PROGRAM, file.path, tmp_path / "x.npy", tmp_path / "y.npy")

    found = file.logits(np.load(tmp_path / "y.npy"))
    assert (found.argmax(axis=1) == file.expected.argmax(axis=1)).all()
    if file.step is not None:
        assert file.steps(found).max() <= STEPS
    else:
        assert file.relative_difference(found) <= 1e-4
