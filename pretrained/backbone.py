"""`features`: the backbone of a network of the zoo, for what is built on feature maps rather than on classes."""

from __future__ import annotations

from edge_sdk.graph import Graph
from edge_sdk.model import Model
from edge_sdk.pretrained.architectures import ZOO, known_name
from edge_sdk.workspace import Workspace


def features(model: Model) -> tuple[Graph, Workspace]:
    """Return a model of the zoo without its classifier: the graph and the model's weights that it needs.

    It goes from `image` (n, h, w, c) to `stage1`, `stage2`, …: the last feature maps of strides 4, 8, 16 and, where
    the network has it, 32, (n, h, w, c) each. The arrays are the model's own; the batch norms are in inference form.

    Raises:
        UsageError: the model's architecture is not in the zoo.
        GraphError: its weights are not those of the network of that name, because it was changed.
    """
    architecture = ZOO[known_name(model.name)]
    graph, _ = architecture.features(model.preprocess.size, width=float(model.provenance.get("width", 1.0)))
    workspace = model.workspace.restricted(graph)
    workspace.check(graph)
    return graph, workspace
