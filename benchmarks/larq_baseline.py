"""Larq's training speed on the paper's CIFAR-10 network in images per second: `larq_baseline.py PRECISION BATCH STEPS`.

The layers, the loss and the optimizer are the same as ours, written for Larq. training_speed.py runs this program in
the environment of requirements-larq.txt.
"""

import os
import sys
import time

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import larq
import numpy as np
import tensorflow as tf

keras = tf.keras
QUANTIZED = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip", "use_bias": False}


def network():
    """Build the paper's network. Larq quantizes the inputs of a layer; our layers before it quantize their outputs."""
    layers = []
    for i, (filters, pool) in enumerate(zip((128, 128, 256, 256, 512, 512), (0, 1, 0, 1, 0, 1), strict=True)):
        quantizer = "ste_sign" if i else None
        layers.append(
            larq.layers.QuantConv2D(filters, 3, padding="same", input_quantizer=quantizer, **QUANTIZED)
        )
        layers += [keras.layers.MaxPooling2D()] * pool
        layers.append(keras.layers.BatchNormalization(momentum=0.999, scale=False))
    layers.append(keras.layers.Flatten())
    for units in (1024, 1024, 10):
        layers.append(larq.layers.QuantDense(units, input_quantizer="ste_sign", **QUANTIZED))
        layers.append(keras.layers.BatchNormalization(momentum=0.999, scale=False))
    layers.append(keras.layers.Activation("linear", dtype="float32"))
    return keras.Sequential([keras.Input((32, 32, 3)), *layers])


class Clock(keras.callbacks.Callback):
    """The time after each step."""

    def __init__(self):
        super().__init__()
        self.times = []

    def on_train_batch_end(self, batch, logs=None):
        """Record the time. The loss in `logs` is known, so the step is complete."""
        self.times.append(time.perf_counter())


def main(precision, batch, steps):
    """Train on random images and print the median speed without the first three steps."""
    keras.mixed_precision.set_global_policy({"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision])
    model = network()
    optimizer = keras.optimizers.Adam(1e-3, epsilon=1e-8, clipvalue=1.0)
    model.compile(optimizer, keras.losses.SquaredHinge(), metrics=["accuracy"])
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (batch * steps, 32, 32, 3)).astype(np.float32)
    targets = 2 * np.eye(10, dtype=np.float32)[rng.integers(10, size=batch * steps)] - 1
    clock = Clock()
    model.fit(images, targets, batch_size=batch, callbacks=[clock], verbose=0)
    print(batch / np.median(np.diff(clock.times)[2:]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
