"""Reader of the weights that Keras writes: .h5, .weights.h5 and .keras files."""

from __future__ import annotations

from edge_sdk.converters.keras.weights import KerasState, keras_state

__all__ = ["KerasState", "keras_state"]
