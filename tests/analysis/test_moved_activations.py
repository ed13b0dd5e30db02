"""Layers between an activation quantizer and the next kernel move the activations, and so the values before them."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from bnn.analysis import analyze
from bnn.layers import BatchNorm, QuantActivation, QuantConv2D, QuantDense, Sign

IMAGES = np.random.default_rng(0).normal(size=(30, 5, 6, 4)).astype(np.float32)
BETWEEN = {
    "channels first": lambda: [layers.Flatten("channels_first")],
    "channels last": lambda: [layers.Flatten("channels_last")],
    "permuted": lambda: [layers.Permute((3, 1, 2)), layers.Flatten()],
    "pooled": lambda: [layers.MaxPooling2D(), layers.Dropout(0.5), layers.Flatten()],
    "padded": lambda: [layers.ZeroPadding2D((1, 0)), layers.Identity()],
    "cropped": lambda: [layers.Cropping2D(1), layers.Reshape((4, 12))],
    "each step": lambda: [layers.Reshape((6, 20)), layers.TimeDistributed(layers.Reshape((4, 5)))],
}


@pytest.mark.parametrize("between", BETWEEN)
def test_r_activations_is_that_of_what_the_kernel_would_be_given(between):
    chain = [
        QuantConv2D(4, 3, Sign()),
        BatchNorm(),
        QuantActivation(Sign()),
        *BETWEEN[between](),
        QuantDense(3),
    ]
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), *chain])
    chain[1].moving_mean.assign([1.0, -2.0, 0.5, 0.0])
    without = values = chain[1](chain[0](IMAGES))
    values = chain[2](values)
    for layer in chain[3:]:
        without, values = layer(without), layer(values)
    expected = np.corrcoef(np.ravel(values), np.ravel(without))[0, 1]
    assert analyze(model, IMAGES)[-1].statistics()["r_activations"] == pytest.approx(expected, abs=1e-5)


def test_an_attention_does_not_move_activations():
    """Its outputs have the shape of its query, but are other values."""
    x = inputs = keras.Input((5, 4))
    x = QuantActivation(Sign())(x)
    x = layers.MultiHeadAttention(2, 2)(x, x)
    model = keras.Model(inputs, QuantDense(3, Sign(), name="last")(x))
    rows = IMAGES[:, :, 0]
    assert analyze(model, rows)["last"].statistics()["r_activations"] is None


def test_a_product_that_a_subclass_changes_is_not_analyzed():
    class Strided(QuantConv2D):
        def product(self, inputs, kernel):
            return ops.conv(inputs, kernel, 2)

        def compute_output_shape(self, input_shape):
            return (None, 2, 2, self.filters)

    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), Strided(3, 3, Sign(), name="strided")])
    model.add(layers.Flatten())
    model.add(QuantDense(2, name="dense"))
    found = analyze(model, IMAGES)
    assert [row.name for row in found] == ["dense"] and "a call of its own" in found.unanalyzed["strided"]
