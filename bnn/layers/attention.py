"""The layers of transformers that have no kernel: the table of tokens and positions, and causal attention."""

import math

import keras
from keras import ops

from bnn.layers.quantized import positive

START = 0.02  # standard deviation of the initial vectors, as in GPT-2


@keras.saving.register_keras_serializable("bnn")
class TokenAndPositionEmbedding(keras.Layer):
    """The sum of two learned vectors: of each token, and of its position.

    Input (..., steps), whole numbers from 0 to tokens - 1; output (..., steps, width).

    Args:
        tokens: int, number of different tokens.
        width: int, length of the vectors.

    Raises:
        ValueError: a number is not a positive whole number.
    """

    def __init__(self, tokens, width, **kwargs):
        super().__init__(**kwargs)
        self.tokens, self.width = positive("tokens", tokens), positive("width", width)

    def build(self, input_shape):
        """Create both tables."""
        for name, count in (("of_tokens", self.tokens), ("of_positions", input_shape[-1])):
            table = self.add_weight(
                name=name,
                shape=(count, self.width),
                initializer=keras.initializers.RandomNormal(stddev=START),
            )
            setattr(self, name, table)

    def call(self, inputs):
        """Return the sums."""
        return ops.take(self.of_tokens, ops.cast(inputs, "int32"), axis=0) + self.of_positions

    def compute_output_shape(self, input_shape):
        """Return (..., steps, width)."""
        return (*input_shape, self.width)

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {"tokens": self.tokens, "width": self.width}


@keras.saving.register_keras_serializable("bnn")
class CausalAttention(keras.Layer):
    """Attention of every position to itself and those before it [1]_, without weights.

    The features of query, key and value are divided among the heads. Each head gives the mean of the values, weighted
    by softmax(q . k / sqrt(features of a head)) in float32.

    Inputs: query, key and value, (batch, steps, width) each; output (batch, steps, width).

    Args:
        heads: int, which divides the width.

    Raises:
        ValueError: heads is not a positive whole number, or does not divide the width.

    References:
        .. [1] Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762.
    """

    def __init__(self, heads, **kwargs):
        super().__init__(**kwargs)
        self.heads = positive("heads", heads)

    def build(self, query_shape, key_shape, value_shape):
        """Check that the heads divide the width."""
        if query_shape[-1] % self.heads:
            raise ValueError(
                f"{self.name}: expected a width that {self.heads} heads divide, received {query_shape[-1]}"
            )

    def call(self, query, key, value):
        """Return the weighted means of the values."""
        steps, width = query.shape[-2:]
        query, key, value = (self._split(x, steps, width) for x in (query, key, value))
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) / math.sqrt(width // self.heads)
        later = ops.triu(ops.ones((steps, steps), "bool"), 1)
        weights = ops.softmax(ops.where(later, -math.inf, ops.cast(scores, "float32")))
        means = ops.matmul(ops.cast(weights, value.dtype), value)
        return ops.reshape(ops.transpose(means, (0, 2, 1, 3)), (-1, steps, width))

    def _split(self, x, steps, width):
        """(batch, steps, width) as (batch, heads, steps, features of a head)."""
        return ops.transpose(ops.reshape(x, (-1, steps, self.heads, width // self.heads)), (0, 2, 1, 3))

    def compute_output_shape(self, query_shape, key_shape, value_shape):
        """Return the query's shape."""
        return query_shape

    def get_config(self):
        """Return the arguments of the constructor."""
        return super().get_config() | {"heads": self.heads}
