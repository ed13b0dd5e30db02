"""A folded network equals the float32 network: compared with Keras layers and with plain integer arithmetic."""

from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import ops

from bnn import bits, models, packed
from bnn.layers import (
    BatchNorm,
    MaxPool2x2,
    QuantActivation,
    QuantConv2D,
    QuantDense,
    Sign,
    Ternary,
    ste_sign,
)
from bnn.packed import chain, folding
from tests.bits.bit_arithmetic import convolution, pooled
from tests.packed.packed_networks import disturb, network

WHOLE = [  # whole numbers as kernels
    {},
    {"levels": 3, "threshold": 0.3},
    {"levels": 3, "threshold": 0.0},
    {"levels": 3, "estimator": "optimal_ternary"},
    {"estimator": "stochastic_sign"},
]
SCALED = [
    {"levels": 3, "estimator": "absmean"},
    {"estimator": "magnitude_aware_sign"},
    {"estimator": "centered_sign"},
]
LAYOUTS = st.fixed_dictionaries(
    {
        "first_layer": st.sampled_from(["quantized", "quantized", "real", "rotated", "whitening"]),
        "last_layer": st.sampled_from(["quantized", "quantized", "real"]),
        "input_range": st.sampled_from([(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (-0.3, 1.0), (-1.7, 0.1)]),
        "input_shape": st.tuples(st.integers(4, 9), st.integers(4, 9), st.integers(1, 3)),
        "filter_size": st.integers(1, 4),
        "conv": st.sampled_from([(), (3, 65), (64, 4)]),
        "fc": st.sampled_from([(), (33,)]),
        "bn_scale": st.booleans(),
    }
)


def exact_activations(model, network, images):
    """Yield each layer's normalized sums, computed from the packed activations of the layer before.

    They are sums of integers, but for a real last kernel.
    """
    links = chain.read(model).links
    outputs = list(network.outputs(images))
    for before, link in zip(outputs, links[1:], strict=False):
        x = bits.unpack(before).astype(np.int64)
        parts = folding.split(link.kernel)
        levels, scale = (link.kernel, 1) if parts is None else (parts[0].astype(np.int64), parts[1])
        sums = convolution(x, levels) if levels.ndim == 4 else x.reshape(len(x), -1) @ levels
        sums = pooled(sums) if link.pool == "sums" else sums
        normalized = model.get_layer(f"{link.name}_norm")(
            ops.convert_to_tensor((sums * scale).astype(np.float32))
        )
        yield link, normalized


@given(st.integers(0, 2**32 - 1), st.sampled_from(WHOLE + SCALED), LAYOUTS)
@settings(max_examples=4)
@example(0, SCALED[0], {})
@example(0, SCALED[1], {})
@example(0, {}, {})
@example(0, {"levels": 3, "threshold": 0.3}, {"first_layer": "rotated", "input_range": (0.0, 1.0)})
@example(0, {}, {"first_layer": "whitening", "last_layer": "real", "fc": ()})
@example(0, {}, {"conv": (), "fc": ()})
@example(0, {}, {"bn_scale": True})
@example(0, {"levels": 3, "threshold": 0.3}, {"bn_scale": True})
def test_layers_after_the_first_are_exact(seed, kind, layout):
    model, images = network(np.random.default_rng(seed), **kind | layout)
    net = packed.fold(model)
    outputs = list(net.outputs(images))
    for found, (link, normalized) in zip(outputs[1:], exact_activations(model, net, images), strict=True):
        if isinstance(found, bits.Bits):
            expected = ops.convert_to_numpy(model.get_layer(f"{link.name}_activation")(normalized))
            np.testing.assert_array_equal(bits.unpack(found), expected)
        else:
            np.testing.assert_allclose(found, ops.convert_to_numpy(normalized), rtol=1e-5, atol=1e-4)


@given(st.integers(0, 2**32 - 1), st.sampled_from(WHOLE), LAYOUTS)
@settings(max_examples=3)
@example(0, {}, {})
def test_the_packed_network_agrees_with_the_whole_network_in_keras(seed, kind, layout):
    """Not with a scale: then Keras rounds the sums of every layer."""
    model, images = network(np.random.default_rng(seed), **kind | layout)
    net = packed.fold(model)
    found = packed.compare(net, model, images)
    assert found.wrong == {}
    # Keras rounds the sums of the first layer, so a sum on a threshold may fall on either side.
    if sum(found.others.values()) == 0:
        assert found.same == found.images == len(images)
        np.testing.assert_allclose(net.scores(images), models.scores(model, images), rtol=1e-5, atol=1e-3)
    else:
        first = net.layers[0].name
        assert 0 < found.others[first] <= 0.02 * found.activations[first]
        assert found.unexplained == 0


def test_a_network_without_ties_agrees_in_every_activation():
    rng = np.random.default_rng(1)
    model = models.build(input_shape=(9, 8, 3), conv=(12, 20), max_pool=(0, 1), fc=(30,))
    for layer in model.layers:
        if isinstance(layer, BatchNorm):
            layer.moving_mean.assign(rng.normal(0, 2, layer.moving_mean.shape))
    images = rng.integers(0, 256, (50, 9, 8, 3), dtype=np.uint8)
    net = packed.fold(model)
    found = packed.compare(net, model, images)
    assert (found.same, set(found.others.values())) == (50, {0})
    assert found.largest < 1e-4
    assert found.activations == {"conv_1": 50 * 9 * 8 * 12, "conv_2": 50 * 4 * 4 * 20, "dense_1": 50 * 30}


@pytest.mark.parametrize("order", ["pool norm sign", "norm pool sign", "norm sign pool", "pool sign", "sign"])
@pytest.mark.parametrize("quantizer", [Sign(), Ternary(0.4013)])
def test_a_user_defined_model(order, quantizer):
    """Batch norm of Keras, whose factor may be negative or 0, with pooling before or after it."""
    rng = np.random.default_rng(0)
    first = (
        order if "norm" in order else "norm sign"
    )  # without norm, sums of the first layer may be 0, where Keras rounds
    behind = {
        "pool": lambda: keras.layers.MaxPooling2D(),
        "norm": lambda: keras.layers.BatchNormalization(),
        "sign": lambda: QuantActivation(quantizer),
    }
    model = keras.Sequential(
        [
            keras.Input((7, 7, 3), dtype="uint8"),
            keras.layers.Rescaling(2 / 255, -1),
            QuantConv2D(20, 3, ste_sign),
            *(behind[word]() for word in first.split()),
            QuantConv2D(9, 3, Sign()),
            *(behind[word]() for word in order.split()),
            keras.layers.Flatten(),
            QuantDense(3, ste_sign),
            keras.layers.BatchNormalization(),
        ]
    )
    disturb(model, rng)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Avoid ties in the first layer, where Keras rounds.
            layer.moving_mean.assign(layer.moving_mean + 0.0123)
    images = rng.integers(0, 256, (8, 7, 7, 3), dtype=np.uint8)
    found = packed.compare(packed.fold(model), model, images)
    assert sum(found.others.values()) == 0
    assert found.same == 8


def test_layers_that_do_nothing_are_passed_and_flattening_keeps_its_order():
    """Also channels first, where Keras moves the first axis behind the others."""
    rng = np.random.default_rng(3)
    layers = keras.layers
    for order in ("channels_first", "channels_last"):
        model = keras.Sequential(
            [
                keras.Input((5, 4, 3), dtype="uint8"),
                layers.Identity(),
                layers.Rescaling(2 / 255, -1),
                layers.GaussianNoise(0.5),
                QuantConv2D(6, 3, Sign()),
                layers.SpatialDropout2D(0.5),
                BatchNorm(),
                layers.Activation("linear"),
                QuantActivation(Sign()),
                layers.Dropout(0.5),
                layers.Flatten(order),
                layers.GaussianDropout(0.5),
                QuantDense(7, Sign()),
                BatchNorm(),
                QuantActivation(Sign()),
                QuantDense(3, Sign()),
                layers.Identity(),
            ]
        )
        disturb(model, rng, ties=False)
        images = rng.integers(0, 256, (40, 5, 4, 3), dtype=np.uint8)
        found = packed.compare(packed.fold(model), model, images)
        assert (found.same, found.unexplained, found.wrong) == (40, 0, {}) and found.largest < 1e-3
        flat = keras.Sequential(
            [keras.Input((4, 3, 2)), layers.Flatten(order), QuantDense(5), BatchNorm(), SIGN, QuantDense(2)]
        )
        disturb(flat, rng, ties=False)
        images = rng.normal(size=(40, 4, 3, 2))
        np.testing.assert_allclose(
            packed.fold(flat).scores(images), flat.predict(images, verbose=0), atol=1e-4
        )


def test_real_and_flat_inputs():
    rng = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((20,)),
            QuantDense(30, Sign()),
            BatchNorm(),
            QuantActivation(Sign()),
            QuantDense(2, Sign()),
        ]
    )
    disturb(model, rng)
    images = rng.normal(size=(9, 20))
    net = packed.fold(model, class_names=["left", "right"])
    np.testing.assert_allclose(net.scores(images), ops.convert_to_numpy(model(images)), atol=1e-4)
    assert net.class_names == ("left", "right")
    assert isinstance(net.layers[0].kernel, np.ndarray)


def test_bfloat16_networks_are_folded_in_float32():
    rng = np.random.default_rng(0)
    model, images = network(rng)
    twin = models.build(
        **{"input_shape": (9, 7, 2), "conv": (5, 66), "max_pool": (1, 1), "fc": (33,), "classes": 4},
        precision="bfloat16",
    )
    twin.set_weights(model.get_weights())
    np.testing.assert_array_equal(packed.fold(twin).scores(images), packed.fold(model).scores(images))


def test_binary_kernels_take_one_bit_and_ternary_kernels_and_activations_two():
    rng = np.random.default_rng(0)
    for settings_, ternary in (({}, False), ({"levels": 3, "threshold": 0.3}, True)):
        net = packed.fold(network(rng, **settings_)[0])
        assert {layer.kernel.bits.ternary for layer in net.layers} == {ternary}
        assert {len(layer.output.at) for layer in net.layers[:-1]} == {1 + ternary}


@pytest.mark.parametrize("shape", [(9, 7, 2), (0, 9, 7, 2), (3, 7, 9, 2), (3, 9, 7, 1)])
def test_other_images_are_refused(shape):
    net = packed.fold(network(np.random.default_rng(0))[0])
    with pytest.raises(
        packed.PackError, match=r"images: expected uint8 \(n, 9, 7, 2\), n >= 1, received uint8"
    ):
        net.scores(np.zeros(shape, np.uint8))
    with pytest.raises(packed.PackError, match="received float64"):
        net.scores(np.zeros((3, 9, 7, 2)))


SIGN = QuantActivation(Sign())


def _sequential(*layers):
    return keras.Sequential([keras.Input((6, 6, 2), dtype="uint8"), *layers])


def _branches():
    x = inputs = keras.Input((6, 6, 2))
    x = QuantConv2D(2, 3, Sign())(x)
    return keras.Model(inputs, keras.layers.Add(name="sum")([x, inputs]))


def _trained_in_inference():
    x = inputs = keras.Input((6, 6, 2))
    x = keras.layers.Dropout(0.5, name="monte_carlo")(QuantConv2D(2, 3, Sign())(x), training=True)
    return keras.Model(inputs, x)


class Strided(QuantConv2D):
    def product(self, inputs, kernel):
        return ops.conv(inputs, kernel, 2, "same")


class Turned(keras.layers.Flatten):
    def call(self, inputs):
        return super().call(ops.flip(inputs, 1))


REFUSED = {
    "monte_carlo: expected a call as in inference": _trained_in_inference,
    "half: expected a chain of bnn.layers.*received a Strided with a call of its own": lambda: _sequential(
        Strided(2, 3, Sign(), name="half")
    ),
    "turned: expected a chain of bnn.layers.*received a Turned with a call of its own": lambda: _sequential(
        QuantConv2D(2, 3, Sign()), SIGN, Turned(name="turned"), QuantDense(2, Sign())
    ),
    "minus: expected activations that increase with their value": lambda: _sequential(
        QuantConv2D(2, 3, Sign()),
        MaxPool2x2(),
        QuantActivation(lambda x: ops.where(x >= 0, -1.0, 1.0), name="minus"),
        keras.layers.Flatten(),
        QuantDense(2, Sign()),
    ),
    "whole: expected scaling in floating point, received int32": lambda: _sequential(
        keras.layers.Rescaling(2.0, dtype="int32", name="whole"), QuantConv2D(2, 3, Sign())
    ),
    **{
        f"other: expected a chain of bnn.layers.*received a {type(layer).__name__}": (
            lambda layer=layer: _sequential(QuantConv2D(2, 3, Sign()), SIGN, layer)
        )
        for layer in (
            keras.layers.Reshape((72,), name="other"),
            keras.layers.Permute((2, 1, 3), name="other"),
            keras.layers.ZeroPadding2D(name="other"),
            keras.layers.Cropping2D(name="other"),
            keras.layers.AveragePooling2D(2, name="other"),
            keras.layers.TimeDistributed(keras.layers.Flatten(), name="other"),
            keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Flatten()], name="other"),
        )
    },
    "strides: expected one pooling of 2x2": lambda: _sequential(
        QuantConv2D(2, 3, Sign()), keras.layers.MaxPooling2D(2, 1, name="strides")
    ),
    "padded: expected one pooling of 2x2": lambda: _sequential(
        QuantConv2D(2, 3, Sign()), keras.layers.MaxPooling2D(2, padding="same", name="padded")
    ),
    "turned_pool: expected .*, received data_format channels_first": lambda: _sequential(
        QuantConv2D(2, 3, Sign()),
        keras.layers.MaxPooling2D(2, data_format="channels_first", name="turned_pool"),
    ),
    "sum: expected a layer of one input": _branches,
    "relu: expected a chain of bnn.layers": lambda: _sequential(
        QuantConv2D(2, 3, Sign()), keras.layers.ReLU(name="relu")
    ),
    "plain: expected a chain of bnn.layers, flattening and max-pooling, received a Conv2D": lambda: (
        _sequential(keras.layers.Conv2D(2, 3, name="plain"))
    ),
    "second: expected a binary or ternary kernel": lambda: _sequential(
        QuantConv2D(2, 3, Sign()),
        QuantActivation(Sign()),
        keras.layers.Flatten(),
        QuantDense(2, name="second"),
        QuantActivation(Sign()),
        QuantDense(2, Sign()),
    ),
    "second: expected binary or ternary activations": lambda: _sequential(
        QuantConv2D(2, 3, Sign()), QuantConv2D(2, 3, Sign(), name="second")
    ),
    "tanh: expected binary or ternary activations, each of its own value, received hard tanh": lambda: (
        _sequential(QuantConv2D(2, 3, Sign()), QuantActivation(name="tanh"))
    ),
    "last: expected a dense layer at the end": lambda: _sequential(QuantConv2D(2, 3, Sign(), name="last")),
    "first: expected a flat input": lambda: _sequential(QuantDense(2, Sign(), name="first")),
    "wide: expected one pooling of 2x2": lambda: _sequential(
        QuantConv2D(2, 3, Sign()), keras.layers.MaxPooling2D(3, name="wide")
    ),
    "again: expected one activation": lambda: _sequential(
        QuantConv2D(2, 3, Sign()), QuantActivation(Sign()), QuantActivation(Sign(), name="again")
    ),
    "early: expected a convolution or dense layer right before it": lambda: _sequential(
        BatchNorm(name="early"), keras.layers.Flatten(), QuantDense(2, Sign())
    ),
    "expected a convolution or dense layer of bnn.layers, received none": lambda: _sequential(
        keras.layers.Flatten()
    ),
    "rows: expected batch norm over the last axis": lambda: _sequential(
        QuantConv2D(2, 3, Sign()), keras.layers.BatchNormalization(axis=1, name="rows")
    ),
    "steps: expected activations of -1 and .1, or of -1, 0 and .1": lambda: _sequential(
        QuantConv2D(2, 3, Sign(), name="steps"),
        QuantActivation(lambda x: ops.round(x)),
        keras.layers.Flatten(),
        QuantDense(2, Sign()),
    ),
    "bump: expected activations": lambda: _sequential(
        QuantConv2D(2, 3, Sign(), name="bump"),
        QuantActivation(lambda x: ops.where(ops.abs(x) < 0.3, 1.0, -1.0)),
        keras.layers.Flatten(),
        QuantDense(2, Sign()),
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_models_that_are_not_a_chain_of_our_layers_are_refused_by_name(message):
    with pytest.raises(packed.PackError, match=message) as refused:
        packed.fold(REFUSED[message]())
    assert "received" in str(refused.value) and "\n" not in str(refused.value)


def test_a_model_that_is_not_built_is_refused():
    with pytest.raises(packed.PackError, match="expected a built functional or sequential model"):
        packed.fold(keras.Sequential([MaxPool2x2()]))


@pytest.mark.parametrize("wrong", ["runs/first", Path("network.keras"), None])
def test_what_is_no_model_is_refused(wrong):
    for call in (packed.fold, packed.onnx_model):
        with pytest.raises(
            packed.PackError, match=r"model: expected a keras.Model, received a .*load_model loads"
        ):
            call(wrong)


def test_a_wrong_number_of_class_names_is_refused():
    with pytest.raises(packed.PackError, match="class_names: expected 4, received 2"):
        packed.fold(network(np.random.default_rng(0))[0], class_names="ab")
