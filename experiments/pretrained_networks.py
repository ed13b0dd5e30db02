"""Three networks that others trained, rebuilt from Keras layers: edge maps by VGG-16, a voice detector, a text encoder.

Each function takes the arrays of the published file, a dict by their names there, and gives a Keras model with them.
The sizes are those of the arrays.

References:
    .. [1] Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014,
       arXiv:1409.1556 (VGG-16).
    .. [2] Xie & Tu, "Holistically-Nested Edge Detection", ICCV 2015, arXiv:1504.06375.
    .. [3] Silero Team, "Silero VAD", 2024, github.com/snakers4/silero-vad.
    .. [4] Wang et al., "MiniLM", NeurIPS 2020, arXiv:2002.10957; Reimers & Gurevych, "Sentence-BERT", EMNLP 2019,
       arXiv:1908.10084 (all-MiniLM-L6-v2).
"""

import json

import keras
import numpy as np
from keras import ops

BLOCKS = (2, 2, 3, 3, 3)  # convolutions in each block of VGG-16
SHRINKING = (1, 2, 2, 1)  # strides of the voice detector's convolutions
HEAD = 32  # entries of a head of attention


# ---- files ----


def read_h5(file):
    """The arrays of a file of Keras weights, a dict by their paths."""
    import h5py

    found = {}
    with h5py.File(file) as arrays:
        arrays.visititems(lambda name, item: found.update({name: item[()]} if hasattr(item, "shape") else {}))
    return found


def read_safetensors(file):
    """The float32 arrays of a safetensors file: eight bytes of length, a header of JSON, then the numbers."""
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    numbers, found = file.read(), {}
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            found[name] = np.frombuffer(numbers[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
    return found


def random_weights(network):
    """Random arrays for a small copy of a network, by its name; their names are those of the published file."""
    rng, found = np.random.default_rng(0), {}

    def add(name, *shape):
        found[name] = (rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]) or 1)).astype(np.float32)

    if network == "vgg-16":
        channels = 3
        for block, depth in enumerate(BLOCKS, start=1):
            for i in range(depth):
                place, units = f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars", 3 + block
                add(f"{place}/0", 3, 3, channels, units)
                add(f"{place}/1", units)
                channels = units
            add(f"dsn{block}/vars/0", 1, 1, channels, 1)
            add(f"dsn{block}/vars/1", 1)
        add("fuse/vars/0", 1, 1, len(BLOCKS), 1)
        add("fuse/vars/1", 1)
    elif network == "silero-vad":
        add("stft_conv.weight", 10, 1, 256)
        for i, (units, channels) in enumerate(((6, 5), (4, 6), (5, 4), (6, 5)), start=1):
            add(f"conv{i}.weight", units, channels, 3)
            add(f"conv{i}.bias", units)
        for part in ("ih", "hh"):
            add(f"lstm_cell.weight_{part}", 24, 6)
            add(f"lstm_cell.bias_{part}", 24)
        add("final_conv.weight", 1, 6, 1)
        add("final_conv.bias", 1)
    else:
        width = 2 * HEAD
        for kind, length in (("word", 40), ("position", 16), ("token_type", 2)):
            add(f"embeddings.{kind}_embeddings.weight", length, width)
        norms, matrices = ["embeddings"], []
        for layer in ("encoder.layer.0", "encoder.layer.1"):
            norms += [f"{layer}.attention.output", f"{layer}.output"]
            matrices += [
                (f"{layer}.attention.self.{part}", width, width) for part in ("query", "key", "value")
            ]
            matrices += [(f"{layer}.attention.output.dense", width, width)]
            matrices += [(f"{layer}.intermediate.dense", 96, width), (f"{layer}.output.dense", width, 96)]
        for place in norms:
            add(f"{place}.LayerNorm.weight", width)
            add(f"{place}.LayerNorm.bias", width)
        for place, units, inputs in matrices:
            add(f"{place}.weight", units, inputs)
            add(f"{place}.bias", units)
    return found


def with_weights(model, arrays):
    """Give the layers of a model their weights.

    Args:
        model: keras.Model.
        arrays: dict from the name of each layer with weights to the list of its arrays, in the order of `weights`.

    Returns:
        The model.
    """
    for name, values in arrays.items():
        model.get_layer(name).set_weights(values)
    return model


# ---- VGG-16 with an edge map from every block ----


def edge_network(weights):
    """Build VGG-16 with five side outputs [2]_.

    Its inputs are (n, height, width, 3) photographs: blue, green and red minus `pretrained_data.BGR_MEANS`; the sizes
    are multiples of 16. Its outputs are (n, height, width, 1) logits of an edge.
    """
    image = keras.Input((None, None, 3), name="image")
    x, sides, arrays = image, [], {}

    def convolution(name, place, size, **options):
        arrays[name] = [weights[f"{place}/vars/0"], weights[f"{place}/vars/1"]]
        units = arrays[name][0].shape[-1]
        return keras.layers.Conv2D(units, size, padding="same", name=name, **options)

    for block, depth in enumerate(BLOCKS, start=1):
        if block > 1:
            x = keras.layers.MaxPooling2D(2, padding="same")(x)
        for i in range(depth):
            place = f"block{block}/layers/conv2d{f'_{i}' if i else ''}"
            x = convolution(f"block{block}_conv{i + 1}", place, 3, activation="relu")(x)
        side = convolution(f"side_{block}", f"dsn{block}", 1)(x)
        enlarged = keras.layers.UpSampling2D(2 ** (block - 1), interpolation="bilinear")
        sides.append(enlarged(side) if block > 1 else side)
    edges = convolution("fuse", "fuse", 1)(keras.layers.Concatenate()(sides))
    return with_weights(keras.Model(image, edges, name="vgg-16"), arrays)


# ---- a voice detector: spectrum, four convolutions, an LSTM ----


def voice_detector(weights):
    """Build Silero VAD for 16 kHz [3]_.

    Its inputs are (n, frames, samples, 1) frames of sound, see `pretrained_data.frames`. Its outputs are (n, frames, 1)
    logits of speech. Axis 1, time from frame to frame, is only seen by the LSTM; the convolutions have size 1 on it.
    """
    sound = keras.Input((None, 640, 1), name="sound")
    arrays = {"stft": [_taps(weights["stft_conv.weight"])]}
    basis = arrays["stft"][0].shape
    x = keras.layers.Conv2D(basis[-1], basis[:2], strides=(1, basis[1] // 2), use_bias=False, name="stft")(
        sound
    )
    real, imaginary = ops.split(x, 2, axis=-1)
    x = ops.sqrt(real * real + imaginary * imaginary)
    for i, stride in enumerate(SHRINKING, start=1):
        kernel = _taps(weights[f"conv{i}.weight"])
        x = keras.layers.ZeroPadding2D((0, 1))(x)
        x = keras.layers.Conv2D(
            kernel.shape[-1], (1, 3), strides=(1, stride), activation="relu", name=f"conv_{i}"
        )(x)
        arrays[f"conv_{i}"] = [kernel, weights[f"conv{i}.bias"]]
    x = keras.layers.Reshape((-1, x.shape[-1]))(x)  # one position of each frame is left
    lstm = {part: weights[f"lstm_cell.{part}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    x = keras.layers.LSTM(lstm["weight_hh"].shape[1], return_sequences=True, name="lstm")(x)
    arrays["lstm"] = [lstm["weight_ih"].T, lstm["weight_hh"].T, lstm["bias_ih"] + lstm["bias_hh"]]
    speech = keras.layers.Dense(1, name="speech")(keras.layers.ReLU()(x))
    arrays["speech"] = [weights["final_conv.weight"][:, :, 0].T, weights["final_conv.bias"]]
    return with_weights(keras.Model(sound, speech, name="silero-vad"), arrays)


def _taps(kernel):
    """A kernel (units, channels, taps) of PyTorch as one of Keras on the second of two axes."""
    return np.transpose(kernel, (2, 1, 0))[None]


# ---- a text encoder: six layers of attention ----


@keras.saving.register_keras_serializable("experiments")
class Positions(keras.layers.Layer):
    """Adds a trained vector for each position of a text to (n, length, width) embeddings."""

    def __init__(self, length, **kwargs):
        super().__init__(**kwargs)
        self.length = length

    def build(self, shape):
        """Make the vectors; `shape` is that of the embeddings."""
        self.vectors = self.add_weight(shape=(self.length, shape[-1]), name="vectors")

    def call(self, x):
        """Return embeddings of the same shape."""
        return x + self.vectors[: ops.shape(x)[1]]

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {"length": self.length}


def text_encoder(weights):
    """Build all-MiniLM-L6-v2, a BERT whose outputs are averaged over the text and scaled to length 1 [4]_.

    Its inputs are (n, length) int32 word pieces of texts of one length, see `pretrained_data.Vocabulary`; there is no
    padding, so no mask. Its outputs are (n, width) embeddings.
    """
    table, positions = (weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position"))
    width = table.shape[1]
    arrays = {
        "words": [table],
        "positions": [positions + weights["embeddings.token_type_embeddings.weight"][0]],
    }

    def norm(name, place):
        arrays[name] = [weights[f"{place}.LayerNorm.weight"], weights[f"{place}.LayerNorm.bias"]]
        return keras.layers.LayerNormalization(epsilon=1e-12, name=name)

    def matrix(place):
        return weights[f"{place}.weight"].T, weights[f"{place}.bias"]

    def dense(name, place, **options):
        arrays[name] = list(matrix(place))
        return keras.layers.Dense(arrays[name][0].shape[1], name=name, **options)

    def attention(name, place):
        heads, found = (width // HEAD, HEAD), []
        for part in ("query", "key", "value"):
            kernel, bias = matrix(f"{place}.self.{part}")
            found += [kernel.reshape(width, *heads), bias.reshape(heads)]
        kernel, bias = matrix(f"{place}.output.dense")
        arrays[name] = [*found, kernel.reshape(*heads, width), bias]
        return keras.layers.MultiHeadAttention(*heads, name=name)

    pieces = keras.Input((None,), dtype="int32", name="pieces")
    x = Positions(len(positions), name="positions")(
        keras.layers.Embedding(*table.shape, name="words")(pieces)
    )
    x = norm("norm", "embeddings")(x)
    for i in range(1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer"))):
        place = f"encoder.layer.{i}"
        attended = attention(f"attention_{i + 1}", f"{place}.attention")(x, x)
        x = norm(f"attention_{i + 1}_norm", f"{place}.attention.output")(x + attended)
        wide = dense(f"wide_{i + 1}", f"{place}.intermediate.dense", activation="gelu")(x)
        x = norm(f"narrow_{i + 1}_norm", f"{place}.output")(
            x + dense(f"narrow_{i + 1}", f"{place}.output.dense")(wide)
        )
    embedding = keras.layers.UnitNormalization(name="embedding")(keras.layers.GlobalAveragePooling1D()(x))
    return with_weights(keras.Model(pieces, embedding, name="minilm"), arrays)
