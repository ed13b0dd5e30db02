"""Figures of a training show the values of its log."""

import numpy as np
import pytest

from bnn import plots
from tests.plots.reading import curve, drawn
from tests.plots.test_kernels import altered


def test_training_shows_the_log():
    log = [
        {
            "epoch": e,
            "accuracy": 0.1 * e,
            "val_accuracy": 0.2,
            "loss": 1.0,
            "val_loss": 2.0,
            "flip_ratio": e - 1,
        }
        for e in (1, 2, 3)
    ]
    accuracy, loss, flips = drawn(plots.training(log))
    np.testing.assert_allclose(curve(accuracy, "training"), [[1, 2, 3], [0.1, 0.2, 0.3]])
    np.testing.assert_allclose(curve(loss, "validation")[1], 2)
    assert flips.lines[0].get_ydata()[0] > 0  # a flip ratio of 0 is drawn on the logarithmic axis


def test_geometry_history_has_a_line_for_every_layer(network):
    layers = list(network.report)
    rows = [
        {"epoch": e, "layer": layer.name, "angle_mean_deg": 30.0 + e, "r_weights": 0.9, "gain": e or None}
        for e in (0, 2)
        for layer in layers
    ]
    angle, gain, r = drawn(plots.geometry_history(rows, layers))
    assert all(curve(angle, layer.name)[1].tolist() == [30, 32] for layer in layers)
    for layer in layers:  # earlier runs logged no gain
        np.testing.assert_array_equal(np.array(curve(gain, layer.name)[1], float), [np.nan, 2])
    assert len(r.lines) == len(layers)
    theory = np.median([layer.angle_theory_deg for layer in layers])
    assert curve(angle, "Gaussian weights")[1][0] == pytest.approx(theory)


def test_the_gaussian_angle_is_that_of_the_layers_with_a_quantizer(network):
    layers = list(network.report)
    real = [altered(layers[0], quantizer=None, angle_theory_deg=0.0) for _ in range(3 * len(layers))]
    theory = np.median([layer.angle_theory_deg for layer in layers])
    angle, *_ = drawn(plots.geometry_history([], [*real, *layers]))
    assert curve(angle, "Gaussian weights")[1][0] == pytest.approx(theory)
    angle, *_ = drawn(plots.geometry_history([], real))
    assert "Gaussian weights" not in [line.get_label() for line in angle.lines]
