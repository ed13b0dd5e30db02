"""What analyze.py saves of a network."""

from bnn import plots

LOG = [{"epoch": 1, "accuracy": 0.5, "val_accuracy": 0.5, "loss": 1, "val_loss": 1, "flip_ratio": 0.1}]


def test_every_figure_that_there_is_data_for_is_saved(network, tmp_path):
    names = ["angles", "latent_weights", "dot_products", "permuted"]
    names += ["activations"] if any("activations" in layer.histograms for layer in network.report) else []
    assert plots.save_all(network.report, tmp_path) == names
    assert {path.name for path in tmp_path.iterdir()} == {f"{n}.{s}" for n in names for s in ("png", "pdf")}
    assert plots.save_all(network.report, tmp_path, LOG) == [*names, "training"]
