"""Principal components of a known covariance, and vectors shown as pictures."""

import numpy as np
import pytest

from bnn.geometry import components


def test_components_of_a_known_covariance():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((20_000, 3)) * [1, 3, 2] + [5, -5, 0]
    fractions, vectors = components.principal_components(rows)
    assert fractions == pytest.approx(np.array([9, 4, 1]) / 14, abs=0.01)
    assert vectors == pytest.approx(np.eye(3)[[1, 2, 0]], abs=0.05)
    for rows in (np.ones((5, 3)), np.empty((0, 3)), np.ones((1, 3))):
        with pytest.raises(ValueError, match=f"expected at least 2 that vary, received {len(rows)}"):
            components.principal_components(rows)


def test_pictures_show_zero_as_gray_and_keep_the_order_of_pixels():
    pictures = components.as_images([[-2.0, 0, 1, 2], [0, 0, 0, 0]], (2, 2, 1))
    assert pictures[0, :, :, 0] == pytest.approx(np.array([[0, 0.5], [0.75, 1]]))
    assert (pictures[1] == 0.5).all()
    canvas = components.mosaic(pictures, 1)
    assert canvas.shape == (7, 4, 3)
    assert np.array_equal(canvas[1:3, 1:3], pictures[0])
    assert np.array_equal(canvas[0, 0], components.GROUND)
