"""Where weights, features, measured times and compiled kernels are kept."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from edge_sdk.autotune import tuning_folder
from edge_sdk.cache_folder import cache_folder
from edge_sdk.data.feature_store import features_folder

KINDS = ("weights", "features", "tuning", "kernels")


@pytest.mark.parametrize("chosen", [None, ""])
def test_each_kind_has_a_folder_in_the_users_cache(chosen, monkeypatch):
    """Where nothing is chosen, all lie side by side where the system keeps caches."""
    monkeypatch.delenv("EDGE_CACHE", raising=False)
    if chosen is not None:
        monkeypatch.setenv("EDGE_CACHE", chosen)

    folders = [cache_folder(kind) for kind in KINDS]

    users = Path(platformdirs.user_cache_dir("edge-sdk", appauthor=False))
    assert folders == [users / "weights", users / "features", users / "tuning", users / "kernels"]


def test_one_variable_moves_all_of_them(tmp_path, monkeypatch):
    """Weights lie in $EDGE_CACHE itself, the others in folders below it; nothing is made by asking."""
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "mine"))

    folders = [cache_folder(kind) for kind in KINDS]

    mine = tmp_path / "mine"
    assert folders == [mine, mine / "features", mine / "tuning", mine / "kernels"]
    assert (features_folder(), tuning_folder()) == (mine / "features", mine / "tuning")
    assert not mine.exists()
