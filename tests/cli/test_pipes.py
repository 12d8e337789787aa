"""`edge` in a pipe, in a terminal of few characters, with names of any characters."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from tiny_models import tiny_model

EDGE = (sys.executable, "-m", "edge_sdk.cli.main")
BRACKETS = ("[red]", "[/bold] 100 %", "smile 😀")


@pytest.fixture(scope="module")
def bracketed(tmp_path_factory):
    """A model whose labels look like markup and do not fit into ASCII."""
    path = tmp_path_factory.mktemp("models") / "labels [bold] é.edge"
    tiny_model().replace(labels=BRACKETS).save(path)
    return path


@pytest.mark.parametrize("arguments", [(), ("--dot",), ("--json",), ("--plan",)])
def test_a_reader_that_leaves_is_no_error(model, arguments):
    """As with `| head -1`: stdout is closed, nobody complains."""
    child = subprocess.Popen(
        [*EDGE, "inspect", model, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stderr is not None

    child.stdout.close()  # before the command has printed anything
    err = child.stderr.read()
    child.stderr.close()

    assert (child.wait(timeout=60), err) == (0, b"")


def test_the_first_line_arrives_at_a_reader_that_leaves_after_it(model):
    """What `head -1` passes on is the first line of the program."""
    child = subprocess.Popen([*EDGE, "inspect", model], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None

    first = child.stdout.readline()
    child.stdout.close()
    err = child.stderr.read()
    child.stderr.close()

    assert (child.wait(timeout=60), err) == (0, b"")
    assert first.startswith(b"graph tiny(")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("json_option", [(), ("--json",)])
def test_every_encoding_of_the_terminal_will_do(bracketed, photos, encoding, json_option):
    """Characters that do not fit are no error; tables keep their figures and JSON its labels."""
    photo = photos / "red" / "0.png"
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "COLUMNS": "100"}

    done = subprocess.run(
        [*EDGE, "predict", bracketed, photo, *json_option],
        check=False, capture_output=True, env=environment, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, b"")
    # Click takes ASCII for a terminal that was set up wrongly and writes UTF-8.
    text = done.stdout.decode("utf-8" if encoding == "ascii" else encoding)
    if json_option:
        assert sorted(entry["label"] for entry in json.loads(text)[str(photo)]) == sorted(BRACKETS)
    else:
        assert text.count(" %") == 4  # three scores, and a label


@pytest.mark.parametrize("name", ["inspect", "predict"])
def test_an_error_with_odd_characters_is_printed(photos, tmp_path, name):
    """A message goes to stderr even when the path in it does not fit into the terminal's characters."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}

    done = subprocess.run(
        [*EDGE, name, tmp_path / "é😀.edge", *([photos / "red" / "0.png"] if name == "predict" else [])],
        check=False, capture_output=True, env=environment, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"edge: ")
    assert b"Traceback" not in done.stderr


def test_brackets_in_labels_are_printed_literally(run, bracketed, photos):
    """A label is no markup, neither in a table nor in its title."""
    result = run("predict", bracketed, photos / "red" / "0.png")

    assert all(label in result.out for label in BRACKETS)


def test_brackets_in_the_names_of_files_are_printed_literally(run, model, photos, tmp_path):
    """A path is no markup either, and is not broken to the width of the terminal."""
    photo = tmp_path / ("long name " * 12 + "[red].png")
    photo.write_bytes((photos / "red" / "0.png").read_bytes())

    assert str(photo) in run("predict", model, photo).out.splitlines()


def test_a_terminal_of_few_columns_still_gets_the_figures(run, model, photos, monkeypatch):
    """The figures are not cut when the table is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", "30")

    assert "100.00 %" in run("eval", model, photos).out


def test_a_table_in_a_file_is_not_folded(run, photos, tmp_path, monkeypatch):
    """Where no terminal says how wide it is, a long label stands on one line, so that it can be searched for."""
    monkeypatch.delenv("COLUMNS", raising=False)
    long = "a label of more characters than the eighty that are taken for a terminal's width " * 2
    tiny_model().replace(labels=(long, "green", "red")).save(tmp_path / "long.edge")

    assert long.strip() in run("predict", tmp_path / "long.edge", photos / "red" / "0.png").out


def test_json_of_undefined_numbers_is_json(run, model, photos, tmp_path):
    """A network whose weights are no numbers any more has scores that JSON cannot say: they are null."""
    broken = tiny_model()
    broken.workspace["head.bias"] = np.full(3, np.nan, np.float32)
    broken.save(tmp_path / "broken.edge")

    def refuse(constant):
        raise AssertionError(constant)

    compared = run("compare", model, tmp_path / "broken.edge", photos, "--json").out
    predicted = run("predict", tmp_path / "broken.edge", photos / "red" / "0.png", "--json").out

    assert json.loads(compared, parse_constant=refuse)["largest_difference"] is None
    (ranking,) = json.loads(predicted, parse_constant=refuse).values()
    assert [entry["score"] for entry in ranking] == [None] * 3
