"""What `pretrained` measures beyond a Report: intervals over images, costs, quantized copies, and their outputs."""

import numpy as np
from scipy.special import expit, log_expit
from scipy.stats import spearmanr

from bnn.geometry import Rotation, UnitMoments, angle, r_three_numbers, two_number_r

RESAMPLES = 400
INTERVAL = (2.5, 97.5)  # percentiles
MEASURED = ("gain", "residual_gain", "r", "r_two_numbers", "r_three_numbers")  # fields of geometry.Gains
BATCH = 8  # images whose outputs are computed at a time


# ---- intervals over images ----


class ImageMoments:
    """The moments of one kernel's products and inputs in each image, from which those of any images follow."""

    def __init__(self, product):
        """Start without data; `product` is a Product of one group."""
        self.product, self.kernels = product, product.columns
        self.counts, self.products, self.inputs = [], [], []

    def add(self, calls):
        """Add an image: the Calls of the kernel."""
        units = self.kernels.latent.shape[1]
        moments = UnitMoments(units)
        for call in calls:
            y = [self.product.multiply(call.inputs, k).reshape(-1, units) for k in self.product.kernels]
            moments.update(*y)
        taps = [np.concatenate(rows) for rows in zip(*map(self._taps, calls), strict=True)]
        self.counts.append(moments.count)
        self.products.append(np.concatenate([moments.mean, moments.covariance]))
        self.inputs.append(np.stack([np.concatenate([f(axis=0) for f in part]) for part in _pairs(taps)]))

    def _taps(self, call):
        return [np.asarray(rows, np.float64) for rows in self.product.linear.taps(call.inputs)]

    def of(self, weights):
        """The numbers of every unit over images.

        Args:
            weights: (m, images) array: m choices of images, with how often each is chosen.

        Returns:
            Dict from each of `MEASURED` to an (m, units) array.
        """
        weights = weights * np.array(self.counts)
        weights = weights / weights.sum(axis=1, keepdims=True)
        products, inputs = np.stack(self.products), np.stack(self.inputs)
        means = products[:, :2] - products[:, :2].mean(axis=0)
        mean = np.tensordot(weights, means, 1)
        bb, bc, cc = (
            np.tensordot(weights, products[:, k] + means[:, i] * means[:, j], 1) - mean[:, i] * mean[:, j]
            for k, i, j in ((2, 0, 0), (3, 0, 1), (4, 1, 1))
        )
        centers = inputs[:, 0] - inputs[:, 0].mean(axis=0)
        within = weights @ (inputs[:, 1] + centers**2) - (weights @ centers) ** 2
        variance = within.mean(axis=1, keepdims=True)
        b, c = (kernel.astype(np.float64) for kernel in self.kernels)
        norm2 = np.sum(c**2, axis=0)
        alpha, theta = np.sum(b * c, axis=0) / norm2, angle(b, c, axis=0)
        gain = cc / (norm2 * variance)
        residual = (bb - 2 * alpha * bc + alpha**2 * cc) / (np.sum((b - alpha * c) ** 2, axis=0) * variance)
        return {
            "gain": gain,
            "residual_gain": residual,
            "r": bc / np.sqrt(bb * cc),
            "r_two_numbers": two_number_r(theta, gain),
            "r_three_numbers": r_three_numbers(theta, gain, residual),
        }

    def intervals(self, rng):
        """Bootstrap the means over units: a dict from each of `MEASURED` to its (low, high) over resampled images."""
        n = len(self.counts)
        weights = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = self.of(weights[np.count_nonzero(weights, axis=1) > 1])
        return {
            key: tuple(map(float, np.nanpercentile(np.nanmean(values, axis=1), INTERVAL)))
            for key, values in found.items()
        }


def _pairs(taps):
    """The functions that give the means and the variances of the rows of each tap."""
    return [rows.mean for rows in taps], [rows.var for rows in taps]


def image_moments(model, products, images):
    """Run a model on each image; return a dict from the name of a product of one group to its ImageMoments."""
    from bnn.analysis.keras import capture

    found = {p.name: ImageMoments(p) for p in products if p.linear is not None and p.linear.groups == 1}
    kept = [p for p in products if p.name in found]
    for _, batch in capture.stream(model, kept, images, batch_size=1):
        for product, calls in zip(kept, batch, strict=True):
            found[product.name].add(calls)
    return found


# ---- what a kernel costs ----


def with_predictions(model):
    """A model with the same layers, whose outputs say what is predicted, so that their divergence is defined.

    A single output of a place is the logit of a class, so it gets one of 0 beside it. An embedding is many values.
    """
    import keras
    from keras import ops

    y = model.output
    single = y.shape[-1] == 1
    found = ops.concatenate([ops.zeros_like(y), y], axis=-1) if single else ops.expand_dims(y, -1)
    return keras.Model(model.input, found, name=model.name)


def predicted_costs(predictions, report, images, draws):
    """Predict the cost of the sign of each kernel, from several backward passes per image.

    Returns:
        Two dicts from the name of a layer: nats per image, and their standard error over the passes.
    """
    from bnn.analysis.core.cost import costs
    from bnn.analysis.keras.gradients import Gradients, change_of, source_of

    layers = [layer for layer in report if layer.product.linear is not None]
    variables = [source_of(layer.product) for layer in layers]
    repeated = np.concatenate([images] * draws)
    found = costs(
        Gradients(predictions, repeated, variables),
        [[change_of(layer)] for layer in layers],
        len(repeated),
        0,
    )
    names = [layer.name for layer in layers]
    return tuple(
        dict(zip(names, (float(v[0]) for v in part), strict=True)) for part in (found.values, found.errors)
    )


def measured_costs(model, report, images):
    """Measure the divergence after each kernel alone has become its sign, a dict from layer to nats per image."""
    from bnn.analysis.keras.gradients import change_of, restored
    from bnn.analysis.keras.products import float32

    before, found = outputs(model, images), {}
    for layer in report:
        if layer.product.linear is not None:
            variable = layer.product.variable
            with restored([variable]):
                variable.assign(float32(variable) + change_of(layer))
                found[layer.name] = divergence(before, outputs(model, images))
    return found


def outputs(model, images):
    """The outputs of a model for images, a float64 array."""
    parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    return np.concatenate([np.asarray(model(part, training=False), np.float64) for part in parts])


def divergence(before, after):
    """The mean over images of the divergence in nats from outputs to others.

    Of logits (n, ..., 1), the Kullback-Leibler divergence of the classes; of embeddings (n, width), half the squared
    error, which is 1 minus the cosine.
    """
    if before.ndim == 2:
        return float(np.mean(np.sum((before - after) ** 2, axis=1)) / 2)
    p = expit(before)
    at = p * (log_expit(before) - log_expit(after)) + (1 - p) * (log_expit(-before) - log_expit(-after))
    return float(at.reshape(len(at), -1).sum(axis=1).mean())


# ---- networks with quantized kernels ----


def quantized(model, names, function):
    """Copy a model and replace the kernels of some layers: `function` maps (d, units) columns to others."""
    from bnn.analysis.keras import kernels
    from bnn.models import altered_copy

    copy = altered_copy(model, lambda layer: {})
    for product in kernels.find(copy):
        if product.name in names:
            latent = product.kernels.latent
            columns = function(latent.reshape(len(latent), -1)).reshape(latent.shape)
            product.variable.assign(product.in_shape(columns, tuple(product.variable.shape)))
    return copy


def nearest(levels):
    """A function to 2 levels, the sign, or 3, with the best threshold for Gaussian weights; one scale per unit."""
    from bnn.analysis.core.assignment import with_levels

    return lambda columns: with_levels(columns[:, None], levels)[:, 0]


def rotated_sign(seed):
    """A function to R^T sign(R w) for a random rotation R, with the scale of each unit that fits w best."""

    def function(columns):
        rotation = Rotation(len(columns), np.random.default_rng(seed))
        return rotation.undo(nearest(2)(np.asarray(rotation.apply(columns), np.float32))).astype(np.float32)

    return function


def agreement(before, after):
    """Compare the outputs of two networks, (n, ..., 1) logits or (n, width) embeddings of length 1.

    Returns:
        Dict: "divergence" in nats per image, "r" of the outputs; of embeddings, their mean "cosine" and the rank
        correlation "similarities" of the cosines of all pairs; of logits, the fraction "same" with the same class.
    """
    found = {
        "divergence": divergence(before, after),
        "r": float(np.corrcoef(before.ravel(), after.ravel())[0, 1]),
    }
    if before.ndim == 2:
        pairs = np.triu_indices(len(before), 1)
        ranks = spearmanr((before @ before.T)[pairs], (after @ after.T)[pairs]).statistic
        return found | {
            "cosine": float(np.mean(np.sum(before * after, axis=1))),
            "similarities": float(ranks),
            "same": None,
        }
    return found | {
        "cosine": None,
        "similarities": None,
        "same": float(np.mean((before > 0) == (after > 0))),
    }
