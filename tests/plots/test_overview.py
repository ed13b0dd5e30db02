"""The figures that analyze.py saves."""

import pytest

from bnn import plots

LOG = [{"epoch": 1, "accuracy": 0.5, "val_accuracy": 0.5, "loss": 1, "val_loss": 1, "flip_ratio": 0.1}]


@pytest.mark.parametrize(
    ("network", "log", "names"),
    [
        (
            ("ternary", "color"),
            LOG,
            ["angles", "latent_weights", "dot_products", "permuted", "activations", "training"],
        ),
        (
            ("binary", "dense"),
            None,
            ["angles", "latent_weights", "dot_products", "permuted", "activations"],
        ),
    ],
    indirect=["network"],
    ids=["with a log", "without"],
)
def test_every_figure_with_data_is_saved(network, log, names, tmp_path):
    assert plots.save_all(network.report, tmp_path, log, geometry=[]) == names
    assert {path.name for path in tmp_path.iterdir()} == {f"{n}.{s}" for n in names for s in ("png", "pdf")}


def test_the_geometry_of_a_training_is_drawn_if_it_was_logged(network, tmp_path, monkeypatch):
    monkeypatch.setattr(plots.style, "save", lambda fig, path, formats: None)  # drawing is enough
    rows = [
        {"epoch": 0, "layer": layer.name, "angle_mean_deg": 30.0, "gain": 1.0, "r_weights": 0.8}
        for layer in network.report
    ]
    assert plots.save_all(network.report, tmp_path, None, rows)[-1] == "geometry_history"
