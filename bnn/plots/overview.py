"""The figures that analyze.py draws for any network."""

from bnn.paths import expanded
from bnn.plots import history, kernels, products, style


def save_all(report, folder, log=None, geometry=None):
    """Draw the figures of a network and save each as PNG and PDF.

    Args:
        report: Report, or any iterable of layer reports.
        folder: Path.
        log: list of dicts, the rows of the run's log.csv, or None.
        geometry: list of dicts, the rows of the run's geometry.csv, or None.

    Returns:
        List of the names of the figures.
    """
    layers, folder = list(report), expanded(folder)
    drawn = {"angles": kernels.angles(layers), "latent_weights": kernels.latent_weights(layers)}
    for name, kind in (("dot_products", "weights"), ("permuted",) * 2, ("activations",) * 2):
        if any(kind in layer.histograms for layer in layers):
            drawn[name] = getattr(products, name)(layers)
    if log is not None:
        drawn["training"] = history.training(log)
    if geometry:
        drawn["geometry_history"] = history.geometry_history(geometry, layers)
    for name, fig in drawn.items():
        style.save(fig, folder / name, ("png", "pdf"))
    return list(drawn)
