"""`EinsumDense` and transposed convolutions; the layer itself, with the given kernel, is the reference."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from bnn.analysis import ReportError, report
from tests.analysis.test_linear_maps import check

RNG = np.random.default_rng(0)


def sign(x):
    return np.where(x >= 0, 1.0, -1.0)


def analyzed(layer, shape):
    """(the only row of the layer, its outputs with the sign of the kernel, its outputs with the kernel)"""
    model = keras.Sequential([keras.Input(shape), layer])
    images = (RNG.standard_normal((20, *shape)) + 0.5).astype(np.float32)
    (row,) = report.analyze(model, images, batch_size=8)
    real, kernel = np.asarray(model(images)), layer.kernel.numpy()
    layer.kernel.assign(sign(kernel))
    return row, np.asarray(model(images)), real


EQUATIONS = {
    "dense": ("ab,bc->ac", (6,), 5, (6, 1, 5)),
    "over time": ("abc,cd->abd", (4, 6), (4, 5), (6, 1, 5)),
    "heads": ("abc,cde->abde", (4, 6), (4, 2, 3), (6, 1, 6)),
    "two axes contract": ("abcd,cde->abe", (4, 2, 3), (4, 5), (6, 1, 5)),
    "a kernel for each place": ("abc,bcd->abd", (4, 6), (4, 5), (6, 4, 5)),
    "time contracts": ("abc,bd->adc", (4, 6), (5, 6), (4, 1, 5)),
    "no units": ("abc,c->ab", (4, 6), (4,), (6, 1, 1)),
    "an axis is summed": ("abc,cd->ad", (4, 6), (5,), (6, 1, 5)),
    "ellipsis": ("...x,xy->...y", (4, 2, 6), 5, (6, 1, 5)),
}


@pytest.mark.parametrize(("equation", "shape", "out", "size"), EQUATIONS.values(), ids=EQUATIONS)
def test_d_follows_from_the_equation(equation, shape, out, size):
    row, binary, real = analyzed(layers.EinsumDense(equation, out), shape)
    d, groups, units = size
    assert row.product.kernels.latent.shape == size
    assert (row.d, row.units) == (d, groups * units)
    assert row.weights.count == real.size
    assert row.r_weights == pytest.approx(np.corrcoef(binary.ravel(), real.ravel())[0, 1], abs=1e-5)
    assert row.r_scores == pytest.approx(row.r_weights, abs=1e-3)
    a = row.grouped_patches.astype(
        np.float64
    )  # all patches, since there are fewer than the size of the sample
    w = row.product.kernels.latent
    products = np.einsum("gmd,dgu->mgu", a, w)
    gain = products.var(axis=0) / ((w**2).sum(axis=0) * a.var(axis=1).mean(axis=-1)[:, None])
    np.testing.assert_allclose(row.gains.gain, gain.ravel(), rtol=1e-3)


@pytest.mark.parametrize(
    ("equation", "shape", "out", "reason"),
    [
        ("ab,b->ab", (6,), 6, "its equation contracts no axis of the kernel"),
        ("ab,bcd->ac", (6,), (4,), "sums over an axis of the kernel alone"),
    ],
)
def test_equations_that_are_not_dot_products_are_refused(equation, shape, out, reason):
    from bnn.analysis.keras.einsum import Contraction

    assert reason in Contraction.of(equation, len(shape) + 1).reason()
    if "d" not in equation:  # Keras can build the layer
        model = keras.Sequential([keras.Input(shape), layers.EinsumDense(equation, out, name="e")])
        with pytest.raises(ReportError, match=r"e \(a EinsumDense|e \("):
            report.analyze(model, np.ones((2, *shape), np.float32))


@settings(max_examples=40)
@given(
    rank=st.integers(1, 2),
    size=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.sampled_from(["valid", "same"]),
    more=st.integers(-1, 2),
    seed=st.integers(0, 99),
)
def test_transposed_convolutions_multiply_their_patches(rank, size, stride, dilation, padding, more, seed):
    cls = (layers.Conv1DTranspose, layers.Conv2DTranspose)[rank - 1]
    layer = cls(
        3,
        size,
        strides=stride,
        padding=padding,
        use_bias=False,
        dilation_rate=dilation if stride == 1 else 1,
        output_padding=None if more < 0 or more >= stride else more,
    )
    shape = (2, *(4, 5)[:rank], 2)
    check(layer, np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: layers.Conv1DTranspose(5, 3, strides=2, padding="same"), (7, 4)),
        (lambda: layers.Conv2DTranspose(5, (3, 2), strides=2), (4, 5, 3)),
        (lambda: layers.Conv3DTranspose(2, 2, strides=2), (2, 3, 2, 3)),
    ],
)
def test_inserted_zeros_count_as_inputs(layer, shape):
    row, binary, real = analyzed(layer(), shape)
    assert row.weights.count == real.size
    assert row.r_weights == pytest.approx(np.corrcoef(binary.ravel(), real.ravel())[0, 1], abs=1e-5)
    assert row.r_scores == pytest.approx(row.r_weights, abs=1e-3)
    if row.weights.count // row.units <= 2000:
        a, w = row.patches.astype(np.float64), row.kernels.latent
        gain = (a @ w).var(axis=0) / ((w**2).sum(axis=0) * a.var(axis=0).mean())
        np.testing.assert_allclose(row.gains.gain, gain, rtol=1e-3)
