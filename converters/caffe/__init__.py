"""Reader of Caffe's networks: definitions (.prototxt), weights (.caffemodel) and mean images (.binaryproto)."""

from __future__ import annotations

from edge_sdk.converters.caffe.caffemodel import Caffemodel, CaffeState, caffe_state, read_blobs, read_mean
from edge_sdk.converters.caffe.reader import read

__all__ = ["CaffeState", "Caffemodel", "caffe_state", "read", "read_blobs", "read_mean"]
