"""The passes in the order in which they are run, by purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_sdk.errors import UsageError, suggestion
from edge_sdk.graph import Graph
from edge_sdk.passes.common_subexpressions import common_subexpressions
from edge_sdk.passes.constant_folding import constant_folding
from edge_sdk.passes.dead_code import dead_code
from edge_sdk.passes.fold_batch_norm import fold_batch_norm
from edge_sdk.passes.fuse_activation import fuse_activation
from edge_sdk.passes.fuse_addition import fuse_addition
from edge_sdk.passes.fuse_gradient_sum import fuse_gradient_sum
from edge_sdk.passes.fuse_residual import fuse_residual
from edge_sdk.passes.fuse_update import fuse_update
from edge_sdk.passes.gather_statistics import gather_statistics
from edge_sdk.passes.group_casts import group_casts
from edge_sdk.passes.group_updates import group_updates
from edge_sdk.passes.order_updates import order_updates
from edge_sdk.passes.to_inference import to_inference
from edge_sdk.workspace import Workspace

Pass = Callable[[Graph, Workspace], tuple[Graph, Workspace]]

PIPELINES: Mapping[str, tuple[Pass, ...]] = {
    # A forward graph, after to_training and freeze; the loss, gradients and optimizer are added behind it.
    "train": (dead_code, common_subexpressions, fuse_activation, fuse_residual),
    # A whole training step.
    "step": (gather_statistics, fuse_gradient_sum, fuse_update, order_updates, group_updates, group_casts),
    "inference": (
        to_inference,
        constant_folding,
        common_subexpressions,
        fold_batch_norm,
        fuse_activation,
        dead_code,
    ),
    # After "inference", for our own kernels: what is not to be written to a file.
    "execution": (fuse_addition,),
}


def run_pipeline(name: str, graph: Graph, workspace: Workspace) -> tuple[Graph, Workspace]:
    """Run the passes of a pipeline one after the other; raises UsageError for a name that is none."""
    if name not in PIPELINES:
        raise UsageError(f"pipeline {name!r} is not one of {', '.join(PIPELINES)}{suggestion(name, PIPELINES)}")
    for apply in PIPELINES[name]:
        graph, workspace = apply(graph, workspace)
    return graph, workspace
