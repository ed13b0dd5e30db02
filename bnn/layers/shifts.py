"""Learned shifts of activations, as in ReActNet [1]_: before the quantizer, and around a PReLU.

References:
    .. [1] Liu, Shen, Savvides & Cheng, "ReActNet: Towards Precise Binary Neural Network with Generalized Activation
       Functions", 2020, arXiv:2003.03488.
"""

import keras
from keras import ops

from bnn.layers.quantized import QuantActivation


def _per_channel(layer, name, input_shape, initializer="zeros"):
    """A float32 weight per channel. bfloat16 would round a shift, and so move values across it."""
    return layer.add_weight(
        name=name, shape=(input_shape[-1],), initializer=initializer, dtype="float32", autocast=False
    )


@keras.saving.register_keras_serializable("bnn")
class RSign(QuantActivation):
    """Quantize activations after a learned shift: q(x - shift), with a shift per channel that starts at 0.

    The input and the output are (..., channels). The gradient of the quantizer is that of q at x - shift.

    Args:
        quantizer: as for `QuantActivation`; None means hard tanh.

    Raises:
        ValueError: there is no quantizer of this name, or the argument is neither a name nor callable.
    """

    def __init__(self, quantizer="sign", **kwargs):
        super().__init__(quantizer, **kwargs)

    def build(self, input_shape):
        """Create the shift."""
        self.shift = _per_channel(self, "shift", input_shape)

    def before(self, inputs):
        """Return the float32 values that are quantized."""
        return ops.cast(inputs, "float32") - self.shift

    def call(self, inputs, training=False):
        """Return the quantized activations."""
        shifted = self.before(inputs)
        if self.quantizer is None:
            return ops.cast(ops.clip(shifted, -1, 1), self.compute_dtype)
        return self._apply(self.quantizer, shifted, self.compute_dtype, training)


@keras.saving.register_keras_serializable("bnn")
class RPReLU(keras.layers.Layer):
    """PReLU between two learned shifts: y + offset where y = x - shift is positive, else slope y + offset.

    Shift, slope and offset are weights per channel, which start at 0, 0.25 and 0. The input and the output are
    (..., channels).
    """

    def build(self, input_shape):
        """Create the weights."""
        self.shift = _per_channel(self, "shift", input_shape)
        self.slope = _per_channel(self, "slope", input_shape, keras.initializers.Constant(0.25))
        self.offset = _per_channel(self, "offset", input_shape)

    def call(self, inputs):
        """Return the shifted activations."""
        shifted = ops.cast(inputs, "float32") - self.shift
        shifted = ops.where(shifted > 0, shifted, self.slope * shifted)
        return ops.cast(shifted + self.offset, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Return the input's shape."""
        return input_shape
