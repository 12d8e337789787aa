"""A file is cut into files of one operator each, which compute what that operator does in the whole."""

from __future__ import annotations

import numpy as np
import pytest
from lowered_cases import LOWERED, graph_of
from tiny_models import tiny_model

from edge_sdk.converters.tflite.file_graph import read_file_graph
from edge_sdk.converters.tflite.runtime import TFLiteModel
from edge_sdk.converters.tflite.single_operators import single_operator_files
from edge_sdk.converters.tflite.writer import write


@pytest.mark.parametrize("case", LOWERED, ids=str)
def test_an_operator_alone_computes_the_same(case):
    """Where a file has one operator, the cut is the same program: attributes, constants and version go with it."""
    graph, workspace, feeds = graph_of(case)
    whole = write(graph, workspace).data
    cut = list(single_operator_files(read_file_graph(whole, "whole")))

    assert all(file is not None for _, file in cut)
    if len(cut) == 1 == len(read_file_graph(whole, "whole").operators):
        answers = [TFLiteModel(data).invoke(feeds) for data in (whole, cut[0][1])]
        for found, expected in zip(answers[1].values(), answers[0].values(), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("weights", ["float32", "float16"])
def test_operators_one_after_the_other_are_the_network(weights):
    """What the last gives is fed to the next, by the names of the tensors; float16 weights are widened where used."""
    model = tiny_model()
    whole = write(*model.inference, weights).data
    x = np.random.default_rng(0).standard_normal((1, *model.preprocess.shape)).astype(np.float32)
    wanted = TFLiteModel(whole).invoke({"image": x})
    known = {"image": x}

    for operator, file in single_operator_files(read_file_graph(whole, "whole")):
        alone = TFLiteModel(file, operator.name)
        known |= alone.invoke({info.name: known[info.name] for info in alone.inputs})

    for name, expected in wanted.items():
        np.testing.assert_allclose(known[name], expected, rtol=1e-5, atol=1e-6)
