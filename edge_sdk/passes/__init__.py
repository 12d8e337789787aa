"""Passes: functions from a graph and its workspace to another pair that computes the same, or trains it.

A pass never changes its arguments; arrays that stay the same are shared.
"""
