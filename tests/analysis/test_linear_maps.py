"""Linear maps and their patches compared with Keras layers, for random geometries."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn.analysis.core.linear_maps import Convolution, Dense
from bnn.analysis.keras import capture, kernels


def check(layer, x, atol=1e-4):
    """Check that each patch times each kernel, and `multiply`, give the layer's output without bias and activation."""
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    expected = keras.ops.convert_to_numpy(model(x))
    if getattr(layer, "data_format", None) == "channels_first":
        expected = np.moveaxis(expected, 1, -1)
    (product,) = kernels.find(model)
    ((_, (((inputs, before, _),),)),) = capture.stream(model, [product], x, len(x))
    latent = product.kernels.latent
    np.testing.assert_allclose(product.multiply(inputs, latent).reshape(expected.shape), expected, atol=atol)
    positions = product.linear.positions(inputs.shape)
    assert positions == expected.shape[1:-1]
    places = np.stack(
        np.divmod(np.arange(len(x) * np.prod(positions, dtype=int)), np.prod(positions, dtype=int)), 1
    )
    rows = product.linear.patches(inputs, places)
    from_patches = np.einsum("gmd,dgu->mgu", rows, latent)
    np.testing.assert_allclose(from_patches.reshape(expected.shape), expected, atol=atol)
    assert before is None


@st.composite
def convolutions(draw):
    """(class, its arguments, shape of inputs) of a random Keras convolution."""
    rank = draw(st.integers(1, 2))
    form = st.tuples(*[st.integers(1, 3)] * rank)
    groups = draw(st.integers(1, 3))
    channels, filters = (groups * draw(st.integers(1, 2)) for _ in range(2))
    widths = {"strides": (1,) * rank, "dilation_rate": (1,) * rank}
    widths[draw(st.sampled_from(list(widths)))] = draw(form)  # Keras does not support both at once
    padding = draw(st.sampled_from(["valid", "same"] + ["causal"] * (rank == 1)))
    size, data_format = draw(form), draw(st.sampled_from(["channels_last", "channels_first"]))
    if groups > 1:  # on a CPU, grouped convolutions support only this order
        data_format = "channels_last"
    spatial = tuple(draw(st.integers(7, 9)) for _ in range(rank))
    shape = (2, *spatial, channels) if data_format == "channels_last" else (2, channels, *spatial)
    cls = (keras.layers.Conv1D, keras.layers.Conv2D)[rank - 1]
    options = {"filters": filters, "kernel_size": size, "padding": padding, "groups": groups}
    return cls, options | widths | {"data_format": data_format, "use_bias": False}, shape


@settings(max_examples=25)
@given(convolutions(), st.integers(0, 99))
def test_convolutions_multiply_their_patches(case, seed):
    cls, options, shape = case
    check(cls(**options), np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@settings(max_examples=15)
@given(
    rank=st.integers(1, 2),
    size=st.integers(1, 3),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    padding=st.sampled_from(["valid", "same"]),
    channels=st.integers(1, 3),
    units=st.integers(1, 3),
    data_format=st.sampled_from(["channels_last", "channels_first"]),
    seed=st.integers(0, 99),
)
def test_depthwise_convolutions_multiply_their_patches(
    rank, size, stride, dilation, padding, channels, units, data_format, seed
):
    cls = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)[rank - 1]
    layer = cls(
        size,
        strides=stride,
        padding=padding,
        depth_multiplier=units,
        data_format=data_format,
        dilation_rate=1 if stride > 1 else dilation,
        use_bias=False,
    )
    shape = (2, *(8, 7)[:rank], channels) if data_format == "channels_last" else (2, channels, *(8, 7)[:rank])
    check(layer, np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def test_convolutions_in_three_dimensions_too():
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 4, 3)).astype(np.float32)
    check(keras.layers.Conv3D(4, (2, 3, 1), strides=(1, 2, 1), padding="same", use_bias=False), x)


@pytest.mark.parametrize("shape", [(5, 7), (5, 3, 7), (2, 3, 4, 7)])
def test_dense_layers_multiply_their_last_axis(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    check(keras.layers.Dense(4, use_bias=False), x)


def test_patches_are_in_the_order_of_their_places():
    x = np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4, 1)
    linear = Convolution((2, 2), (1, 1), (1, 1), "valid")
    rows = linear.patches(x, np.array([[1, 8], [0, 0], [1, 8]]))
    np.testing.assert_array_equal(rows, [[[26, 27, 30, 31], [0, 1, 4, 5], [26, 27, 30, 31]]])


@pytest.mark.parametrize(
    ("linear", "shape"), [(Dense(), (1, 27)), (Convolution((3, 3), (1, 1), (1, 1), "same"), (1, 4, 4, 3))]
)
def test_no_places_give_no_patches(linear, shape):
    assert linear.patches(np.zeros(shape), np.empty((0, 2), int)).shape == (1, 0, 27)
