"""Every statistic of a layer, in one table: metrics.json, all tables and the documentation are made from it.

A new statistic is one function of a `LayerReport` and one entry of `STATISTICS`. `layer_report.register` adds one of
your own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from bnn.console.tables import WIDTH, aligned, blocks, cell

DECIMALS = 3  # of numbers that are not statistics, such as the paper's values next to ours


@dataclass(frozen=True)
class Statistic:
    """One number of a layer, and how people read it.

    Attributes:
        key: its name in metrics.json, and as an attribute of `LayerReport`.
        heading: heading of its column in a terminal.
        title: heading of its column in notebooks and results/.
        decimals: number of decimals shown; files have the unrounded value.
        unit: "degrees", or "" for a number without a unit.
        importance: columns with larger values are dropped first if a table is too wide; 0 is only in the wide table.
        meaning: one sentence in Markdown.
        definition: where it is defined: a section or figure of the paper, or a page of docs/.
        compute: function from a LayerReport to a str, int or float, or None if it was not measured or does not apply.
        logged: whether the geometry log of a training has it, too. `compute` then also gets a
            `geometry_log.KernelLog`, which has `name`, `kernels`, `angles` and `gains`, and must return a float.
    """

    key: str
    heading: str
    title: str
    decimals: int
    unit: str
    importance: int
    meaning: str
    definition: str
    compute: Callable
    logged: bool = False


def defined_mean(values):
    """Return the mean without NaN; NaN if every value is NaN."""
    return mean_and_std(values)[0]


def median(values):
    """Return the median without NaN; NaN if every value is NaN."""
    defined = values[~np.isnan(values)]
    return float(np.median(defined)) if len(defined) else math.nan


def error_of(values, layer):
    """Return the mean over units of the absolute difference between predicted correlations and r; NaN as any mean."""
    return defined_mean(np.abs(values - layer.gains.r))


def _parts():
    """Return the entries of the table for the parts of the residual, two for each part."""
    parts = {
        "mean": "the mean of all its entries",
        "channels": "the means of its channels, minus that of all entries",
        "rest": "what its channels' means leave",
    }
    kinds = {
        "share": "share of the residual's energy in {}: mean over the units",
        "gain": "g of that part of the residual: {}",
    }
    definition = "[theory](theory.md#parts-of-the-residual-gain)"
    return [
        Statistic(
            f"residual_{part}_{kind}",
            f"{part}_{kind}",
            f"{kind} of the residual's {part}",
            3 if kind == "share" else 2,
            "",
            0,
            meaning.format(what),
            definition,
            lambda layer, kind=kind, place=place: _of_part(layer.residual_gains, kind, place),
        )
        for place, (part, what) in enumerate(parts.items())
        for kind, meaning in kinds.items()
    ]


def _of_part(gains, kind, place):
    """None for the gain of a part that the kernels of the layer cannot have, such as the rest of a dense kernel."""
    absent = np.all(gains.share[place] == 0)
    return None if absent and kind == "gain" else defined_mean(getattr(gains, kind)[place])


def least(values):
    """Return the minimum without NaN; NaN if every value is NaN."""
    defined = values[~np.isnan(values)]
    return float(defined.min()) if len(defined) else math.nan


def angle_mean_deg(layer):
    """NaN if no unit has an angle. A unit has none if its quantized or latent kernel is all zero."""
    return math.degrees(mean_and_std(layer.angles)[0])


def angle_std_deg(layer):
    """NaN in the same cases as `angle_mean_deg`."""
    return math.degrees(mean_and_std(layer.angles)[1])


def angle_theory_deg(layer):
    """NaN for a ternary kernel whose weights are all equal, and if the levels of the quantizer are unknown."""
    return math.degrees(layer.theory_angle())


def r_weights(layer):
    """NaN if one of the two dot products is constant, as for any correlation."""
    return layer.weights.r


def slope(layer):
    """NaN if a.w_b is constant."""
    return layer.weights.slope


def sign_flips(layer):
    """In [0, 1]."""
    return layer.weights.sign_flips


def r_permuted(layer):
    """NaN in the same cases as `r_weights`."""
    return layer.permuted.r


def r_rotated(layer):
    """NaN if every unit is constant, as for all means over units."""
    return defined_mean(np.where(layer.gains.constant, np.nan, layer.rotated_r))


def constant_units(layer):
    """From 0 to the number of units."""
    return int(np.count_nonzero(layer.gains.constant))


def r_activations(layer):
    """None if no quantizer of the layer's input is known."""
    return layer.activations.r if layer.activations.count else None


def latent_std(layer):
    """In the unit of the weights."""
    return float(layer.kernels.latent.std(dtype=np.float64))


def zeros(layer):
    """In [0, 1]."""
    return float(np.mean(layer.kernels.quantized == 0))


def mean_and_std(values):
    """Return (mean, standard deviation) without NaN; (NaN, NaN) if every value is NaN."""
    defined = values[~np.isnan(values)]
    return (float(defined.mean()), float(defined.std())) if len(defined) else (math.nan, math.nan)


STATISTICS = (
    Statistic("layer", "layer", "layer", 0, "", 1,
              "name of the layer; in a nested model the path to it", "", attrgetter("name")),
    Statistic("d", "d", "d", 0, "", 3,
              "fan-in of the kernel: the dimension that the geometry is about", "paper, section 2",
              lambda layer: len(layer.kernels.latent)),
    Statistic("units", "units", "units", 0, "", 8,
              "number of output units, each with a kernel of d weights", "",
              lambda layer: layer.kernels.latent.shape[1]),
    Statistic("angle_mean_deg", "angle", "angle", 1, "degrees", 2,
              "angle between w_b and w_c of each unit, both flattened to d: mean over the units",
              "paper, section 2, Fig 2b", angle_mean_deg),
    Statistic("angle_std_deg", "spread", "spread", 2, "degrees", 0,
              "standard deviation of that angle over the units", "paper, Fig 2c", angle_std_deg),
    Statistic("angle_theory_deg", "Gaussian", "Gaussian", 2, "degrees", 0,
              "the angle of Gaussian weights of the same number and spread; exact for the sign, the limit of "
              "large d for other quantizers", "paper, section 2, Fig 2a", angle_theory_deg),
    Statistic("gain", "gain", "gain", 2, "", 2,
              "g: variance of the inputs along w_c, relative to a random direction: mean over the units",
              "[theory](theory.md#angle-and-gain)", lambda layer: defined_mean(layer.gains.gain)),
    Statistic("gain_min", "least_gain", "least gain of a unit", 2, "", 0,
              "the smallest g of a unit", "[theory](theory.md#angle-and-gain)",
              lambda layer: least(layer.gains.gain)),
    Statistic("r_weights", "r", "r", 3, "", 2,
              "Pearson correlation of a·w_b with a·w_c, all units pooled", "paper, section 3, Fig 3", r_weights),
    Statistic("r_within", "r_within", "r within units", 3, "", 4,
              "the same correlation, computed for each unit: mean over the units", "[details](#details)",
              lambda layer: defined_mean(layer.gains.r)),
    Statistic("r_within_min", "least_r", "least r of a unit", 3, "", 0,
              "the smallest correlation of a unit", "[details](#details)", lambda layer: least(layer.gains.r)),
    Statistic("r_two_numbers", "r_two", "r from two numbers", 3, "", 5,
              "r within units predicted by angle and gain: 1 / sqrt(1 + tan²(angle) / g), mean over the units",
              "[theory](theory.md#angle-and-gain)", lambda layer: defined_mean(layer.gains.r_two_numbers)),
    Statistic("r_two_error", "two_error", "error of r from two numbers", 3, "", 0,
              "absolute difference between that prediction and r of a unit: mean over the units",
              "[theory](theory.md#angle-and-gain)", lambda layer: error_of(layer.gains.r_two_numbers, layer)),
    Statistic("r_three_numbers", "r_three", "r from three numbers", 3, "", 0,
              "r within units predicted by angle, gain and residual gain: 1 / sqrt(1 + tan²(angle) g_e / g), mean over "
              "the units", "[theory](theory.md#angle-and-gain)",
              lambda layer: defined_mean(layer.gains.r_three_numbers)),
    Statistic("r_three_error", "three_error", "error of r from three numbers", 3, "", 0,
              "absolute difference between that prediction and r of a unit: mean over the units",
              "[theory](theory.md#angle-and-gain)", lambda layer: error_of(layer.gains.r_three_numbers, layer)),
    Statistic("angle_inputs_deg", "angle_inputs", "angle in the metric of the inputs", 1, "degrees", 0,
              "angle between w_b and w_c of each unit in the metric of the inputs, arccos of r within the unit: mean "
              "over the units", "[theory](theory.md#the-angle-in-the-metric-of-the-inputs)",
              lambda layer: defined_mean(layer.gains.angle_inputs)),
    Statistic("residual_gain", "residual_gain", "residual gain", 2, "", 0,
              "g_e: g of the residual e, the part of w_b orthogonal to w_c; 1 if e is not aligned with the inputs",
              "[theory](theory.md#angle-and-gain)", lambda layer: defined_mean(layer.gains.residual_gain)),
    Statistic("kappa", "kappa", "kappa", 3, "", 0,
              "Cov(a·e, a·w_c) / (alpha Var(a·w_c)); 0 if the residual is not aligned with the inputs",
              "[theory](theory.md#angle-and-gain)", lambda layer: defined_mean(layer.gains.kappa)),
    Statistic("kappa_median", "kappa_median", "median of kappa", 3, "", 0,
              "kappa of the median unit; the mean is dominated by units whose a·w_c hardly varies",
              "[theory](theory.md#angle-and-gain)", lambda layer: median(layer.gains.kappa)),
    *_parts(),
    Statistic("r_rotated", "r_rotated", "r rotated", 3, "", 0,
              "r within units of the kernel that is quantized after one random rotation and rotated back",
              "paper, section 3, generalized binarization", r_rotated),
    Statistic("constant_units", "constant", "constant units", 0, "", 0,
              "number of units for which a·w_b or a·w_c does not vary; means over units leave them out", "",
              constant_units),
    Statistic("slope", "slope", "slope", 4, "", 0,
              "slope of the least-squares regression of a·w_c on a·w_b", "paper, Fig 3", slope),
    Statistic("sign_flips", "flips", "sign flips", 3, "", 0,
              "fraction of pairs a·w_b, a·w_c with opposite signs; zeros do not count", "paper, Fig 3", sign_flips),
    Statistic("r_permuted", "r_permuted", "r permuted", 3, "", 0,
              "r after each image's activations are permuted over positions and channels",
              "paper, section 3, Fig 4 right", r_permuted),
    Statistic("r_activations", "r_act", "r activations", 3, "", 6,
              "correlation of a_b·w_b with a_c·w_b, where a_b are the quantized activations and a_c the activations "
              "before the quantizer", "paper, section 3, Fig 5", r_activations),
    Statistic("r_scores", "r_scores", "r scores", 3, "", 7,
              "correlation of the network's scores with and without the layer's quantizer, over a random sample of "
              "the images", "[details](#details)", attrgetter("r_scores")),
    Statistic("cost", "cost", "cost", 4, "", 1,
              "predicted Kullback-Leibler divergence in nats per image, from the network's predictions to those with "
              "the layer's quantizer, or without its own: half the Fisher form of the change; shown where it was "
              "measured", "[details](#details)", attrgetter("cost")),
    Statistic("cost_error", "cost_error", "error of the cost", 4, "", 0,
              "standard error of the cost over the images", "[details](#details)", attrgetter("cost_error")),
    Statistic("latent_std", "sigma", "σ of the weights", 4, "", 0,
              "standard deviation of the latent weights", "paper, Fig 2d", latent_std),
    Statistic("zeros", "zeros", "zeros", 3, "", 0,
              "fraction of zeros in the quantized kernel; 0 for a binary one", "", zeros),
)  # fmt: skip


def logged():
    """Return the registered statistics that geometry logs have besides their own columns, a list of Statistic."""
    return [statistic for statistic in STATISTICS if statistic.logged]


def find(key):
    """Return the Statistic with this key, or None."""
    return next((statistic for statistic in STATISTICS if statistic.key == key), None)


def decimals(key):
    """Return the number of decimals shown in the column of a key."""
    known = find(key)
    return known.decimals if known else DECIMALS


def title(key):
    """Return the heading of a column on a page, with its unit; "paper" for values of the paper (`paper.beside`)."""
    known = find(key)
    if known is None:
        return "paper" if key.startswith("paper_") else key
    return f"{known.title} (°)" if known.unit == "degrees" else known.title


def cells(rows, keys):
    """Format rows of statistics as lists of strings.

    Args:
        rows: list of dicts, from `LayerReport.statistics` and `paper.beside`.
        keys: list of their keys.
    """
    return [[cell(row[key], decimals(key)) for key in keys] for row in rows]


def text_table(rows, wide=False):
    """Format rows of statistics as text, at most `WIDTH` columns wide: a heading line and one line per row.

    Args:
        rows: list of dicts, from `LayerReport.statistics`.
        wide: True for every column, in blocks with an empty line between, each with the names of the layers. Otherwise
            the least important columns are dropped.
    """
    if wide:
        return "\n\n".join(blocks(_cells_with_headings(rows, STATISTICS)))
    shown = _first(rows)
    while len(shown) > 1 and len(_text(rows, shown).partition("\n")[0]) > WIDTH:
        shown.remove(max(shown, key=attrgetter("importance")))
    return _text(rows, shown)


def _first(rows):
    """The statistics of the default table; the cost is one of them where it was measured."""
    measured = any(row.get("cost") is not None for row in rows)
    return [
        statistic
        for statistic in STATISTICS
        if statistic.importance and (measured or statistic.key != "cost")
    ]


def _text(rows, shown):
    return aligned(_cells_with_headings(rows, shown))


def _cells_with_headings(rows, shown):
    return [[statistic.heading for statistic in shown], *cells(rows, [statistic.key for statistic in shown])]


def first_keys(rows):
    """Return a list of the keys of the default table's columns for rows of statistics, in order."""
    return [statistic.key for statistic in _first(rows)]
