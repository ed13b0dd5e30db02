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
    assert plots.save_all(network.report, tmp_path, log) == names
    assert {path.name for path in tmp_path.iterdir()} == {f"{n}.{s}" for n in names for s in ("png", "pdf")}
