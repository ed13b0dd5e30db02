"""Real networks with quantized weights: levels per unit, agreement with the real network, refusals, the command."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import bnn
from bnn.analysis import ReportError
from bnn.binarization import kernel_fit
from bnn.layers import QuantDense, Sign
from bnn.models import refit_batch_norm
from tests.support import assert_refused, call

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def images():
    """Smooth images."""
    return RNG.standard_normal((80, 8, 8, 3)).cumsum(axis=1).cumsum(axis=2).astype(np.float32)


@pytest.fixture(scope="module")
def model(images):
    """A convolution before a batch norm, one with a bias, and a dense layer."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((8, 8, 3)),
        layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv_1"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(),
        layers.Conv2D(8, 3, strides=2, activation="relu", name="conv_2"),
        layers.Flatten(),
        layers.Dense(5, name="dense"),
    ])  # fmt: skip
    refit_batch_norm(model, images)
    return model


@pytest.fixture(scope="module")
def binary(model, images):
    return bnn.binarize(model, images)


def columns(kernel):
    kernel = np.asarray(kernel)
    return kernel.reshape(-1, kernel.shape[-1]).T


def error(model, other, images):
    """The squared error of the outputs, relative to their variance."""
    before, after = (np.asarray(m(images, training=False), np.float64) for m in (model, other))
    return np.mean((after - before) ** 2) / before.var()


def test_every_unit_has_two_levels_and_the_model_is_not_changed(model, images):
    before = [np.array(w.numpy()) for w in model.weights]
    found = bnn.binarize(model, images)
    assert [layer.name for layer in found.layers] == ["conv_1", "conv_2", "dense"] and found.real == {}
    for layer in found.layers:
        for unit in columns(found.model.get_layer(layer.name).kernel):
            low, high = np.unique(unit)
            assert low == -high
    assert found.bits == 1 and all(
        np.array_equal(a, b.numpy()) for a, b in zip(before, model.weights, strict=True)
    )


def test_it_is_nearer_to_the_real_network_than_signs_with_the_best_scales(model, binary, images):
    signs = keras.models.clone_model(model)
    signs.set_weights(model.get_weights())
    for layer in binary.layers:
        kernel = signs.get_layer(layer.name).kernel
        w = kernel.numpy()
        scale = np.abs(w).mean(axis=tuple(range(w.ndim - 1)))
        kernel.assign(np.where(w >= 0, scale, -scale))
    refit_batch_norm(signs, images)
    fresh = RNG.standard_normal((80, 8, 8, 3)).cumsum(axis=1).cumsum(axis=2).astype(np.float32)
    for x in (images, fresh):
        assert error(model, binary.model, x) < 0.5 * error(model, signs, x)
    ternary = bnn.binarize(model, images, levels=3)
    assert error(model, ternary.model, fresh) < error(model, binary.model, fresh)
    assert ternary.bits == pytest.approx(np.log2(3))


def test_the_agreement_is_that_of_the_images_that_are_held_out(model, binary, images):
    held = np.sort(np.random.default_rng(0).permutation(80)[:16])
    before, after = (np.asarray(m(images[held], training=False)) for m in (model, binary.model))
    assert binary.images == 16 and binary.held_out
    found = binary.agreement
    assert found["r"] == pytest.approx(np.corrcoef(before.ravel(), after.ravel())[0, 1], abs=1e-5)
    assert found["error"] == pytest.approx(np.mean((before - after) ** 2) / before.var(), rel=1e-4)
    assert found["same"] == np.mean(before.argmax(1) == after.argmax(1))
    assert "16 images that nothing was fitted to" in str(binary)
    few = bnn.binarize(model, images[:9])
    assert not few.held_out and few.images == 9 and "the 9 images of the fit" in str(few)


def test_the_rows_of_layers_have_the_angle_and_the_r_of_their_products(model, binary, images):
    kernels = [
        np.asarray(m.get_layer("conv_1").kernel, np.float64).reshape(27, 8) for m in (model, binary.model)
    ]
    cos = np.sum(kernels[0] * kernels[1], axis=0) / np.prod(
        [np.linalg.norm(k, axis=0) for k in kernels], axis=0
    )
    assert binary.layers[0].angle == pytest.approx(np.degrees(np.arccos(cos)).mean(), abs=1e-3)
    held = np.sort(np.random.default_rng(0).permutation(80)[:16])
    padded = np.pad(images[held], ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    rows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 27)
    r = [np.corrcoef(rows @ a, rows @ b)[0, 1] for a, b in zip(kernels[0].T, kernels[1].T, strict=True)]
    assert binary.layers[0].r == pytest.approx(np.mean(r), abs=1e-4)


def test_a_kernel_is_never_worse_on_its_inputs_than_the_nearest_signs():
    rng = np.random.default_rng(3)
    mixing = rng.standard_normal((12, 12))
    real = rng.standard_normal((1, 300, 12)) @ mixing + 1
    other = real + 0.5 * rng.standard_normal(real.shape)
    kernel = rng.standard_normal((12, 1, 6)).astype(np.float32)
    moments = kernel_fit.moments_of(
        [(real[:, :100], other[:, :100]), (real[:, 100:], other[:, 100:])], kernel
    )
    target, signs = real[0] @ kernel[:, 0], np.where(kernel[:, 0] >= 0, 1, -1)
    for centered in (True, False):
        found = kernel_fit.fit(kernel, moments, 2, centered)
        after = other[0] @ found.kernel[:, 0] + found.shift
        plain = other[0] @ signs
        y, x = (target - target.mean(0), plain - plain.mean(0)) if centered else (target, plain)
        best = np.sum(x * y, axis=0) / np.sum(x * x, axis=0)
        lost = np.mean((y - best * x) ** 2, axis=0)
        assert np.all(np.mean((after - target) ** 2, axis=0) <= lost * (1 + 1e-5))
        assert np.any(found.shift) == centered


def test_levels_by_layer_and_layers_that_stay_real(model, images):
    found = bnn.binarize(model, images, levels=4, assignment={"conv_1": "real", "dense": 3})
    assert [(layer.name, layer.levels) for layer in found.layers] == [("conv_2", 4), ("dense", 3)]
    assert found.real == {"conv_1": "as asked"}
    np.testing.assert_array_equal(found.model.get_layer("conv_1").kernel, model.get_layer("conv_1").kernel)
    for layer in found.layers:
        for unit in columns(found.model.get_layer(layer.name).kernel):
            assert 2 <= len(np.unique(unit)) <= layer.levels
    weights = [layer.d * layer.units for layer in found.layers]
    assert found.bits == pytest.approx(np.average([2, np.log2(3)], weights=weights))


def kinds():
    """Grouped, depthwise, separable, transposed and recurrent layers, and dense ones, also in a nested model."""
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(6, 3, groups=2, name="grouped")(inputs)
    x = layers.ReLU()(layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x))
    x = layers.SeparableConv2D(4, 3, padding="same", name="separable")(x)
    x = layers.Conv2DTranspose(5, 3, strides=2, name="turned")(layers.ReLU()(x))
    x = layers.Reshape((9, 45))(x)
    nested = keras.Sequential([keras.Input((9, 45)), layers.Dense(7, "relu", name="inner")], name="nested")
    return keras.Model(inputs, layers.Dense(3, name="last")(layers.LSTM(6, name="lstm")(nested(x))))


def test_every_kind_of_layer_is_quantized_in_the_order_of_the_data():
    keras.utils.set_random_seed(1)
    model = kinds()
    x = RNG.standard_normal((60, 8, 8, 4)).cumsum(axis=1).astype(np.float32)
    found = bnn.binarize(model, x)
    assert [layer.name for layer in found.layers] == [
        "grouped", "depthwise", "separable/depthwise", "separable/pointwise", "turned", "nested/inner", "lstm/kernel",
        "lstm/recurrent_kernel", "last",
    ]  # fmt: skip
    assert found.real == {} and all(layer.r > 0.6 for layer in found.layers)
    for row in bnn.analyze(found.model, x, quantizer=lambda w: w, score_images=0):
        assert all(len(np.unique(np.abs(unit))) == 1 for unit in row.kernels.latent.T), row.name


class Subclassed(keras.Model):
    """A model with a call of its own."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)
        self(np.ones((1, 8, 8, 3), np.float32))

    def call(self, inputs):
        return self.dense(inputs)


def test_what_cannot_be_binarized_is_refused_in_one_line(model, images):
    cases = [
        ((model, images), {"levels": 1}, "levels: expected 2 to 256 levels, or 'real', received 1"),
        ((model, images), {"assignment": {"conv1": 2}}, "received 'conv1'; did you mean conv_1?"),
        ((model, images), {"assignment": {"dense": "two"}}, "assignment: dense: expected 2 to 256"),
        ((model, images), {"assignment": [2]}, "assignment: expected names of layers"),
        ((model, images), {"levels": "real"}, "expected a kernel that can be quantized"),
        ((model, images[..., :2]), {}, "images: expected"),
        ((3, images), {}, "expected a Keras model or a PyTorch module, received a int"),
    ]
    cases.append(((Subclassed(), images), {}, "received a Subclassed that it does not copy"))
    twice = layers.BatchNormalization(name="twice")
    inputs = keras.Input((4,))
    called_twice = keras.Model(inputs, twice(layers.Dense(4)(twice(inputs))))
    cases.append(((called_twice, np.ones((20, 4), np.float32)), {}, "twice: expected one call, received 2"))
    own = keras.Sequential([keras.Input((4,)), QuantDense(3, Sign(), name="own")])
    cases.append(((own, np.ones((20, 4), np.float32)), {}, "own (it has a quantizer of its own)"))
    for args, options, words in cases:
        with pytest.raises(ReportError) as caught:
            bnn.binarize(*args, **options)
        assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_command_writes_the_network(model, images, tmp_path):
    model.save(tmp_path / "float.keras")
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "levels.json").write_text(json.dumps({"conv_1": 3, "conv_2": None}))
    line = ("-m", "bnn", "binarize", tmp_path / "float.keras", "--images", tmp_path / "images.npy")
    output = ("--output", tmp_path / "out.keras")
    process = call(*line, *output, "--assignment", tmp_path / "levels.json")
    assert process.returncode == 0, process.stderr
    text = process.stdout
    assert (
        text.splitlines()[-1].startswith(f"wrote {tmp_path / 'out.keras'}:")
        or "wrote" in text.splitlines()[-2]
    )
    assert "conv_1  27      8       3  1.58" in text and "16 images that nothing was fitted to" in text
    written = bnn.models.load_model(tmp_path / "out.keras")
    assert all(len(np.unique(unit)) <= 3 for unit in columns(written.get_layer("conv_1").kernel))
    assert all(len(np.unique(unit)) == 2 for unit in columns(written.get_layer("dense").kernel))
    np.testing.assert_array_equal(written.get_layer("conv_2").kernel, model.get_layer("conv_2").kernel)
    again = bnn.binarize(model, images, assignment={"conv_1": 3, "conv_2": "real"})
    np.testing.assert_allclose(written(images), again.model(images), rtol=1e-4, atol=1e-4)
    (tmp_path / "broken.json").write_text("{")
    assert_refused(call(*line, *output, "--assignment", tmp_path / "broken.json"), "broken.json", "not JSON")
    assert_refused(call(*line, "--output", tmp_path / "float.keras"), "expected another file")
