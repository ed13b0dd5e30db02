"""Small networks with batch norm as after training, and some weights equal to thresholds."""

import numpy as np
from keras import ops

from bnn import bits, models
from bnn.bits import Thresholds, convolution_kernel, dense_kernel
from bnn.layers import Whitening
from bnn.packed import PackedNetwork
from bnn.packed.floats import number_of
from bnn.packed.parts import Layer, Pixels, Scores

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


def thresholds(rng, units, largest, real=False):
    at = rng.normal(0, largest, units)
    at = number_of(at) if real else at.round().astype(int)
    constant = rng.choice([1 - 2**31, 2**31 - 1], units)
    return Thresholds(np.where(rng.random(units) < 0.05, constant, at), rng.random(units) < 0.6)


def random_network(rng, real, units=(13, 64, 21), dense=(11, 5)):
    """Convolutions of odd sizes, every kind of pooling, falling channels, and channels that are constant."""
    shape, channels, layers = (7, 6), 3, []
    for i, (own, pool) in enumerate(zip(units, ("none", "sums", "bits"), strict=True)):
        size = (4, 3)[i % 2], (2, 3)[i % 2]
        if real and i == 0:
            kernel = rng.normal(size=(*size, channels, own)).astype(np.float32)
        else:
            kernel = convolution_kernel(bits.pack(rng.choice([-1, 1], (*size, own, channels))))
        limits = thresholds(rng, own, (3 if real else 900) if i == 0 else 15, real and i == 0)
        layers.append(Layer(f"conv_{i}", kernel, limits, pool))
        shape, channels = shape if pool == "none" else (shape[0] // 2, shape[1] // 2), own
    axes = (*shape, channels)
    for i, own in enumerate(dense):
        kernel = dense_kernel(bits.pack(rng.choice([-1, 1], (own, *axes))))
        layers.append(Layer(f"dense_{i}", kernel, thresholds(rng, own, 9)))
        axes = (own,)
    factors = Scores(*rng.normal(size=(2, 4)).astype(np.float32))
    layers.append(Layer("scores", dense_kernel(bits.pack(rng.choice([-1, 1], (4, *axes)))), factors))
    pixels = Pixels(1 / 127.5, -1.0) if real else Pixels(2, -255)
    return PackedNetwork((7, 6, 3), pixels, layers, ("a", "b", "c", "d"))
