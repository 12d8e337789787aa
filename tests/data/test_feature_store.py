"""The feature store keeps rows, and gives back none that was damaged, whatever happens to its file."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_sdk.data import feature_store
from edge_sdk.data.feature_store import FeatureStore, Layout, features_folder
from edge_sdk.errors import UsageError

KEY = hashlib.sha256(b"a network and its photos").hexdigest()
LAYOUT = Layout(rows=12, row_bytes=40, block=3)
ROWS = np.random.default_rng(0).integers(0, 256, (12, 40), np.uint8)
READABLE = np.array([index != 4 for index in range(12)])


def fill(store, blocks=range(4)):
    """Put these blocks of ROWS."""
    for block in blocks:
        part = slice(3 * block, 3 * block + 3)
        store.put(block, ROWS[part], READABLE[part])


def done(store):
    """The blocks that the store has."""
    return [block for block in range(store.layout.blocks) if store.done(block)]


def test_rows_are_there_again(tmp_path):
    """A store that is opened anew has the blocks that were put, byte by byte, and no others."""
    fill(FeatureStore(tmp_path, KEY, LAYOUT), (0, 1, 3))

    again = FeatureStore(tmp_path, KEY, LAYOUT)

    assert done(again) == [0, 1, 3]
    assert again.remark == ""
    np.testing.assert_array_equal(again.rows[[0, 3, 5, 9, 11]], ROWS[[0, 3, 5, 9, 11]])
    np.testing.assert_array_equal(again.readable[[0, 4, 9]], [True, False, True])


def test_blocks_that_another_process_has_written_are_found(tmp_path):
    """When the store looks again, not before; a block as it was put, and none that is torn."""
    mine, theirs = FeatureStore(tmp_path, KEY, LAYOUT), FeatureStore(tmp_path, KEY, LAYOUT)
    fill(mine, [2])
    fill(theirs, [0, 1])
    before = done(mine)

    mine.look_again()
    rows, readable = mine.block(1)

    assert (before, done(mine)) == ([2], [0, 1, 2])
    np.testing.assert_array_equal(rows, ROWS[3:6])
    assert readable.tolist() == [1, 0, 1]
    rows[...] = 0  # a copy
    np.testing.assert_array_equal(mine.rows[3:6], ROWS[3:6])


def test_another_key_has_another_file(tmp_path):
    """Other weights or photos find nothing of what was computed for these."""
    fill(FeatureStore(tmp_path, KEY, LAYOUT))

    other = FeatureStore(tmp_path, hashlib.sha256(b"others").hexdigest(), LAYOUT)

    assert done(other) == []
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_of_another_key_is_not_used(tmp_path):
    """Renaming a file does not make it the wanted one, and the store says that it starts anew."""
    other = hashlib.sha256(b"others").hexdigest()
    fill(FeatureStore(tmp_path, other, LAYOUT))
    (tmp_path / f"{other}.features").rename(tmp_path / f"{KEY}.features")

    store = FeatureStore(tmp_path, KEY, LAYOUT)

    assert done(store) == []
    assert "damaged" in store.remark


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a file with all blocks done."""
    folder = tmp_path_factory.mktemp("whole")
    fill(FeatureStore(folder, KEY, LAYOUT))
    return (folder / f"{KEY}.features").read_bytes()


@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_no_damaged_row_is_given_back(whole, tmp_path, data):
    """Whatever bytes change, are cut off or added: a block that counts as done has the rows that were put."""
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=60))
        damaged[place : place + len(piece)] = piece
    damaged = damaged[: data.draw(st.sampled_from([len(damaged)] * 3 + [0, 1, 191, 300, len(whole) - 1]))]
    (tmp_path / f"{KEY}.features").write_bytes(damaged)

    store = FeatureStore(tmp_path, KEY, LAYOUT)

    kept = done(store)
    for block in kept:
        np.testing.assert_array_equal(store.rows[3 * block : 3 * block + 3], ROWS[3 * block : 3 * block + 3])
        np.testing.assert_array_equal(store.readable[3 * block : 3 * block + 3], READABLE[3 * block : 3 * block + 3])
    assert kept == [0, 1, 2, 3] or bytes(damaged) != whole
    fill(store, set(range(4)) - set(kept))
    np.testing.assert_array_equal(FeatureStore(tmp_path, KEY, LAYOUT).rows, ROWS)


def test_a_block_in_the_place_of_another_is_found(whole, tmp_path):
    """Rows, flags and checksum of one block, copied over another's, are not that block."""
    moved = bytearray(whole)
    moved[192:200] = whole[200:208]
    flags, rows = 192 + 8 * 4, LAYOUT.table_bytes
    moved[flags : flags + 3] = whole[flags + 3 : flags + 6]
    moved[rows : rows + 120] = whole[rows + 120 : rows + 240]
    (tmp_path / f"{KEY}.features").write_bytes(moved)

    store = FeatureStore(tmp_path, KEY, LAYOUT)

    assert done(store) == [1, 2, 3]


def test_a_folder_that_cannot_be_made_is_replaced(tmp_path):
    """The rows are kept in a temporary file, and the remark says why."""
    (tmp_path / "file").write_text("no folder")

    store = FeatureStore(tmp_path / "file" / "features", KEY, LAYOUT)
    fill(store)

    np.testing.assert_array_equal(store.rows, ROWS)
    assert "cannot be used" in store.remark
    assert store.place == "a temporary file"


def test_a_directory_in_the_files_place_is_left_alone(tmp_path):
    """It is nobody's features; they are kept elsewhere."""
    (tmp_path / f"{KEY}.features").mkdir()

    store = FeatureStore(tmp_path, KEY, LAYOUT)
    fill(store)

    np.testing.assert_array_equal(store.rows, ROWS)
    assert (tmp_path / f"{KEY}.features").is_dir()


def test_a_disk_that_fills_up_loses_nothing(tmp_path):
    """Blocks that were written before move to memory with those that come after."""
    resource = pytest.importorskip("resource", reason="limits of a process are POSIX's")
    store = FeatureStore(tmp_path, KEY, LAYOUT)
    fill(store, (0, 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LAYOUT.table_bytes + 6 * 40, hard))
        fill(store, (2, 3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    np.testing.assert_array_equal(store.rows, ROWS)
    assert store.place == "memory"
    assert "cannot be written" in store.remark
    assert done(FeatureStore(tmp_path, KEY, LAYOUT)) == [0, 1]


def test_the_oldest_files_make_room(tmp_path, monkeypatch):
    """The folder stays below its limit; what was used last stays."""
    keys = [hashlib.sha256(bytes([index])).hexdigest() for index in range(4)]
    monkeypatch.setattr(feature_store, "KEPT_BYTES", 3 * LAYOUT.bytes)
    for age, key in enumerate(keys[:3]):
        FeatureStore(tmp_path, key, LAYOUT)
        os.utime(tmp_path / f"{key}.features", (age, age))
    FeatureStore(tmp_path, keys[0], LAYOUT)  # is used again

    FeatureStore(tmp_path, keys[3], LAYOUT)

    assert {path.stem for path in tmp_path.iterdir()} == {keys[0], keys[2], keys[3]}


CHILD = """
import sys, numpy as np
from pathlib import Path
from edge_sdk.data.feature_store import FeatureStore, Layout
rows = np.random.default_rng(1).integers(0, 256, (3000, 64), np.uint8)
for _ in range(3):
    store = FeatureStore(Path(sys.argv[1]), "ab" * 32, Layout(3000, 64, 3))
    for block in range(1000):
        if not store.done(block):
            store.put(block, rows[3 * block : 3 * block + 3], np.ones(3, bool))
    assert np.array_equal(store.rows, rows)
"""


def test_processes_that_fill_one_file_at_once_agree(tmp_path):
    """Each ends with all rows, and so does the file."""
    children = [subprocess.Popen([sys.executable, "-c", CHILD, tmp_path]) for _ in range(3)]

    codes = [child.wait() for child in children]

    rows = np.random.default_rng(1).integers(0, 256, (3000, 64), np.uint8)
    store = FeatureStore(tmp_path, "ab" * 32, Layout(3000, 64, 3))
    assert codes == [0, 0, 0]
    assert done(store) == list(range(1000))
    np.testing.assert_array_equal(store.rows, rows)


@pytest.mark.parametrize("sizes", [(0, 4, 1), (4, 0, 2), (4, 4, 0), (10, 4, 3)])
def test_a_layout_without_sense_is_refused(sizes):
    """Empty, or not a whole number of blocks."""
    with pytest.raises(UsageError, match="makes no sense"):
        Layout(*sizes)


def test_the_cache_folder_can_be_chosen(tmp_path, monkeypatch):
    """$EDGE_CACHE moves it."""
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))

    assert features_folder() == tmp_path / "features"
