"""`edge verify` and `edge snippets` as a person calls them."""

from __future__ import annotations


def test_a_good_file_passes(run, tflite):
    """Exit code 0; the table says that the self-test was exact."""
    result = run("verify", tflite)
    printed = run("verify", tflite, "--json")

    assert (result.code, printed.code) == (0, 0)
    assert "passed" in result.out
    assert "exact" in " ".join(result.out.split())
    assert printed.json["passed"] is True
    assert printed.json["replay"]["verdict"] == "exact"


def test_a_damaged_file_fails_and_a_missing_one_is_a_mistake(run, refused, tflite, tmp_path):
    """Exit code 1 for the file, 2 for the caller."""
    data = bytearray(tflite.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged.tflite").write_bytes(data)

    result = run("verify", tmp_path / "damaged.tflite", "--json")

    assert (result.code, result.json["passed"]) == (1, False)
    assert "cannot be read" in refused("verify", tmp_path / "missing.tflite")


def test_snippets_are_written_for_the_languages_asked_for(run, tflite, tmp_path):
    """The file, its labels and its self-test lie beside the code."""
    result = run("snippets", tflite, "--out", tmp_path / "app", "--language", "kotlin", "--json")

    names = {path.name for path in (tmp_path / "app").iterdir()}
    shared = {"colours.tflite", "labels.txt", "self_test_input.bin", "self_test_output.bin"}
    assert names == shared | {"LiteRtClassifier.kt", "MediaPipeClassifier.kt"}
    assert len(result.json["written"]) == len(names)


def test_export_embeds_and_resizes(run, refused, model, photos, tmp_path):
    """--embed-preprocessing, --input-size and --output reach the file; a size that is none is refused."""
    out = tmp_path / "m.tflite"
    printed = run(
        "export", model, "--embed-preprocessing", "--input-size", "20x24", "--input-type", "uint8",
        "--output", "probabilities", "--check", photos, "--out", out, "--json",
    ).json  # fmt: skip

    assert (printed["input"], printed["scores"]) == ("uint8[-1, 20, 24, 3]", "probabilities")
    assert printed["embedded"] == "normalisation and resize"
    assert "20by24" in refused("export", model, "--embed-preprocessing", "--input-size", "20by24", "--out", out)
