"""The latent kernels of layers, of this package and of others."""

import keras
import numpy as np
import pytest

from bnn.analysis.keras import ablation
from bnn.layers import LatentKernel, QuantConv2D, QuantDense, Sign, latent_kernels


@keras.saving.register_keras_serializable("test")
class TwoKernels(keras.layers.Layer):
    """A layer with two latent kernels: sign(V) sign(U) x."""

    def __init__(self, units, left_quantizer=None, right_quantizer=None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.left_quantizer, self.right_quantizer = units, left_quantizer, right_quantizer

    def build(self, shape):
        self.left = self.add_weight(shape=(shape[-1], self.units), name="left")
        self.right = self.add_weight(shape=(self.units, self.units), name="right")

    def latent_kernels(self):
        return (
            LatentKernel("left", self.left, self.left_quantizer),
            LatentKernel("right", self.right, self.right_quantizer),
        )

    def call(self, x):
        left, right = (kernel.quantized() for kernel in self.latent_kernels())
        return keras.ops.matmul(keras.ops.matmul(x, left), right)

    def get_config(self):
        quantizers = {"left_quantizer": self.left_quantizer, "right_quantizer": self.right_quantizer}
        return super().get_config() | {"units": self.units} | quantizers


@pytest.mark.parametrize("layer", [QuantDense(3, Sign()), QuantConv2D(3, 3, Sign())])
def test_quantized_layers_have_one(layer):
    layer.build((None, 8, 8, 4))
    (kernel,) = latent_kernels(layer)
    assert (kernel.name, kernel.setting, kernel.variable) == ("kernel", "kernel_quantizer", layer.kernel)
    assert np.array_equal(kernel.quantized(), np.where(np.array(layer.kernel) >= 0, 1, -1))


def test_real_kernels_multiply_as_they_are_and_keras_layers_have_none():
    layer = QuantDense(3)
    layer.build((None, 4))
    (kernel,) = latent_kernels(layer)
    assert kernel.quantizer is None
    assert np.array_equal(kernel.quantized(), layer.kernel)
    assert latent_kernels(keras.layers.Dense(3)) == ()


def test_a_layer_of_your_own_may_have_several():
    model = keras.Sequential([keras.Input((4,)), TwoKernels(3, Sign(), Sign(), name="two")])
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    left, right = (np.array(v) for v in model.get_layer("two").weights)
    sign = lambda w: np.where(w >= 0, 1, -1)  # noqa: E731
    assert np.allclose(model.predict(x, verbose=0), x @ sign(left) @ sign(right), atol=1e-5)
    assert ablation.quantized_layers(model) == (["two"], [])
    assert np.allclose(
        ablation.unbinarized(model, ["two"]).predict(x, verbose=0), x @ left @ right, atol=1e-5
    )
