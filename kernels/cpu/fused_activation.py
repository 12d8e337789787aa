"""The activation that an operator applies to its result, as kernels take it."""

from __future__ import annotations

import numpy as np

from edge_sdk.ops.geometry import Activation

NO_ACTIVATION, RELU, RELU6 = 0, 1, 2
ACTIVATIONS: dict[Activation, int] = {None: NO_ACTIVATION, "relu": RELU, "relu6": RELU6}

LIMITS: dict[Activation, tuple[np.float32, np.float32]] = {
    None: (np.float32(-np.inf), np.float32(np.inf)),
    "relu": (np.float32(0), np.float32(np.inf)),
    "relu6": (np.float32(0), np.float32(6)),
}
"""The least and the largest result."""
