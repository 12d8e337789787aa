"""Listing the photos below a folder, in an order that no file system decides."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from edge_sdk.data.images import is_photo
from edge_sdk.errors import DataError

# What archives and Python leave behind; nobody's class.
_LEFTOVERS = ("__macosx", "__pycache__")
