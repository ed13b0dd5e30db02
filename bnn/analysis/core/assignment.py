"""Which number of levels each kernel gets, so that a network of a given size loses the least.

`core.cost` predicts what every kernel loses with every number of levels, all from the same backward passes. The losses
of several kernels are taken to add up, and the choice with the smallest sum is exact: an integer linear program. The
quantizer of a kernel is Lloyd-Max for Gaussian weights with one scale per unit: the root mean square of the unit's
weights sets the thresholds, and least squares the scale.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from bnn.analysis.core.checks import ReportError
from bnn.analysis.core.cost import are_values, costs, probabilities
from bnn.console.spelling import argument
from bnn.console.tables import aligned
from bnn.files.atomic import write_json
from bnn.geometry.estimators import MOST_LEVELS
from bnn.geometry.levels import lloyd_max, step_quantizer

LEVELS = (2, 3, 4, 8, 16)
REAL_BITS = 32


@dataclass(frozen=True)
class Choice:
    """The levels of one kernel.

    Attributes:
        layer: str, its name.
        weights: int, their number.
        levels: int; None: it stays real.
        cost: float, the predicted cost in nats per image.
        others: dict from each other number of levels to its predicted cost.
    """

    layer: str
    weights: int
    levels: int | None
    cost: float
    others: dict

    @property
    def bits(self):
        """Bits per weight: log2 of the levels; 32 for a real kernel."""
        return bits_of(self.levels)

    @property
    def reason(self):
        """What the next fewer and the next more levels would change, a str."""
        fewer = [k for k in self.others if bits_of(k) < self.bits]
        more = [k for k in self.others if bits_of(k) > self.bits]
        return "; ".join(self._instead(k) for k in (*fewer[-1:], *more[:1]))

    def _instead(self, levels):
        difference = self.others[levels] - self.cost
        effect = f"cost {difference:.5f} more" if difference >= 0 else f"save {-difference:.5f}"
        return f"{levels or 'real'} would {effect}"


@dataclass(frozen=True)
class Assignment:
    """The levels of all kernels of a network, and what they cost.

    Attributes:
        choices: tuple of Choice.
        budget: float, the allowed bits per weight.
        measured: float, the Kullback-Leibler divergence in nats per image from the predictions of the network to those
            with these levels; for a single output per image half the squared error.
    """

    choices: tuple
    budget: float
    measured: float

    @property
    def bits(self):
        """Mean bits per weight."""
        weights = [choice.weights for choice in self.choices]
        return float(np.average([choice.bits for choice in self.choices], weights=weights))

    @property
    def predicted(self):
        """The sum of the predicted costs, in nats per image."""
        return float(sum(choice.cost for choice in self.choices))

    def text(self):
        """Return a table with one line per kernel, and a line that compares prediction and measurement."""
        rows = [["layer", "weights", "levels", "bits", "cost", "reason"]]
        rows += [
            [c.layer, f"{c.weights:,}", str(c.levels or "real"), f"{c.bits:.2f}", f"{c.cost:.5f}", c.reason]
            for c in self.choices
        ]
        return (
            f"{aligned(rows)}\n\n{self.bits:.2f} bits per weight of at most {self.budget:g}; predicted "
            f"{self.predicted:.4f} nats per image, measured {self.measured:.4f}"
        )

    def levels(self):
        """Return a dict from the name of each layer to its levels, an int, or None for a real kernel."""
        return {choice.layer: choice.levels for choice in self.choices}

    def save(self, path):
        """Write `levels` as JSON."""
        write_json(path, self.levels())


def bits_of(levels):
    """Return the bits of a weight with so many levels; None: 32."""
    return REAL_BITS if levels is None else math.log2(levels)


def with_levels(kernel, levels):
    """Quantize a kernel to Gaussian Lloyd-Max levels, with one scale per unit.

    Args:
        kernel: (d, groups, units) float32 array.
        levels: int >= 2; None: the kernel itself.

    Returns:
        Float32 array of the same shape.
    """
    if levels is None:
        return kernel
    thresholds, values, _ = lloyd_max(levels)
    size = np.sqrt(np.mean(np.square(kernel, dtype=np.float64), axis=0))
    quantized = step_quantizer(thresholds, values)(kernel / np.where(size > 0, size, 1))
    energy = np.sum(quantized**2, axis=0)
    scale = np.sum(quantized * kernel, axis=0) / np.where(energy > 0, energy, 1)
    return (quantized * scale).astype(np.float32)


def assign(adapter, budget, n, seed, labels, progress):
    """Choose the levels of every kernel of a model that has no quantizer of its own.

    Args:
        adapter: `adapter.Adapter`.
        budget: float, bits per weight, from 1 to 32.
        n: int, the largest number of images.
        seed: int, the seed of the draws.
        labels: (images,) array of int, or None; see `cost.costs`.
        progress: function that shows progress.

    Returns:
        Assignment

    Raises:
        ReportError: the budget is out of range, no kernel can be assigned, or a cost is not finite.
    """
    if not 1 <= budget <= REAL_BITS:
        raise ReportError(
            f"{argument('budget')}: expected 1 to {REAL_BITS} bits per weight, received {budget:g}"
        )
    products = adapter.replaceable()
    if not products:
        raise ReportError(
            f"{adapter.name}: expected kernels without a quantizer of their own, received none; "
            f"{argument('budget')} is for networks in full precision"
        )
    options = (*LEVELS, None)
    changes = [_changes(product, options, adapter.shape(product)) for product in products]
    found = costs(adapter.gradients(products), changes, n, seed, labels, progress)
    if found.reason:
        raise ReportError(f"{adapter.name}: expected scores to compare, received none: {found.reason}")
    undefined = [
        p.name for p, costs in zip(products, found.values, strict=True) if not np.isfinite(costs).all()
    ]
    if undefined:
        raise ReportError(
            f"{adapter.name}: expected a finite cost of every kernel, received none of {', '.join(undefined)}, because "
            "the scores have no derivative by it at these images"
        )
    weights = np.array([product.kernels.latent.size for product in products])
    places = cheapest(weights, np.array(found.values), np.array([bits_of(k) for k in options]), budget)
    choices = tuple(
        _choice(product.name, int(size), dict(zip(options, map(float, costs), strict=True)), options[place])
        for product, size, costs, place in zip(products, weights, found.values, places, strict=True)
    )
    kernels = [with_levels(p.kernels.latent, c.levels) for p, c in zip(products, choices, strict=True)]
    return Assignment(choices, budget, _divergence(adapter, products, kernels, n, seed))


def _choice(name, weights, costs, levels):
    return Choice(name, weights, levels, costs.pop(levels), costs)


def apply(adapter, levels):
    """Quantize kernels of a model in place.

    Args:
        adapter: `adapter.Adapter`.
        levels: dict from the name of a layer to its number of levels, or None.

    Raises:
        ReportError: see `budget.apply_levels`.
    """
    products = {product.name: product for product in adapter.replaceable()}
    for name, number in levels.items():
        if name not in products:
            known = ", ".join(products) or "none"
            raise ReportError(f"{name}: expected a layer without a quantizer of its own, one of {known}")
        if number is not None and not (type(number) is int and 2 <= number <= MOST_LEVELS):
            raise ReportError(f"{name}: expected 2 to {MOST_LEVELS} levels or none, received {number!r}")
    chosen = [products[name] for name in levels]
    kernels = [with_levels(product.kernels.latent, levels[product.name]) for product in chosen]
    adapter.assign(chosen, kernels)


def _changes(product, options, shape):
    """What turns a kernel into that with each number of levels, arrays in the shape of its variable."""
    latent = product.kernels.latent
    return [np.ascontiguousarray(product.in_shape(with_levels(latent, k) - latent, shape)) for k in options]


def cheapest(weights, costs, bits, budget):
    """Choose one option per kernel with the smallest sum of costs within the budget, exactly.

    Args:
        weights: (kernels,) array, the number of weights of each.
        costs: (kernels, options) array.
        bits: (options,) array, bits per weight.
        budget: float, the largest mean of bits per weight, at least the smallest of `bits`.

    Returns:
        (kernels,) int array, the place of each kernel's option.
    """
    kernels, options = costs.shape
    one_each = LinearConstraint(np.kron(np.eye(kernels), np.ones(options)), 1, 1)
    share = np.outer(weights / weights.sum(), bits).ravel()
    small = LinearConstraint(share, -np.inf, budget + 1e-9)
    scale = costs.max() or 1.0
    result = milp(costs.ravel() / scale, integrality=1, bounds=Bounds(0, 1), constraints=[one_each, small])
    return result.x.reshape(costs.shape).argmax(axis=1)


def _divergence(adapter, products, kernels, n, seed):
    """The mean divergence from a model's predictions to those with other kernels, over drawn images."""
    source = adapter.gradients(products)
    chosen, paths = source.drawn(n, seed)
    before = _scores(source, chosen, paths)
    with adapter.restored(products):
        adapter.assign(products, kernels)
        after = _scores(source, chosen, paths)
    return sum(
        float(np.mean([divergence(*pair) for pair in zip(before[path], after[path], strict=True)]))
        for path in paths
    )


def _scores(source, chosen, paths):
    """A dict from the path of each output to a list with the scores of each image."""
    found = [source.scores(image, paths) for image in chosen]
    return {path: [scores[place] for scores in found] for place, path in enumerate(paths)}


def divergence(before, after):
    """Sum over rows the divergence of two arrays of scores in nats; of single values, half the squared error."""
    if are_values(before):
        return np.sum((before - after).astype(np.float64) ** 2) / 2
    p, q = probabilities(before), probabilities(after)
    return np.sum(p * (np.log(p) - np.log(q)))
