"""How many levels each kernel needs to keep its dot products, foretold by the gain before anything is quantized."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from bnn.geometry import lloyd_max, quantizer_angle, two_number_r
from bnn.geometry.gain import MOST_LEVELS
from bnn.tables import aligned

TOLERANCE = 0.03  # of r: beyond it, angle and gain do not explain the layer's r
SCALE_BITS = 32  # one real scale per unit


@dataclass(frozen=True)
class Levels:
    """What one kernel needs.

    Attributes:
        layer: str.
        weights: int, the number of its weights.
        units: int, each with one scale of `SCALE_BITS` bits.
        gain: float, the mean gain of its units.
        levels: int, from 2 to `MOST_LEVELS`; None if more are needed, or the gain is not defined.
        trusted: whether angle and gain explain the r that was measured. If not, the signs themselves were trained, or
            the rounding error is not blind to the inputs, and `levels` does not hold.
    """

    layer: str
    weights: int
    units: int
    gain: float
    levels: int | None
    trusted: bool

    @property
    def bits(self):
        """Bits per weight, log2 of the levels; the 32 of float32 where no number of levels is enough."""
        return 32.0 if self.levels is None else math.log2(self.levels)

    @property
    def size(self):
        """Float, bits of the kernel and of its scales."""
        return self.weights * self.bits + (0 if self.levels is None else self.units * SCALE_BITS)


def needed(report, r):
    """The levels that each layer needs so that the mean correlation of its units is at least r.

    Kernels are thought of as quantized by the Lloyd-Max quantizer at each unit's own spread. Nothing is quantized:
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
            layer.name, layer.d * layer.units, layer.units, layer.gain, fewest(layer.gains.gain, r),
            bool(abs(layer.r_within - layer.r_two_numbers) <= TOLERANCE),
        )
        for layer in report
    ]  # fmt: skip


def fewest(gains, r):
    """The fewest levels with which units of these gains keep a mean correlation of r.

    Args:
        gains: (units,) array of g > 0; units of NaN are left out.
        r: float in (0, 1).

    Returns:
        Int; None if `MOST_LEVELS` are not enough, or every gain is NaN.
    """
    defined = gains[~np.isnan(gains)]
    if not defined.size:
        return None
    return next((k for k in range(2, MOST_LEVELS + 1) if foretold(defined, k) >= r), None)


def foretold(gains, levels):
    """The mean correlation of units of these gains with that many levels."""
    return float(np.mean(two_number_r(_angle(levels), gains)))


@cache
def _angle(levels):
    return quantizer_angle(*lloyd_max(levels)[:2])


def text(rows, r):
    """The levels as a table, with the size of all kernels together.

    Args:
        rows: list of Levels.
        r: float, what they were computed for.
    """
    lines = [["layer", "weights", "gain", "levels", "bits"]]
    lines += [
        [row.layer, str(row.weights), f"{row.gain:.2f}", _shown(row), f"{row.bits:.2f}"] for row in rows
    ]
    weights, bits = sum(row.weights for row in rows), sum(row.size for row in rows)
    found = [
        f"levels that keep r at {r:g}: Lloyd-Max, one scale per unit, foretold by the gain",
        aligned(lines),
        f"all kernels: {bits / weights:.2f} bits per weight, {bits / 8e6:.2f} MB (float32: {weights * 4 / 1e6:.2f} MB)",
    ]
    if not all(row.trusted for row in rows):
        found.append(
            "*: angle and gain do not explain this layer's r: its signs were trained, or its\n"
            "rounding error follows the inputs (residual and kappa in the wide table)"
        )
    return "\n".join(found)


def _shown(row):
    return ("more" if row.levels is None else str(row.levels)) + ("" if row.trusted else "*")
