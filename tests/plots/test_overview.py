"""The figures that analyze.py saves."""

import pytest

from bnn import plots

LOG = [{"epoch": 1, "accuracy": 0.5, "val_accuracy": 0.5, "loss": 1, "val_loss": 1, "flip_ratio": 0.1}]
OF_LAYERS = ["angles", "latent_weights", "dot_products", "permuted", "activations", "laws", "residual_parts"]


@pytest.mark.parametrize("network", [("binary", "dense")], indirect=True)
def test_every_figure_with_data_is_saved(network, tmp_path):
    names = [*OF_LAYERS, "training"]
    assert plots.save_all(network.report, tmp_path, LOG, geometry=[]) == names
    assert {path.name for path in tmp_path.iterdir()} == {f"{n}.{s}" for n in names for s in ("png", "pdf")}


def test_the_geometry_of_a_training_is_drawn_if_it_was_logged(network, tmp_path, monkeypatch):
    monkeypatch.setattr(plots.style, "save", lambda fig, path, formats: None)  # drawing is enough
    rows = [
        {"epoch": 0, "layer": layer.name, "angle_mean_deg": 30.0, "gain": 1.0, "r_weights": 0.8}
        for layer in network.report
    ]
    assert plots.save_all(network.report, tmp_path, None, rows) == [*OF_LAYERS, "geometry_history"]
