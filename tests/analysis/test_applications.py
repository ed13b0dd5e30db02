"""Networks that people bring: those of keras.applications, without weights, and a transformer of Keras's examples."""

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.applications.convnext import ConvNeXt
from keras.src.applications.resnet import ResNet, stack_residual_blocks_v1

from bnn.analysis import analyze

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(4, 32, 32, 3)).astype(np.float32)


def every_kernel_is_a_row(model, images):
    found = analyze(model, images, score_images=0)
    assert found.unanalyzed == {}
    kernels = [weight.path for weight in model.trainable_variables if len(weight.shape) > 1]
    assert len(found) == sum("bias" not in path for path in kernels)
    rows = [layer for layer in found if layer.product.linear is not None]
    assert np.isfinite([(row.r_weights, row.angle_mean_deg, row.gain, row.r_permuted) for row in rows]).all()
    assert all(row.weights.count for row in rows)
    return found


def narrow_resnet(**options):
    def blocks(x):
        return stack_residual_blocks_v1(stack_residual_blocks_v1(x, 4, 1, 1, "a"), 6, 2, name="b")

    return ResNet(blocks, False, True, weights_name="resnet50", **options)


def narrow_convnext(**options):
    return ConvNeXt((1, 1, 1, 1), (4, 6, 8, 10), **options)


def narrow_mobilenet(**options):
    whole = keras.applications.MobileNet(alpha=0.25, **options)
    return keras.Model(whole.input, whole.get_layer("conv_pw_3_relu").output)


@pytest.mark.parametrize("build", [narrow_resnet, narrow_convnext, narrow_mobilenet])
def test_narrow_applications(build):
    every_kernel_is_a_row(build(weights=None, input_shape=(32, 32, 3), classes=10), IMAGES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet50", "MobileNetV2", "MobileNetV3Small", "ConvNeXtTiny"])
def test_applications(name):
    build = getattr(keras.applications, name)
    every_kernel_is_a_row(build(weights=None, input_shape=(32, 32, 3), classes=10), IMAGES)


class Block(layers.Layer):
    """Of https://keras.io/examples/nlp/text_classification_with_transformer, as the next class."""

    def __init__(self, width, heads, hidden):
        super().__init__()
        self.att = layers.MultiHeadAttention(num_heads=heads, key_dim=width)
        self.ffn = keras.Sequential([layers.Dense(hidden, activation="relu"), layers.Dense(width)])
        self.layernorm1 = layers.LayerNormalization(epsilon=1e-6)
        self.layernorm2 = layers.LayerNormalization(epsilon=1e-6)
        self.dropout1, self.dropout2 = layers.Dropout(0.1), layers.Dropout(0.1)

    def call(self, inputs):
        out1 = self.layernorm1(inputs + self.dropout1(self.att(inputs, inputs)))
        return self.layernorm2(out1 + self.dropout2(self.ffn(out1)))


class TokenAndPosition(layers.Layer):
    def __init__(self, length, words, width):
        super().__init__()
        self.token_emb = layers.Embedding(words, width)
        self.pos_emb = layers.Embedding(length, width)

    def call(self, x):
        return self.token_emb(x) + self.pos_emb(keras.ops.arange(0, keras.ops.shape(x)[-1]))


def test_the_transformer_of_an_example():
    inputs = keras.Input((7,))
    x = Block(8, 2, 6)(TokenAndPosition(7, 20, 8)(inputs))
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling1D()(x))
    x = layers.Dense(5, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    found = every_kernel_is_a_row(model, RNG.integers(20, size=(10, 7)))
    assert len(found) == 2 + 4 + 2 + 2
