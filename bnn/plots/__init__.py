"""Every figure is one function: `bnn.plots.dot_products(report).savefig("fig3.png")`.

Each function takes the data that it shows (a report or arrays) and `axes`: Axes of the caller, or None for a new
figure. It returns the figure in the style of this package; as the last line of a cell, a notebook draws it. `save`
writes a figure, `show` displays it anywhere in a cell, and `save_all` draws and saves the figures of analyze.py. A
report is an `analysis.Report` or any iterable of layer reports.

Names are drawn as they are: nothing in them is mathematics, and an installed font is used where matplotlib's own lacks
their characters. A name that no installed font can show is drawn as its index, such as #3, and `key` says which it is.

The figures by their numbers in the paper (arXiv 1705.07199), and the figures that are not in the paper:

    Fig 2a       random_and_sign         angles of random vectors, and of a vector and its signs
    Fig 2b       angles                  angles of a network's kernels and their quantized versions
    Fig 2c       angle_spread            spread of these angles against the fan-in
    Fig 2c       sign_dimensions         mean and spread of the angle against the dimension, in theory
    Fig 2d       latent_weights          histograms of the latent weights
    Fig 3        dot_products            dot products with quantized kernels against latent kernels
    Fig 4 left   rotation                vectors of unequal scales and their signs, without and with a rotation
    Fig 4 right  permuted                Fig 3 with permuted activations in each image
    Fig 5        activations             dot products of quantized against batch-normed activations
    Figs 3 to 5  beside_paper            the correlations beside those of the paper
    section 3    patch_variance          variance of the principal components of a first layer's inputs
    section 3    leading_components      the components as pictures
    section 3    unbinarizing            accuracy after quantizers are removed
    appendix     sign_constants          two constants that are misprinted in the appendix
    ternary      ternary_angles          angle and zeros against the threshold
    ternary      quantizer_angles        angles of vectors quantized to several levels
    -            staircases              graphs of quantizers
    -            level_angles            angle and spread for more levels
    -            estimator               values and gradients of quantizers
    -            correlations            correlation of dot products in theory
    -            correlation_by_gain     correlation of dot products against gain and angle
    -            laws                    correlation of each unit against the law of angle and gains
    -            residual_parts          parts of the residual: their shares and their gains
    -            first_kernels           a first layer's kernels as pictures
    -            side_by_side            angle, gain and r of the layers of several runs
    -            by_setting              accuracies of the settings of a sweep
    -            errors                  images that a network classifies wrongly
    -            confusion_matrix        images of each class that are put into each class
    -            training                accuracy, loss and flip ratio over the epochs
    -            geometry_history        angle, gain and r over the epochs
"""

import os
import sys

from bnn.lazy_exports import face

_found, __dir__, __all__ = face(
    __name__,
    classification=["confusion_matrix", "errors"],
    comparison=["beside_paper", "unbinarizing"],
    gain=["correlation_by_gain"],
    first_layer=["first_kernels", "leading_components", "patch_variance"],
    history=["geometry_history", "training"],
    law=["laws", "residual_parts"],
    kernels=["angle_spread", "angles", "latent_weights"],
    names=["key"],
    overview=["save_all", "save_each"],
    primitives=["density", "legend_below", "points", "reference"],
    products=["activations", "dot_products", "permuted"],
    quantizers=["estimator", "level_angles", "quantizer_angles", "staircases", "ternary_angles"],
    runs=["by_setting", "side_by_side"],
    style=[
        "BLACK",
        "BLUE",
        "COLORS",
        "GRAY",
        "GREEN",
        "ORANGE",
        "PURPLE",
        "SHADE",
        "SKY",
        "YELLOW",
        "figure",
        "in_style",
        "save",
        "sequence",
        "show",
    ],
    theory=["correlations", "random_and_sign", "rotation", "sign_constants", "sign_dimensions"],
)


def __getattr__(name):
    if not name.startswith("__"):
        _load_matplotlib()
    return _found(name)


def _load_matplotlib():
    """Import matplotlib, without a backend that it does not know: figures are drawn without one."""
    try:
        import matplotlib  # noqa: F401
    except ValueError:
        os.environ.pop("MPLBACKEND", None)
        for half_loaded in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[half_loaded]


if "MPLBACKEND" in os.environ:
    _load_matplotlib()  # the modules of this package import it by themselves, too
