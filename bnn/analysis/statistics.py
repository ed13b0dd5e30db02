"""Every statistic of a layer, in one table: metrics.json, all tables and the documentation are made from it.

A new statistic is one function of a `LayerReport` and one entry of `STATISTICS`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from bnn.geometry import CorrelationStatistics
from bnn.tables import aligned, cell

DECIMALS = 3  # of what is no statistic, such as the paper's values beside ours


@dataclass(frozen=True)
class Statistic:
    """One number of a layer, and how people read it.

    Attributes:
        key: its name in metrics.json, and as an attribute of `LayerReport`.
        heading: of its column in a terminal.
        title: of its column on a page: notebooks, results/.
        decimals: shown; files hold it unrounded.
        unit: "degrees", or "" where it has none.
        meaning: one sentence for people, Markdown.
        definition: where it is defined: the paper's section or figure, or a section of docs/.
        compute: function from a LayerReport to a str, int or float, or None where it was not measured.
    """

    key: str
    heading: str
    title: str
    decimals: int
    unit: str
    meaning: str
    definition: str
    compute: Callable


def angle_mean_deg(layer):
    """NaN where every unit's quantized or latent kernel is zero; a unit of which one is zero has no angle."""
    return math.degrees(mean_and_std(layer.angles)[0])


def angle_std_deg(layer):
    """NaN as `angle_mean_deg`."""
    return math.degrees(mean_and_std(layer.angles)[1])


def angle_theory_deg(layer):
    """NaN for a ternary kernel whose weights are all alike, and where the quantizer's levels are not known."""
    return math.degrees(layer.theory_angle())


def angle_rotated_deg(layer):
    """NaN as `angle_mean_deg`."""
    return math.degrees(mean_and_std(layer.rotated_angles)[0])


def r_weights(layer):
    """NaN where one of the two dot products is constant, as every correlation."""
    return layer.weights.r


def slope(layer):
    """NaN where a.w_b is constant."""
    return layer.weights.slope


def sign_flips(layer):
    """In [0, 1]."""
    return layer.weights.sign_flips


def r_permuted(layer):
    """NaN as `r_weights`."""
    return layer.permuted.r


def r_predicted(layer):
    """`geometry.predicted_correlation` of the patches' moments; NaN as `r_weights`.

    Without their (d, d) matrix: the covariance w_b^T S w_c is that of the patches' own products.
    """
    products = (layer.grouped_patches @ kernel.transpose(1, 0, 2) for kernel in layer.product.kernels)
    return CorrelationStatistics().update(*products).r


def r_activations(layer):
    """None where nothing is known to quantize the layer's input."""
    return layer.activations.r if layer.activations.count else None


def latent_std(layer):
    """In the unit of the weights."""
    return float(layer.kernels.latent.std(dtype=np.float64))


def zeros(layer):
    """In [0, 1]."""
    return float(np.mean(layer.kernels.quantized == 0))


def mean_and_std(values):
    """Of those that are defined; NaN if none is."""
    defined = values[~np.isnan(values)]
    return (float(defined.mean()), float(defined.std())) if len(defined) else (math.nan, math.nan)


STATISTICS = (
    Statistic("layer", "layer", "layer", 0, "",
              "name of the layer; in a nested model the path to it", "", attrgetter("name")),
    Statistic("d", "d", "d", 0, "",
              "fan-in of the kernel: the dimension that the geometry is about", "paper, section 2",
              lambda layer: len(layer.kernels.latent)),
    Statistic("units", "units", "units", 0, "",
              "number of output units, each with a kernel of d weights", "",
              lambda layer: layer.kernels.latent.shape[1]),
    Statistic("angle_mean_deg", "angle", "angle", 2, "degrees",
              "angle between w_b and w_c of each unit, both flattened to d: mean over the units",
              "paper, section 2, Fig 2b", angle_mean_deg),
    Statistic("angle_std_deg", "+-", "spread", 2, "degrees",
              "standard deviation of that angle over the units", "paper, Fig 2c", angle_std_deg),
    Statistic("angle_theory_deg", "theory", "Gaussian", 2, "degrees",
              "the angle of Gaussian weights of the same number and spread; exact for the sign, the limit of "
              "large d for other quantizers", "paper, section 2, Fig 2a", angle_theory_deg),
    Statistic("angle_rotated_deg", "rotated", "rotated", 2, "degrees",
              "the angle after one random rotation of the kernels, over at most 64 units",
              "paper, section 3, generalized binarization", angle_rotated_deg),
    Statistic("r_weights", "r", "r", 3, "",
              "Pearson correlation of a·w_b with a·w_c", "paper, section 3, Fig 3", r_weights),
    Statistic("slope", "slope", "slope", 4, "",
              "slope of the regression of a·w_c on a·w_b by least squares", "paper, Fig 3", slope),
    Statistic("sign_flips", "flips", "flips", 3, "",
              "fraction of pairs a·w_b, a·w_c of opposite signs; a zero is no flip", "paper, Fig 3", sign_flips),
    Statistic("r_permuted", "permuted", "permuted", 3, "",
              "r after each image's activations are permuted over positions and channels",
              "paper, section 3, Fig 4 right", r_permuted),
    Statistic("r_predicted", "predicted", "predicted", 3, "",
              "r computed from the second moments of 2,000 input patches and the kernels",
              "paper, section 3", r_predicted),
    Statistic("r_activations", "r_act", "activations", 3, "",
              "correlation of a_b·w_b with a_c·w_b, where a_b are the quantized activations and a_c the ones before "
              "their quantizer", "paper, section 3, Fig 5", r_activations),
    Statistic("r_scores", "r_scores", "scores", 3, "",
              "correlation of the network's scores with and without the layer's quantizer, over a random sample of "
              "the images", "[details](#details)", attrgetter("r_scores")),
    Statistic("latent_std", "sigma", "σ of the weights", 4, "",
              "standard deviation of the latent weights", "paper, Fig 2d", latent_std),
    Statistic("zeros", "zeros", "zeros", 3, "",
              "fraction of zeros in the quantized kernel; 0 for a binary one", "", zeros),
)  # fmt: skip


def find(key):
    """The Statistic of a key, or None."""
    return next((statistic for statistic in STATISTICS if statistic.key == key), None)


def decimals(key):
    """How many are shown of a column of that key."""
    known = find(key)
    return known.decimals if known else DECIMALS


def title(key):
    """The heading of a column on a page, with its unit; "paper" above the paper's values, `paper.beside`'s."""
    known = find(key)
    if known is None:
        return "paper" if key.startswith("paper_") else key
    return f"{known.title} (°)" if known.unit == "degrees" else known.title


def cells(rows, keys):
    """Rows of statistics as lists of texts.

    Args:
        rows: list of dicts, as `LayerReport.statistics` and `paper.beside` give them.
        keys: list of their keys.
    """
    return [[cell(row[key], decimals(key)) for key in keys] for row in rows]


def text_table(rows):
    """Rows of statistics as text, one line each, under their headings."""
    keys = [statistic.key for statistic in STATISTICS]
    return aligned([[statistic.heading for statistic in STATISTICS], *cells(rows, keys)])
