"""Smaller networks: channels removed, and the training that wins the accuracy back."""
