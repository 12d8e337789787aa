"""The exported files in ai-edge-litert, in this process.

pytest -m clients tests/clients/test_litert.py
"""

from __future__ import annotations

import numpy as np
import pytest
from clients.exported_files import FILES, LITE0, SEEN

pytestmark = pytest.mark.clients

FLOAT_TOLERANCE = 1e-4
DYNAMIC_TOLERANCE = 0.02
REFERENCE_STEPS = 5
"""The reference kernels round otherwise than XNNPACK, one unit a layer; four units of the last one were seen."""

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")


def _answers(file, **options):
    running = interpreter.Interpreter(str(file.path), **options)
    running.allocate_tensors()
    (taken,), (given,) = running.get_input_details(), running.get_output_details()
    answers = []
    for image in file.x:
        running.set_tensor(taken["index"], image[np.newaxis])
        running.invoke()
        answers.append(running.get_tensor(given["index"])[0])
    return file.logits(np.stack(answers))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", FILES)
def test_a_file_answers_as_our_own_evaluation(name, threads, exported):
    """Float files to 1e-4 of the largest logit, int8 files bit for bit."""
    file = exported[name]

    found = _answers(file, num_threads=threads)

    if file.step is not None:
        np.testing.assert_array_equal(found, file.expected)
    else:
        assert file.relative_difference(found) <= (DYNAMIC_TOLERANCE if file.form == "dynamic" else FLOAT_TOLERANCE)


@pytest.mark.parametrize("name", LITE0)
def test_the_reference_kernels_recognise_the_same(name, exported):
    """With BUILTIN_REF the best class of every photo is ours, and logits are a few units apart."""
    file = exported[name]

    found = _answers(file, experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_REF)

    assert (found.argmax(axis=1) == file.expected.argmax(axis=1)).all()
    if file.step is not None:
        assert file.steps(found).max() <= REFERENCE_STEPS
    else:
        assert file.relative_difference(found) <= (DYNAMIC_TOLERANCE if file.form == "dynamic" else FLOAT_TOLERANCE)


@pytest.mark.parametrize("name", LITE0)
def test_what_is_expected_is_right(name, exported):
    """Our own evaluation names what the photos show."""
    file = exported[name]

    best = [file.labels[index] for index in file.expected.argmax(axis=1)]

    for label, names in zip(best, SEEN, strict=True):
        assert names is None or any(word in label for word in names.split("|")), label
