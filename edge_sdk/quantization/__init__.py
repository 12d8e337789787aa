"""From real numbers to 8-bit integers: calibration, parameters, and the pass that rewrites the graph."""
