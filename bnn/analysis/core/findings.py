"""What stands out in a network: one table of rules with their thresholds, and what to do about each.

A rule looks at one row of statistics. It does not hold where a statistic that it needs is missing or not defined.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from bnn.geometry.gain import TOLERANCE as EXCEPTION

LOW_R = 0.9
LOW_R_OF_A_UNIT = 0.5
LOW_SCORES = 0.9
LOW_GAIN = 1.5
LARGE_ANGLE = 5  # degrees above that of Gaussian weights
MANY_ZEROS = 0.8


@dataclass(frozen=True)
class Rule:
    """A reason why a layer stands out.

    Attributes:
        condition: str, when it holds, with its threshold.
        keys: tuple of the keys of the statistics that it needs.
        holds: function from their values to whether it holds.
        meaning: str, what it says about the layer, one sentence.
        advice: str, what to do about it, one or two sentences.
    """

    condition: str
    keys: tuple[str, ...]
    holds: Callable
    meaning: str
    advice: str


@dataclass(frozen=True)
class Finding:
    """A rule that holds for a layer.

    Attributes:
        layer: str, the name of the layer.
        rule: Rule.
        values: dict from the rule's keys to their values.
    """

    layer: str
    rule: Rule
    values: dict


RULES = (
    Rule(
        f"r scores below {LOW_SCORES}",
        ("r_scores",),
        lambda r: r < LOW_SCORES,
        "Its quantizer changes the scores of the network much.",
        "Of all layers, give the one with the smallest r scores more levels first, or keep it real: bnn train "
        "--first_layer real or --last_layer real, or an assignment with real for bnn binarize.",
    ),
    Rule(
        f"r within units below {LOW_R}",
        ("r_within",),
        lambda r: r < LOW_R,
        "Its dot products change much when the kernel is quantized.",
        "Look at r scores, which ranks layers by what they cost better than r. bnn analyze --target_r 0.95 says how "
        "many levels the layer needs.",
    ),
    Rule(
        f"r within units differs from the value of angle and gain by more than {EXCEPTION}",
        ("r_within", "r_two_numbers"),
        lambda r, predicted: abs(r - predicted) > EXCEPTION,
        "Angle and gain do not explain r: the rounding error is aligned with the inputs.",
        "Look at residual gain and kappa. The levels that --target_r prints are not valid for this layer. Fitted "
        "levels (--quantizer fitted) take the inputs into account.",
    ),
    Rule(
        f"least r of a unit below {LOW_R_OF_A_UNIT}, and r within units at least {LOW_R}",
        ("r_within_min", "r_within"),
        lambda least, mean: least < LOW_R_OF_A_UNIT and mean >= LOW_R,
        "Single units lose their dot products, though the mean is high.",
        "Find them in Python: report[LAYER].gains.r has one value per unit.",
    ),
    Rule(
        f"gain below {LOW_GAIN}, of a kernel that is quantized",
        ("gain", "angle_mean_deg"),
        lambda gain, angle: gain < LOW_GAIN and angle > 0,
        "The kernels are hardly aligned with their inputs, so r depends on the angle alone.",
        "Only a smaller angle helps: three levels, or more, in place of two. A first layer has few weights and can "
        "stay real (--first_layer real).",
    ),
    Rule(
        f"angle more than {LARGE_ANGLE}° above that of Gaussian weights",
        ("angle_mean_deg", "angle_theory_deg"),
        lambda angle, gaussian: angle - gaussian > LARGE_ANGLE,
        "A few large weights hold most of the length of each kernel.",
        "Limit the latent weights in training with a smaller --clip, or quantize to more levels.",
    ),
    Rule(
        f"more than {MANY_ZEROS:.0%} zeros".replace("%", " %"),
        ("zeros",),
        lambda zeros: zeros > MANY_ZEROS,
        "Most quantized weights are zero.",
        "Lower the threshold (--threshold), or take the best one for the spread of the weights "
        "(--estimator optimal_ternary).",
    ),
    Rule(
        "units whose products do not vary",
        ("constant_units",),
        lambda units: units > 0,
        "On these images, some units give the next layer a constant.",
        "Analyze more images. Units that stay constant can be removed.",
    ),
)


def find(rows):
    """Return what stands out in rows of statistics.

    Args:
        rows: list of dicts, from `Report.rows` or metrics.json; "layer" is the name.

    Returns:
        List of Finding, in the order of the rules, and of the rows for each rule.
    """
    return [
        Finding(row["layer"], rule, {key: row[key] for key in rule.keys})
        for rule in RULES
        for row in rows
        if _holds(rule, row)
    ]


def _holds(rule, row):
    values = [row.get(key) for key in rule.keys]
    return not any(value is None or math.isnan(value) for value in values) and rule.holds(*values)
