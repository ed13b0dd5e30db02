"""The figures that analyze.py draws for any network."""

import functools

import numpy as np

from bnn.console.arguments import expanded
from bnn.console.errors import UserError
from bnn.plots import history, kernels, law, products, style

DrawingError = UserError  # its name in earlier versions


def save_all(report, folder, log=None, geometry=None):
    """Draw the figures of a network and save each as PNG and PDF.

    Args:
        report: Report, or any iterable of layer reports.
        folder: Path.
        log: list of dicts, the rows of the run's log.csv, or None.
        geometry: list of dicts, the rows of the run's geometry.csv, or None.

    Returns:
        List of the names of the figures.

    Raises:
        UserError: figures could not be drawn or saved; the others are saved.
    """
    found = drawings(report, log, geometry)
    save_each(found, expanded(folder))
    return list(found)


def drawings(report, log=None, geometry=None):
    """Return the figures of a network, a dict from the name of each to a function that draws it.

    Args:
        report: Report, or any iterable of layer reports.
        log: list of dicts, the rows of the run's log.csv, or None.
        geometry: list of dicts, the rows of the run's geometry.csv, or None.
    """
    layers = list(report)
    found = {
        "angles": lambda: kernels.angles(layers),
        "latent_weights": lambda: kernels.latent_weights(layers),
    }
    for name, kind in (("dot_products", "weights"), ("permuted",) * 2, ("activations",) * 2):
        if any(kind in layer.histograms for layer in layers):
            found[name] = functools.partial(getattr(products, name), layers)
    if any(np.isfinite(layer.gains.r).any() for layer in layers):
        found |= {"laws": lambda: law.laws(layers), "residual_parts": lambda: law.residual_parts(layers)}
    if log is not None:
        found["training"] = lambda: history.training(log)
    if geometry:
        found["geometry_history"] = lambda: history.geometry_history(geometry, layers)
    return found


def save_each(drawings, folder, wrote=lambda paths: None):
    """Draw figures and save each as PNG and PDF, all that can be.

    Args:
        drawings: dict from the name of a figure to a function that draws it.
        folder: Path.
        wrote: function that is called with the paths of each figure.

    Raises:
        UserError: figures could not be drawn or saved; the others are saved.
    """
    failed = {}
    for name, draw in drawings.items():
        try:
            paths = style.save(draw(), folder / name, ("png", "pdf"))
        except Exception as error:
            failed[name] = error
        else:
            wrote(paths)
    if failed:
        first = next(iter(failed.values()))
        error = UserError(f"figures that could not be drawn: {', '.join(failed)} ({reason(first)})")
        error.__context__ = first  # which may be an interruption
        raise error


def reason(error):
    """The text of an error in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
