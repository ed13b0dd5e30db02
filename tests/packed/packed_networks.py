"""Small networks with batch norm as after training, and some weights equal to thresholds."""

import numpy as np
from keras import ops

from bnn import models
from bnn.layers import Whitening

SETTINGS = {
    "input_shape": (9, 7, 2),
    "conv": (5, 66),
    "max_pool": (1, 1),
    "fc": (33,),
    "classes": 4,
}


def network(rng, ties=True, **settings):
    """Return a built network and random images for it; for `ties` see `disturb`."""
    settings = SETTINGS | settings
    if not settings["conv"]:
        settings["max_pool"] = ()
    model = models.build(**settings)
    disturb(model, rng, settings.get("threshold", 0.0), ties)
    return model, rng.integers(0, 256, (6, *settings["input_shape"]), dtype=np.uint8)


def disturb(model, rng, threshold=0.0, ties=True):
    """Set some latent weights to 0 or to a threshold, and batch norm to plausible values.

    With `ties`, some sums can equal the thresholds of batch norm exactly.
    """
    for layer in model.layers:
        if hasattr(layer, "kernel_quantizer"):
            kernel = ops.convert_to_numpy(layer.kernel).copy()
            kernel[rng.random(kernel.shape) < 0.1] = 0
            kernel[rng.random(kernel.shape) < 0.1] = threshold
            kernel[rng.random(kernel.shape) < 0.1] = -threshold
            layer.kernel.assign(kernel)
        if isinstance(layer, Whitening):
            layer.matrix.assign(rng.normal(size=layer.matrix.shape))
        if hasattr(layer, "moving_mean"):
            units = layer.moving_mean.shape[0]
            mean = rng.normal(0, 3, units)
            exact = rng.random(units) < 0.5 * ties
            layer.moving_mean.assign(np.where(exact, np.round(mean), mean))
            layer.moving_variance.assign(np.where(rng.random(units) < 0.1, 0, rng.uniform(0.1, 60, units)))
            offset = layer.offset if hasattr(layer, "offset") else layer.beta
            offset.assign(np.where(exact, 0, rng.normal(0, 0.5, units)))
            if getattr(layer, "gamma", None) is not None:
                layer.gamma.assign(rng.choice([-1.5, -0.3, 0, 0.7, 2], units))
