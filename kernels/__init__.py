"""Numerics: kernels bind to the operator classes of the core, one folder a device."""
