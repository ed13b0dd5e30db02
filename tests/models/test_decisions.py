"""Margins, errors and the confusion matrix from given scores."""

import numpy as np

from bnn.models import confusion_matrix, margins, worst_errors

SCORES = np.array([[3, 1, 2], [0, 5, 1], [1, 0.5, 0], [-1, -1, -4]], np.float32)
LABELS = np.array([0, 0, 2, 1], np.uint8)


def test_a_margin_is_between_the_two_highest_scores():
    np.testing.assert_array_equal(margins(SCORES), [1, 4, 0.5, 0])
    assert margins(SCORES[:, :1]).tolist() == [np.inf] * 4 and margins(SCORES[:0]).shape == (0,)


def test_the_worst_errors_come_first():
    assert worst_errors(SCORES, LABELS).tolist() == [1, 2, 3]
    assert worst_errors(SCORES, SCORES.argmax(axis=1)).size == 0


def test_the_confusion_matrix_counts_every_image_once():
    expected = [[1, 1, 0], [1, 0, 0], [1, 0, 0]]
    np.testing.assert_array_equal(confusion_matrix(SCORES, LABELS), expected)
    labels = np.full(300, 255, np.uint8)  # 255 * 300 exceeds uint8
    assert confusion_matrix(np.eye(300), labels)[255].sum() == 300
