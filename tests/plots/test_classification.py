"""Figures of wrong classifications, for any number of images and classes."""

import numpy as np
import pytest

from bnn import plots
from tests.plots.reading import drawn

NAMES = ("shirt", "a very long name of a class", "bag")


@pytest.mark.parametrize("shape", [(7, 9, 1), (6, 5, 3), (1, 100, 4)])
def test_errors_are_shown_as_pictures_with_both_classes_and_the_margin(shape, rng):
    images = rng.integers(0, 256, (23, *shape), dtype=np.uint8)
    labels = np.arange(len(images)) % 3
    panels = drawn(plots.errors(images, labels, (labels + 1) % 3, np.linspace(9, 0, len(images)), NAMES))
    assert len(panels) == 20
    assert (
        panels[0].get_title("center") == "true shirt,\npredicted a very long nam…"
        and panels[0].get_xlabel() == "margin 9.00"
    )
    expected = images[19] if shape[-1] == 3 else images[19].mean(axis=-1)
    np.testing.assert_array_equal(panels[19].images[0].get_array(), expected)


def test_one_error_fills_given_axes(ax):
    assert plots.errors(np.zeros((1, 2, 2, 1), np.uint8), [0], [1], [0.5], NAMES, ax) is ax.figure


def test_a_confusion_matrix_shows_counts_and_fractions(ax):
    """A class without images has no fractions."""
    plots.confusion_matrix(np.array([[1500, 0, 500], [0, 0, 0], [1, 0, 1]]), NAMES, ax)
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.75, 0, 0.25], [0, 0, 0], [0.5, 0, 0.5]])
    assert [text.get_text() for text in ax.texts] == ["1,500", "500", "1", "1"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["shirt", "a very long nam…", "bag"]


def test_many_classes_are_numbered(ax):
    plots.confusion_matrix(np.eye(1000, dtype=int), [str(i) for i in range(1000)], ax)
    assert not ax.texts and len(ax.get_yticks()) < 20
