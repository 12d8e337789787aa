"""A model takes photos of any kind and answers with ranked labels."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from PIL import Image
from tiny_models import LABELS, tiny_model

from edge_sdk.errors import EdgeError, ShapeError
from edge_sdk.model import probabilities, rank, softmax

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model():
    """Random weights will do."""
    return tiny_model()


def test_run_gives_logits_for_any_number_of_images(model):
    """One row an image, each as if it were alone."""
    x = RANDOM.standard_normal((5, 16, 16, 3)).astype(np.float32)

    all_at_once = model.run(x)

    assert (all_at_once.shape, all_at_once.dtype) == ((5, 3), np.float32)
    for index in range(5):
        np.testing.assert_allclose(model.run(x[index : index + 1])[0], all_at_once[index], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(16, 16, 3), (1, 15, 16, 3), (1, 16, 16, 1), (1, 3, 16, 16)])
def test_run_refuses_other_shapes(model, shape):
    """With the shape that was wanted and the one that was found."""
    with pytest.raises(ShapeError, match="16"):
        model.run(np.zeros(shape, np.float32))


def test_run_refuses_pixels(model):
    """Bytes of the right shape are photos that nobody has normalised: their logits would be nonsense."""
    pixels = np.zeros((1, *model.preprocess.shape), np.uint8)

    with pytest.raises(ShapeError, match=r"got uint8: pixels as they are, before preprocess\.normalise\(\)"):
        model.run(pixels)

    assert np.isfinite(model.run(model.preprocess.normalise(pixels))).all()


def test_models_can_be_told_apart(model):
    """A model equals itself alone, and can be the key of a cache; to compare weights there are digests."""
    again = model.replace()

    assert model == model
    assert model != again
    assert len({model, again, model}) == 2


def test_predict_takes_a_photo_in_any_form(model, tmp_path):
    """Path, text, PIL image, array: the same answer; a list of them: a list of answers."""
    pixels = RANDOM.integers(0, 256, (20, 24, 3), np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "photo.png")
    path = tmp_path / "photo.png"

    answers = [model.predict(photo) for photo in (path, str(path), image, pixels)]

    assert all(answer == answers[0] for answer in answers)
    assert model.predict([path, pixels]) == answers[:2]


def test_predictions_are_softmax_of_the_logits_best_first(model):
    """By SciPy; `top` cuts the list."""
    pixels = RANDOM.integers(0, 256, (16, 16, 3), np.uint8)
    logits = model.run(model.preprocess(pixels)[np.newaxis])[0]
    wanted = sorted(zip(LABELS, scipy.special.softmax(logits), strict=True), key=lambda pair: -pair[1])

    found = model.predict(pixels)

    assert [label for label, _ in found] == [label for label, _ in wanted]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in wanted], rtol=1e-5)
    assert model.predict(pixels, top=1) == found[:1]


def test_softmax_of_large_scores_is_finite():
    """Against SciPy's, which is too."""
    scores = np.array([[1000.0, 999.0, -1000.0]], np.float32)

    np.testing.assert_allclose(softmax(scores), scipy.special.softmax(scores, axis=1), rtol=1e-6)


def test_probabilities_are_left_as_they_are():
    """A file that ends in softmax gives probabilities; logits are turned into them."""
    given = np.array([0.25, 0.5, 0.25], np.float32)

    np.testing.assert_array_equal(probabilities(given), given)
    np.testing.assert_allclose(probabilities(np.array([0.0, 3.0])), scipy.special.softmax([0.0, 3.0]), rtol=1e-6)


def test_rank_breaks_ties_by_position():
    """So that it is the same everywhere."""
    assert rank(np.array([0.2, 0.4, 0.4]), ("a", "b", "c"), 2) == [("b", pytest.approx(0.4)), ("c", pytest.approx(0.4))]


@pytest.mark.parametrize("changes", [{"labels": ("a",)}, {"labels": ()}])
def test_labels_must_fit_the_outputs(model, changes):
    """A model that names three outputs has three."""
    with pytest.raises(EdgeError, match="label"):
        model.replace(**changes)


def test_a_notebook_shows_a_model_in_one_line(model):
    """Neither arrays nor a thousand labels."""
    assert repr(model) == "<Model tiny: 16×16×3 → 3 classes>"
    assert repr(model.workspace) == f"<Workspace: {len(model.workspace)} arrays>"
