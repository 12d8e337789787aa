"""Runs of these tests leave nothing in the user's cache folder."""

from __future__ import annotations

import pytest
from own_cache import own_cache


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory):
    """Features that the tests compute are kept in a folder of their own; its path."""
    folder = own_cache(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_CACHE", str(folder))
        yield folder
