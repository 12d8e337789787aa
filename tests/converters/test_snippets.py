"""The code that is written for an exported file: run where it can run here, else parsed by the language's grammar."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tree_sitter
import tree_sitter_kotlin
import tree_sitter_swift
from PIL import ExifTags, Image
from tiny_models import tiny_model, write_photos

import edge_sdk as edge
from edge_sdk.converters.snippets.generate import LANGUAGES, write_snippets
from edge_sdk.data.images import as_rgb
from edge_sdk.errors import FormatError, UsageError
from edge_sdk.model import Model
from edge_sdk.nn import Network
from edge_sdk.preprocess import Preprocess

RULES = {
    "stretch": Preprocess((16, 16), mean=(120.0, 115.0, 100.0), std=(58.0, 57.0, 56.0)),
    "crop": Preprocess((16, 16), resize=19, interpolation="bicubic", mean=(127.0,) * 3, std=(128.0,) * 3),
}
KINDS = {
    "float": {},
    "int8": {"quantize": "int8"},
    "uint8 scores": {"quantize": "int8", "output_type": "uint8", "output": "probabilities"},
    "pixels": {"embed_preprocessing": True, "input_type": "uint8"},
}
needs_runtime = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="the code is written for ai-edge-litert"
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of three colours, a folder a class."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module", params=[(rule, kind) for rule in RULES for kind in KINDS], ids="-".join)
def app(request, photos, tmp_path_factory):
    """A folder of snippets, and a photo in it as PNG and PPM."""
    rule, kind = request.param
    folder = tmp_path_factory.mktemp("app")
    options = KINDS[kind]
    calibrate = photos if "quantize" in options else None
    model = tiny_model().replace(preprocess=RULES[rule])
    edge.export(model, folder / "net.tflite", calibrate=calibrate, check=photos, **options)
    write_snippets(folder / "net.tflite", folder / "app")
    image = Image.fromarray(skimage.data.chelsea()[20:231, 40:337])
    image.save(folder / "app" / "photo.png")
    image.save(folder / "app" / "photo.ppm")
    return folder / "app"


def compile_c(folder):
    """Compile classify.c there, every warning an error."""
    import ai_edge_litert

    library = Path(ai_edge_litert.__file__).parent
    flags = ["-Wall", "-Wextra", "-Werror", "-O2", f"-L{library}", "-lLiteRt", "-lm", f"-Wl,-rpath,{library}"]
    subprocess.run(["cc", "classify.c", *flags, "-o", "classify"], cwd=folder, check=True)


def ranking(text):
    """Label → probability of lines `probability label`."""
    return {label: float(probability) for probability, label in (line.split(" ", 1) for line in text.splitlines())}


def wanted(app):
    """What the SDK itself says of the photo in the same file."""
    from edge_sdk.converters.tflite.runtime import TFLiteModel

    return dict(TFLiteModel.open(app / "net.tflite").predict(app / "photo.png"))


@needs_runtime
def test_the_python_code_classifies_and_tests_itself(app):
    """The same probabilities as the SDK's; a file whose expected scores were changed ends with 1."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "classify.py", *arguments], cwd=app, capture_output=True, text=True, check=False
        )

    best, test = run("photo.png"), run("--self-test")

    assert ranking(best.stdout) == pytest.approx(wanted(app), abs=2e-6)
    assert (test.returncode, "differs by 0 at most" in test.stdout) == (0, True)
    outputs = (app / "self_test_output.bin").read_bytes()
    (app / "self_test_output.bin").write_bytes(bytes(byte ^ 64 for byte in outputs))
    assert run("--self-test").returncode == 1
    (app / "self_test_output.bin").write_bytes(outputs)


def odd_photos():
    """Photos that are not upright 8-bit RGB, and how they are saved."""
    photo = Image.fromarray(skimage.data.chelsea()[20:231, 40:337])
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    transparent = photo.convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(photo.size))
    deep = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    yield "turned.jpg", photo, {"exif": turned}
    yield "transparent.png", transparent, {}
    yield "deep.png", Image.fromarray(deep), {}
    yield "palette.png", photo.convert("P"), {}
    yield "cmyk.jpg", photo.convert("CMYK"), {}
    yield "grey.png", photo.convert("L"), {}


@needs_runtime
@pytest.mark.parametrize("channels", ["rgb", "grey"])
def test_the_python_code_sees_odd_photos_as_training_does(tmp_path, channels):
    """Turned by EXIF, half transparent, of 16 bits, with a palette, in four inks: the same pixels as the SDK's."""
    count = 1 if channels == "grey" else 3
    rule = Preprocess((16, 16), resize=19, channels=channels, mean=(0.0,) * count, std=(255.0,) * count)
    net = Network("net", rule.shape)
    graph, workspace = net.head(net.global_average_pool(net.conv(net.image, 4, 3, "conv")), 2)
    edge.export(Model(graph, workspace, rule, ("a", "b")), tmp_path / "net.tflite")
    write_snippets(tmp_path / "net.tflite", tmp_path, ("python",))
    spec = importlib.util.spec_from_file_location("classify", tmp_path / "classify.py")
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)

    for name, photo, options in odd_photos():
        photo.save(tmp_path / name, **options)

        np.testing.assert_array_equal(code.pixels_of(tmp_path / name), rule.crop(as_rgb(tmp_path / name)), name)


@needs_runtime
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_c_code_classifies_and_tests_itself(app):
    """Compiled without a warning and without Python; resampling in floating point may move a pixel by one."""
    compile_c(app)

    best, test = (
        subprocess.run(["./classify", argument], cwd=app, capture_output=True, text=True, check=False)
        for argument in ("photo.ppm", "--self-test")
    )

    assert ranking(best.stdout) == pytest.approx(wanted(app), abs=5e-3)
    assert (test.returncode, "differs by 0 at most" in test.stdout) == (0, True)


@needs_runtime
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_c_code_cuts_a_long_label_and_keeps_the_others(tmp_path):
    """A label of more bytes than there is room for does not push its rest into the next class."""
    edge.export(tiny_model().replace(labels=("long " * 100, "green", "red")), tmp_path / "net.tflite")
    write_snippets(tmp_path / "net.tflite", tmp_path, ("c",))
    Image.fromarray(skimage.data.chelsea()).save(tmp_path / "photo.ppm")
    compile_c(tmp_path)

    done = subprocess.run(["./classify", "photo.ppm"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert set(ranking(done.stdout)) == {("long " * 100)[:255], "green", "red"}


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_javascript_code_prepares_photos_and_ranks_scores(app):
    """Pixels within one of Pillow's, of which nearly all are equal, also where the photo is half transparent."""
    rgba = Image.open(app / "photo.png").convert("RGBA")
    rgba.putalpha(Image.linear_gradient("L").point(lambda depth: min(255, 2 * depth)).resize(rgba.size))
    (app / "photo.rgba").write_bytes(rgba.tobytes())
    script = (
        "import {readFileSync} from 'node:fs'; import {pixelsOf, inputOf, best} from './classify.mjs';"
        f"const p = pixelsOf(readFileSync('photo.rgba'), {rgba.width}, {rgba.height});"
        "const i = inputOf(p); console.log(JSON.stringify([[...p], [...i], best([3, 9, 5], ['a', 'b', 'c'], 2)]));"
    )
    (app / "check.mjs").write_text(script, encoding="utf-8")

    done = subprocess.run(["node", "check.mjs"], cwd=app, capture_output=True, text=True, check=True)

    from edge_sdk.converters.tflite.runtime import TFLiteModel

    file = TFLiteModel.open(app / "net.tflite")
    pixels, image, best = json.loads(done.stdout)
    expected = file.preprocess.crop(as_rgb(rgba))
    difference = np.abs(np.array(pixels).reshape(expected.shape) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.99
    raw = file.inputs[0].dtype == "uint8"
    normalised = np.array(pixels, np.uint8).reshape(expected.shape)
    normalised = normalised if raw else file.preprocess.normalise(normalised)
    np.testing.assert_allclose(np.array(image).reshape(expected.shape), normalised, rtol=1e-6, atol=1e-6)
    assert [label for label, _ in best] == ["b", "c"]


@pytest.mark.parametrize(
    ("language", "grammar"), [("kotlin", tree_sitter_kotlin.language()), ("swift", tree_sitter_swift.language())]
)
def test_the_code_for_phones_parses(app, language, grammar):
    """Neither compiler is at hand, so it is the grammar that says that there is no syntax error; nothing runs it."""
    parser = tree_sitter.Parser(tree_sitter.Language(grammar))

    for name in LANGUAGES[language]:
        source = (app / name).read_bytes()
        assert not parser.parse(source).root_node.has_error, name
        assert parser.parse(source.rstrip()[:-1]).root_node.has_error, "the grammar finds errors"
        assert "§".encode() not in source


def test_names_that_code_cannot_quote_are_refused(photos, tmp_path):
    """A quote in the file's name, a file without a self-test, an unknown language: each says what to do."""
    path = tmp_path / 'a".tflite'
    edge.export(tiny_model(), path, self_test=False)

    with pytest.raises(UsageError, match="rename it"):
        write_snippets(path, tmp_path / "app")
    with pytest.raises(UsageError, match="did you mean 'kotlin'"):
        write_snippets(path, tmp_path / "app", ("kotln",))
    with pytest.raises(FormatError, match="export it anew"):
        write_snippets(path.rename(tmp_path / "a.tflite"), tmp_path / "app")
    assert not (tmp_path / "app").exists()
