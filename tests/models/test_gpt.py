"""The language model against an independent NumPy forward pass, its gradients, and the text that it writes."""

import functools

import keras
import numpy as np
import pytest
from scipy.special import erf, log_softmax, softmax

import bnn
from bnn.analysis import generation, unbinarized
from bnn.analysis.keras.ablation import quantized_layers
from bnn.commands import predict
from bnn.console.errors import ConfigError
from bnn.layers import CausalAttention, TokenAndPositionEmbedding, latent_kernels
from bnn.models import cross_entropy
from bnn.settings.config import resolve

BLOCKS, HEADS, WIDTH, CONTEXT, CLASSES = 2, 2, 8, 6, 10
SIZES = {
    "network": "gpt",
    "blocks": BLOCKS,
    "heads": HEADS,
    "width": WIDTH,
    "context": CONTEXT,
    "classes": CLASSES,
}
KINDS = {"continuous": {"continuous": True}, "ternary": {}, "binary": {"levels": 2}}
TOKENS = np.random.default_rng(0).integers(0, CLASSES, (3, CONTEXT)).astype(np.uint8)


@functools.cache
def built(kind):
    """A network whose weights are all random numbers, also the scales of its norms."""
    keras.utils.set_random_seed(1)
    model = resolve(SIZES | KINDS[kind]).build()
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if layer.name.endswith("_norm"):
            layer.scale.assign(rng.uniform(0.5, 1.5, layer.scale.shape))
    return model


def weights(model):
    return {variable.path: np.asarray(variable).astype(np.float64) for variable in model.weights}


# ---- the forward pass with NumPy ----


def normed(x, scale):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6) * scale


def bit_linear(x, of, name, kind):
    x, kernel = normed(x, of[f"{name}_norm/scale"]), of[f"{name}/kernel"]
    if kind == "continuous":
        return x @ kernel
    unit = np.abs(x).max(axis=-1, keepdims=True) / 127
    mean = np.abs(kernel).mean()
    if kind == "ternary":
        quantized = np.clip(np.round(kernel / mean), -1, 1)
    else:
        quantized = np.where(kernel >= kernel.mean(), 1, -1)
    return np.round(x / unit) * unit @ (mean * quantized)


def attention(query, key, value):
    found = np.zeros_like(value)
    size = WIDTH // HEADS
    for b in range(len(query)):
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            for t in range(query.shape[1]):
                scores = [query[b, t, part] @ key[b, s, part] / np.sqrt(size) for s in range(t + 1)]
                found[b, t, part] = softmax(scores) @ value[b, : t + 1, part]
    return found


def forward(of, tokens, kind):
    x = of["embedding/of_tokens"][tokens] + of["embedding/of_positions"]
    for number in range(1, BLOCKS + 1):
        name = f"block_{number}"
        parts = [bit_linear(x, of, f"{name}_{part}", kind) for part in ("query", "key", "value")]
        x = x + bit_linear(attention(*parts), of, f"{name}_output", kind)
        y = bit_linear(x, of, f"{name}_up", kind)
        y = y * (1 + erf(y / np.sqrt(2))) / 2
        x = x + bit_linear(y, of, f"{name}_down", kind)
    return normed(x, of["scores_norm/scale"]) @ of["scores/kernel"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_scores_are_those_of_numpy(kind):
    model = built(kind)
    found, expected = np.asarray(model(TOKENS)), forward(weights(model), TOKENS, kind)
    assert found.shape == (3, CONTEXT, CLASSES) and found.dtype == np.float32
    # A value near the middle of two of the 8-bit integers may be rounded the other way in float32.
    np.testing.assert_allclose(found, expected, atol=1e-5 if kind == "continuous" else 0.02)
    assert np.std(expected) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_characters_to_come_have_no_influence(kind):
    other = TOKENS.copy()
    other[:, 4:] = (other[:, 4:] + 3) % CLASSES
    first, second = (np.asarray(built(kind)(tokens)) for tokens in (TOKENS, other))
    np.testing.assert_array_equal(first[:, :4], second[:, :4])
    assert np.abs(first[:, 4:] - second[:, 4:]).max() > 1e-3


def test_gradients_of_the_continuous_network_are_finite_differences():
    """In float64, the loss of the NumPy forward pass along a random direction in all weights."""
    model, labels = built("continuous"), np.roll(TOKENS, -1, axis=1)
    of, rng = weights(model), np.random.default_rng(3)
    directions = {name: rng.standard_normal(value.shape) for name, value in of.items()}

    def loss(step):
        moved = {name: value + step * directions[name] for name, value in of.items()}
        log_p = log_softmax(forward(moved, TOKENS, "continuous"), axis=-1)
        return -np.take_along_axis(log_p, labels[..., None].astype(int), -1).mean()

    expected = (loss(1e-5) - loss(-1e-5)) / 2e-5
    found = sum(
        float(np.sum(gradient * directions[name])) for name, gradient in gradients(model, labels).items()
    )
    assert found == pytest.approx(expected, rel=1e-3)
    assert cross_entropy(model(TOKENS), labels) == pytest.approx(loss(0), rel=1e-5)


def gradients(model, labels):
    """The gradients of the mean loss, a dict from the path of each weight to an array."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        losses = keras.losses.sparse_categorical_crossentropy(labels, model(TOKENS), from_logits=True)
        loss = tf.reduce_mean(losses)
    found = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    pairs = zip(model.trainable_variables, found, strict=True)
    return {variable.path: np.asarray(tf.convert_to_tensor(g), np.float64) for variable, g in pairs}


@pytest.mark.parametrize("kind", ["ternary", "binary"])
def test_quantizers_pass_gradients_as_the_kernel_that_they_give(kind):
    """With quantized kernels in the place of latent ones, the gradients of all kernels are the same."""
    model, labels = built(kind), np.roll(TOKENS, -1, axis=1)
    before = gradients(model, labels)
    layers = [(layer, *latent_kernels(layer)) for layer in model.layers if latent_kernels(layer)]
    kept = [(kernel, np.asarray(kernel.variable).copy(), kernel.quantizer) for _, kernel in layers]
    try:
        for layer, kernel in layers:
            kernel.variable.assign(kernel.quantized())
            layer.kernel_quantizer = None
        after = gradients(model, labels)
    finally:
        for (layer, _), (kernel, latent, quantizer) in zip(layers, kept, strict=True):
            kernel.variable.assign(latent)
            layer.kernel_quantizer = quantizer
    for name, gradient in before.items():
        np.testing.assert_allclose(gradient, after[name], rtol=1e-4, atol=1e-6)


def test_without_its_quantizers_a_network_is_the_continuous_one():
    model = built("ternary")
    copy = unbinarized(model, *quantized_layers(model))
    np.testing.assert_allclose(copy(TOKENS), forward(weights(model), TOKENS, "continuous"), atol=1e-5)


def test_names_kinds_and_kernels():
    model = built("ternary")
    kernels = [layer.name for layer in model.layers if latent_kernels(layer)]
    parts = ("query", "key", "value", "output", "up", "down")
    names = [f"block_{number}_{part}" for number in (1, 2) for part in parts]
    assert sorted(kernels) == sorted([*names, "scores"])
    assert [built(kind).name for kind in KINDS] == list(KINDS)
    layer = bnn.layers.BitLinear(WIDTH)
    layer.build((None, CONTEXT, WIDTH))
    layer.norm.scale.assign(model.get_layer("block_1_query_norm").scale)
    layer.dense.kernel.assign(model.get_layer("block_1_query").kernel)
    x = np.random.default_rng(0).standard_normal((2, CONTEXT, WIDTH)).astype(np.float32)
    found = x
    for name in ("block_1_query_norm", "block_1_query_activation", "block_1_query"):
        found = model.get_layer(name)(found)
    np.testing.assert_array_equal(found, layer(x))


# ---- settings ----


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"data_set": "tiny-shakespeare"}, (3, "absmean", 64, 65)),
        ({"network": "gpt"}, (3, "absmean", 64, 65)),
        ({"network": "gpt", "levels": 2}, (2, "centered_sign", 64, 65)),
        ({"network": "gpt", "estimator": "centered_sign", "context": 32}, (2, "centered_sign", 32, 65)),
        ({"network": "gpt", "input_shape": (16,)}, (3, "absmean", 16, 65)),
        ({"network": bnn.networks.GPT(context=8), "classes": 7}, (3, "absmean", 8, 7)),
        ({"data_set": "tiny-shakespeare", "continuous": True}, (2, "ste", 64, 65)),
    ],
)
def test_settings_follow_from_each_other(given, expected):
    config = resolve(given)
    quantization, inputs = config.quantization, config.inputs
    found = quantization.levels, quantization.estimator, config.network.context, inputs.classes
    assert found == expected and inputs.input_shape == (config.network.context,)
    assert config.training.data_set == "tiny-shakespeare" and config.network.name == "gpt"
    assert config.data_options == {"context": config.network.context}


def test_the_preset_is_that_of_nanogpt():
    config = resolve({"data_set": "tiny-shakespeare"})
    of = config.training
    assert (of.batch_size, of.epochs * of.steps(10**6), of.loss_mode) == (12, 2000, "softmax")
    assert (of.lr_start, of.lr_end, of.schedule, of.weight_decay) == (1e-3, 1e-4, "cosine", 0.0)
    assert vars(config.network) == {"blocks": 4, "heads": 4, "width": 128, "context": 64}
    assert config.network.weights(config.inputs) == 4 * 12 * 128**2 + 128 * 65
    debug = resolve({"data_set": "tiny-shakespeare", "debug": True}).training
    assert (debug.epochs, debug.warmup, debug.steps(500)) == (2, 0, 500 // 12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"network": "vgg", "data_set": "tiny-shakespeare"}, "network: expected one of gpt for the text"),
        ({"data_set": "mnist-5k"}, "network: expected one of vgg, .* for the images of mnist-5k, received 'gpt'"),
        ({"augment": "crops"}, "augment: expected none for the text"),
        ({"optimizer": "bop", "levels": 2}, "optimizer: expected adam for the text"),
        ({"estimator": "ste"}, "estimator: expected one of centered_sign, absmean in the network gpt"),
        ({"levels": 2, "first_layer": "quantized"}, "first_layer: expected real in the network gpt"),
        ({"kernel_quantizer": "absmean"}, "kernel_quantizer: expected None in the network gpt"),
        ({"clip": "glorot"}, "clip: expected a number in the network gpt"),
        ({"heads": 3}, "heads: expected a number that divides the width, 128, received 3"),
        ({"heads": 0}, "heads: expected"),
        ({"blocks": 0}, "blocks: expected 1 to 1000, received 0"),
        ({"context": 0}, "context: expected 1 to 65536, received 0"),
        ({"context": 8, "input_shape": (9,)}, "context: expected 9, the length of the sequences, received 8"),
        ({"classes": 257}, "classes: expected 1 to 256, received 257"),
    ],
)  # fmt: skip
def test_what_a_language_model_cannot_have_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        resolve({"network": "gpt"} | given)


# ---- the layers ----


def test_layers_are_restored_and_refuse_sizes_that_do_not_fit():
    for layer in (CausalAttention(2), TokenAndPositionEmbedding(5, 4)):
        assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
    x = np.zeros((1, 4, 6), np.float32)
    with pytest.raises(ValueError, match="expected a width that 4 heads divide, received 6"):
        CausalAttention(4, name="attention")(x, x, x)
    with pytest.raises(ValueError, match="heads: expected a positive whole number"):
        CausalAttention(0)


# ---- writing ----


def test_characters_are_drawn_with_the_probabilities_of_the_temperature():
    scores, rng = np.log([0.2, 0.5, 0.3]), np.random.default_rng(0)
    for temperature in (0.5, 1, 2):
        drawn = [generation._drawn(scores, temperature, rng) for _ in range(4000)]
        expected = softmax(scores / temperature)
        np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 4000, expected, atol=0.03)
    assert {generation._drawn(scores, 1e-320, rng) for _ in range(10)} == {1}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--characters", "3"], "--characters: expected together with --prompt, received alone"),
        (["x.png", "--prompt", "a"], "--prompt: expected no images with it, received the image x.png"),
        (["--errors", "--prompt", "a"], "--prompt: expected no images with it, received --errors"),
    ],
)
def test_flags_of_images_and_of_text_do_not_mix(flags, message, capsys):
    with pytest.raises(SystemExit):
        predict.main(["run", *flags])
    assert message in capsys.readouterr().err
