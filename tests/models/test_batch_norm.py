"""Refitting batch norm, compared with NumPy, and networks from which quantizers are removed."""

import keras
import numpy as np
import pytest

from bnn.analysis.keras import ablation
from bnn.datasets import Split
from bnn.layers import BatchNorm
from bnn.models import accuracy, build_model, refit_batch_norm
from bnn.settings.config import ModelConfig, TrainConfig
from bnn.training import Batches, compile_model
from tests.support import KINDS


@pytest.fixture(scope="module")
def data():
    """Noisy copies of one random image per class: (training Split, test Split)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=800).astype(np.uint8)
    prototypes = rng.integers(256, size=(10, 8, 8, 1))
    images = np.clip(prototypes[labels] + rng.normal(0, 60, (800, 8, 8, 1)), 0, 255).astype(np.uint8)
    everything = Split(images, labels)
    return everything[:600], everything[600:]


@pytest.fixture(scope="module", params=["binary", "ternary"])
def trained(request, data):
    small = {"input_shape": (8, 8, 1), "conv": (8,), "max_pool": (1,), "fc": (16,), "bn_decay": 0.9}
    model = build_model(ModelConfig(**small, **KINDS[request.param]))
    compile_model(model, TrainConfig(lr_start=0.01))
    model.fit(Batches(data[0], 50, seed=0), epochs=8, verbose=0)
    return model


def dense_network(kind="binary"):
    config = ModelConfig(input_shape=(4, 4, 1), conv=(), max_pool=(), fc=(12, 6), classes=3, **KINDS[kind])
    return build_model(config), np.random.default_rng(0).integers(0, 256, (90, 4, 4, 1), dtype=np.uint8)


def moving_averages(model):
    norms = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
    return [(norm.moving_mean.numpy(), norm.moving_variance.numpy()) for norm in norms]


def test_refit_equals_numpys():
    model, images = dense_network()
    kernels = [np.where(model.get_layer(f"dense_{i}").kernel.numpy() >= 0, 1.0, -1.0) for i in (1, 2, 3)]
    refit_batch_norm(model, images, batch_size=30)
    x = images.reshape(3, 30, 16) / 127.5 - 1
    for kernel, (mean, variance) in zip(kernels, moving_averages(model), strict=True):
        z = x @ kernel
        assert mean == pytest.approx(z.mean(axis=(0, 1)), abs=1e-4)
        assert variance == pytest.approx(z.var(axis=(0, 1)), rel=1e-4)  # over all images
        x = np.where(
            z - z.mean(axis=1, keepdims=True) >= 0, 1.0, -1.0
        )  # each batch is normalized by its own mean


def test_batch_norm_of_keras_is_refitted_too():
    inputs = keras.Input((5,))
    norm = keras.layers.BatchNormalization()
    model = keras.Model(inputs, norm(keras.layers.ReLU()(inputs)))
    x = np.random.default_rng(0).standard_normal((90, 5)).astype(np.float32)
    refit_batch_norm(model, x, batch_size=30)
    assert norm.moving_mean.numpy() == pytest.approx(np.maximum(x, 0).mean(axis=0), rel=1e-5)
    assert norm.moving_variance.numpy() == pytest.approx(np.maximum(x, 0).var(axis=0), rel=1e-5)


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("renorm", [False, True])
def test_the_axis_of_the_channels_is_the_one_of_the_layer(axis, renorm):
    """All sizes are equal, so that the moments of another axis would fit."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((61, 4, 4, 4)) * np.arange(1, 5)[:, None, None] + 3 * np.arange(4)[:, None]
    x = (x + rng.standard_normal(4)).astype(np.float32)
    if renorm and not hasattr(keras.layers.BatchNormalization(), "renorm"):
        pytest.skip(f"Keras {keras.__version__} has no batch renormalization")
    options = {"renorm": True} if renorm else {}
    norm, inputs = keras.layers.BatchNormalization(axis=axis, **options), keras.Input((4, 4, 4))
    after = keras.layers.BatchNormalization()
    model = keras.Model(inputs, after(norm(inputs)))
    refit_batch_norm(model, x, batch_size=61)
    axes = tuple({0, 1, 2, 3} - {axis % 4})
    assert norm.moving_mean.numpy() == pytest.approx(x.mean(axis=axes), abs=1e-4)
    assert norm.moving_variance.numpy() == pytest.approx(x.var(axis=axes), rel=1e-4)
    y = (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(x.var(axis=axes, keepdims=True) + norm.epsilon)
    assert after.moving_mean.numpy() == pytest.approx(y.mean(axis=(0, 1, 2)), abs=1e-4)
    assert after.moving_variance.numpy() == pytest.approx(y.var(axis=(0, 1, 2)), rel=1e-3)
    assert getattr(norm, "renorm", False) == renorm


def test_masked_steps_do_not_count():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((50, 6, 4)) + 2).astype(np.float32)
    kept = np.arange(6) < rng.integers(1, 7, size=50)[:, None]
    norm, inputs = keras.layers.BatchNormalization(), keras.Input((6, 4))
    model = keras.Model(inputs, norm(keras.layers.Masking()(inputs)))
    refit_batch_norm(model, x * kept[..., None], batch_size=20)
    assert norm.moving_mean.numpy() == pytest.approx(x[kept].mean(axis=0), abs=1e-4)
    assert norm.moving_variance.numpy() == pytest.approx(x[kept].var(axis=0), rel=1e-3)
    with pytest.raises(ValueError, match="expected inputs, received nothing but masked ones"):
        refit_batch_norm(model, 0 * x, batch_size=20)


def test_nested_batch_norms_are_refitted_while_dropout_is_in_inference():
    inner = keras.Sequential(
        [keras.Input((5,)), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    )
    outer = keras.layers.BatchNormalization()
    inputs = keras.Input((5,))
    model = keras.Model(inputs, outer(inner(3 * inputs)))
    x = np.random.default_rng(0).standard_normal((90, 5)).astype(np.float32)
    refit_batch_norm(model, x, batch_size=30)
    assert inner.layers[0].moving_variance.numpy() == pytest.approx((3 * x).var(axis=0), rel=1e-5)
    assert outer.moving_variance.numpy() == pytest.approx(np.ones(5), abs=0.05)


def test_a_frozen_network_is_refitted_like_another():
    (frozen, images), (other, _) = dense_network(), dense_network()
    other.set_weights(frozen.get_weights())
    frozen.trainable = False
    for model in (frozen, other):
        refit_batch_norm(model, images)
    for ours, theirs in zip(moving_averages(frozen), moving_averages(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert not any(layer.trainable for layer in frozen.layers)


def test_stochastic_quantizers_are_refitted_as_signs():
    keras.utils.set_random_seed(0)  # so that no value is so near its mean that rounding decides its sign
    settings = {"input_shape": (4, 4, 1), "conv": (), "max_pool": (), "fc": (12,), "classes": 3}
    model, images = build_model(ModelConfig(**settings, estimator="stochastic_sign")), dense_network()[1]
    refit_batch_norm(model, images, batch_size=90)
    x = images.reshape(90, 16) / 127.5 - 1
    for name in ("dense_1", "dense_2"):
        z = x @ np.where(model.get_layer(name).kernel.numpy() >= 0, 1.0, -1.0)
        assert model.get_layer(f"{name}_norm").moving_mean.numpy() == pytest.approx(z.mean(axis=0), abs=1e-4)
        x = np.where(z >= z.mean(axis=0), 1.0, -1.0)


def test_without_batch_norm_there_is_nothing_to_refit_and_a_shared_one_is_refused():
    inputs, norm = keras.Input((5,)), keras.layers.BatchNormalization()
    x = np.ones((4, 5), np.float32)
    refit_batch_norm(keras.Model(inputs, keras.layers.ReLU()(inputs)), x)
    with pytest.raises(ValueError, match=f"{norm.name}: expected one call, received 2"):
        refit_batch_norm(keras.Model(inputs, norm(norm(inputs))), x)


def test_batches_are_weighted_by_their_number_of_images():
    model, images = dense_network("continuous")
    refit_batch_norm(model, images[:61], batch_size=60)  # batches of 31 and 30
    first = images[:61].reshape(61, 16) / 127.5 - 1
    z = first @ model.get_layer("dense_1").kernel.numpy()
    mean, variance = moving_averages(model)[0]
    assert mean == pytest.approx(z.mean(axis=0), abs=1e-5)
    assert variance == pytest.approx(z.var(axis=0), rel=1e-4)


def test_an_odd_number_of_images_in_batches_of_two_leaves_no_batch_of_one():
    model, images = dense_network("continuous")
    refit_batch_norm(model, images[:5], batch_size=2)  # batches of 3 and 2
    z = (images[:5].reshape(5, 16) / 127.5 - 1) @ model.get_layer("dense_1").kernel.numpy()
    mean, variance = moving_averages(model)[0]
    assert mean == pytest.approx(z.mean(axis=0), abs=1e-5)
    assert variance == pytest.approx(z.var(axis=0), rel=1e-4)


@pytest.mark.parametrize(("n", "batch_size"), [(1, 10), (0, 10), (10, 1)])
def test_a_variance_needs_two_images(n, batch_size):
    model, images = dense_network()
    with pytest.raises(ValueError, match="expected at least 2"):
        refit_batch_norm(model, images[:n], batch_size)


def test_refit_of_an_unchanged_network_keeps_its_accuracy(trained, data):
    copy = ablation.unbinarized(trained)
    refit_batch_norm(copy, data[0].images)
    before, after = (accuracy(model, data[1]) for model in (trained, copy))
    assert before > 0.8
    assert after == pytest.approx(before, abs=0.05)


def test_refit_changes_only_the_averages(trained, data):
    copy = ablation.unbinarized(trained)
    refit_batch_norm(copy, data[0].images[:100])
    for ours, theirs in zip(copy.trainable_weights, trained.trainable_weights, strict=True):
        assert np.array_equal(ours.numpy(), theirs.numpy())


def test_unbinarized_uses_the_latent_kernel(trained, data):
    copy = ablation.unbinarized(trained, kernels=["conv_1"], activations=["dense_1_activation"])
    assert ablation.quantized_layers(copy) == (["dense_1", "dense_2"], ["conv_1_activation"])
    kernel = copy.get_layer("conv_1").quantized_kernel()
    assert np.array_equal(kernel, trained.get_layer("conv_1").kernel)
    x = np.linspace(-2, 2, 9, dtype=np.float32)
    assert np.array_equal(copy.get_layer("dense_1_activation")(x), np.clip(x, -1, 1))
    same = ablation.unbinarized(trained)
    images = data[1].images[:20]
    assert np.array_equal(same.predict(images, verbose=0), trained.predict(images, verbose=0))


def test_unknown_names_are_refused(trained):
    with pytest.raises(
        ValueError, match=r"kernels: expected a list of names among conv_1, .*received 'conv_9'"
    ):
        ablation.unbinarized(trained, kernels=["conv_9"])
    with pytest.raises(ValueError, match=r"kernels: expected a list of names .*received 'conv_1'"):
        ablation.unbinarized(trained, kernels="conv_1")
    with pytest.raises(ValueError, match=r"layers: expected a list of names among conv_1, .*'conv1'"):
        ablation.binarized(trained, ["conv1"])


def test_accuracies_of_all_variants(trained, data):
    before = trained.get_weights()
    rows = ablation.accuracies(trained, data[0].images[:300], data[1])
    names = [(row["what"], row["layer"]) for row in rows]
    assert names == [
        ("kernels", "none"),
        ("kernels", "conv_1"),
        ("kernels", "dense_1"),
        ("kernels", "dense_2"),
        ("kernels", "convolutions"),
        ("kernels", "all"),
        ("activations", "conv_1_activation"),
        ("activations", "dense_1_activation"),
        ("activations", "all"),
    ]
    assert all(0 <= row[key] <= 1 for row in rows for key in ("stale", "refitted"))
    assert rows[0]["stale"] == accuracy(trained, data[1])
    right = {}
    for name, kernels in (("none", []), ("dense_1", ["dense_1"])):
        copy = ablation.unbinarized(trained, kernels)
        refit_batch_norm(copy, data[0].images[:300])
        right[name] = copy.predict(data[1].images, verbose=0).argmax(axis=1) == data[1].labels
    difference = right["none"].astype(int) - right["dense_1"]
    assert ablation.lost(rows, "kernels", "dense_1") == pytest.approx(difference.mean())
    error = difference.std() / np.sqrt(len(difference))
    assert ablation.error(rows, "kernels", "dense_1") == pytest.approx(error) and error > 0
    assert (
        np.isnan(ablation.error(rows, "kernels", "conv_9")) and ablation.error(rows, "kernels", "none") == 0
    )
    assert all(np.array_equal(a, b) for a, b in zip(before, trained.get_weights(), strict=True))
