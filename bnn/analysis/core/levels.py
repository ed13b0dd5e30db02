"""How many levels each kernel needs to keep its dot products, predicted by the gain before anything is quantized.

It is about the dot products of each layer. Do not use it to predict accuracy, or for layers whose residual gain is far
from 1: `cost` and `budget` are about the network.
"""

import math
from dataclasses import dataclass

import numpy as np

from bnn.console.tables import aligned
from bnn.geometry import r_of_levels
from bnn.geometry.gain import MOST_LEVELS, TOLERANCE

SCALE_BITS = 32  # one real scale per unit


@dataclass(frozen=True)
class Levels:
    """The number of levels that one kernel needs.

    Attributes:
        layer: str, name of the layer.
        weights: int, number of weights.
        units: int, number of units; each has one scale of `SCALE_BITS` bits.
        gain: float, mean gain of the units.
        levels: int, from 2 to `MOST_LEVELS`; None if more are needed, or the gain is not defined.
        trusted: whether angle and gain explain the measured r. If not, the signs themselves were trained, or the
            rounding error depends on the inputs, and `levels` is not valid.
    """

    layer: str
    weights: int
    units: int
    gain: float
    levels: int | None
    trusted: bool

    @property
    def defined(self):
        """Whether the kernel has a gain; not if it multiplies nothing, like an embedding, or constant inputs."""
        return not math.isnan(self.gain)

    @property
    def bits(self):
        """Bits per weight: log2 of the levels, or 32 (float32) if no number of levels is enough."""
        return 32.0 if self.levels is None else math.log2(self.levels)

    @property
    def size(self):
        """Float, number of bits of the kernel and its scales."""
        return self.weights * self.bits + (0 if self.levels is None else self.units * SCALE_BITS)


def needed(report, r):
    """Return the levels that each layer needs so that the mean correlation of its units is at least r.

    The prediction is for the Lloyd-Max quantizer, scaled by the standard deviation of each unit. Nothing is quantized:
    the gain of each unit gives its r (`geometry.two_number_r`).

    Args:
        report: Report, or any iterable of LayerReport.
        r: float in (0, 1).

    Returns:
        List of Levels.

    Raises:
        ValueError: r is not between 0 and 1.
    """
    if not 0 < r < 1:
        raise ValueError(f"r: expected a number between 0 and 1, received {r!r}")
    return [
        Levels(
            layer.name,
            layer.d * layer.units,
            layer.units,
            layer.gain,
            fewest(layer.gains.gain, r),
            bool(abs(layer.r_within - layer.r_two_numbers) <= TOLERANCE),
        )
        for layer in report
    ]


def fewest(gains, r):
    """Return the smallest number of levels for which units with these gains have a mean correlation of at least r.

    Args:
        gains: (units,) array of g > 0; units with NaN are left out.
        r: float in (0, 1).

    Returns:
        Int; None if `MOST_LEVELS` are not enough, or every gain is NaN.
    """
    defined = gains[~np.isnan(gains)]
    if not defined.size:
        return None
    return next((k for k in range(2, MOST_LEVELS + 1) if predicted_r(defined, k) >= r), None)


def predicted_r(gains, levels):
    """Predict the mean correlation of units with these gains for a number of levels."""
    return float(np.mean(r_of_levels(gains, levels)))


def text(rows, r):
    """Format the levels as a table, with the total size of all kernels.

    Args:
        rows: list of Levels.
        r: float, the correlation that they were computed for.
    """
    lines = [["layer", "weights", "gain", "levels", "bits"]]
    lines += [
        [
            row.layer,
            str(row.weights),
            *([f"{row.gain:.2f}", _shown(row), f"{row.bits:.2f}"] if row.defined else "---"),
        ]
        for row in rows
    ]
    found = [
        f"levels that keep r at {r:g}: Lloyd-Max, one scale per unit, predicted by the gain",
        aligned(lines),
    ]
    counted = [row for row in rows if row.defined]
    weights, bits = sum(row.weights for row in counted), sum(row.size for row in counted)
    if counted:
        which = "all kernels" if len(counted) == len(rows) else "the kernels that have a gain"
        found.append(
            f"{which}: {bits / weights:.2f} bits per weight, {bits / 8e6:.2f} MB "
            f"(float32: {weights * 4 / 1e6:.2f} MB)"
        )
    if not all(row.trusted for row in counted):
        found.append(
            "*: angle and gain do not explain the r of this layer: its signs were trained, or\n"
            "its rounding error depends on the inputs (residual and kappa in the wide table)"
        )
    return "\n".join(found)


def _shown(row):
    return ("more" if row.levels is None else str(row.levels)) + ("" if row.trusted else "*")
