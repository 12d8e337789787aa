"""`edge eval` gives the figures of `edge.evaluate`, for both kinds of file."""

from __future__ import annotations

import pytest
from tiny_models import write_photos

import edge_sdk as edge


@pytest.fixture(params=["model", "tflite"])
def file(request):
    """The trained model as .edge and as .tflite."""
    return request.getfixturevalue(request.param)


def test_json_is_the_evaluation(run, file, photos):
    """The command prints what the function returns, with the two paths."""
    expected = edge.evaluate(file, photos)

    printed = run("eval", file, photos, "--json").json

    assert printed == {"model": str(file), "data": str(photos), **expected.to_dict()}
    assert printed["count"] == 36
    assert printed["top1"] > 0.9


def test_the_table_has_a_row_a_class_and_one_for_all(run, file, photos):
    """The figures of the table are those of the evaluation."""
    expected = edge.evaluate(file, photos)

    result = run("eval", file, photos)

    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.out.splitlines() if "│" in line]
    per_class = [[c.label, str(c.count), f"{100 * c.accuracy:.2f} %"] for c in expected.per_class]
    assert result.code == 0
    assert rows == [*per_class, ["all", "36", f"{100 * expected.top1:.2f} %"]]


def test_the_batch_size_changes_nothing(run, file, photos):
    """A batch that does not divide the photos, and one larger than all of them, give the same figures."""
    one, seven, many = (run("eval", file, photos, "--batch", size, "--json").json for size in (1, 7, 1000))

    assert one == seven == many


def test_the_validation_folder_is_measured_where_there_is_one(run, model, tmp_path):
    """Of a divided folder the photos of val/ count."""
    write_photos(tmp_path / "train", count=3)
    write_photos(tmp_path / "val", count=2)

    assert run("eval", model, tmp_path, "--json").json["count"] == 6


def test_a_class_may_be_absent(run, model, tmp_path):
    """Photos of two of the three classes are measured as the model's classes, not as two others."""
    data = write_photos(tmp_path / "photos", count=3)
    for photo in (data / "blue").iterdir():
        photo.unlink()
    (data / "blue").rmdir()

    printed = run("eval", model, data, "--json").json

    assert printed["per_class"]["blue"] == {"correct": 0, "count": 0}
    assert (printed["count"], printed["top1"]) == (6, 1.0)


def test_an_unreadable_photo_is_counted_and_named(run, model, tmp_path):
    """What cannot be read is said on stderr and in the JSON; the other photos are measured."""
    data = write_photos(tmp_path / "photos", count=4)
    (data / "green" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")

    table, printed = run("eval", model, data), run("eval", model, data, "--json").json

    assert table.code == 0
    assert "green/torn.jpg" in table.err
    assert (printed["count"], printed["unreadable"]) == (12, ["green/torn.jpg"])
