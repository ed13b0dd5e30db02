"""Recurrent layers with quantized kernels, and a quantized state where a kernel multiplies it."""

import math

import keras
from keras import ops
from keras.src import backend as keras_backend

from bnn.layers import quantizers
from bnn.layers.latent import LatentKernel
from bnn.layers.quantized import Quantizing, WeightClip, positive

QUANTIZERS = ("kernel_quantizer", "recurrent_kernel_quantizer", "state_quantizer")


class QuantCell(Quantizing):
    """One step of a recurrent layer; `gates` kernels of `units` outputs each stand side by side in both kernels.

    Args:
        units: int, the size of the state.
        kernel_quantizer, recurrent_kernel_quantizer: quantizers of the kernels that multiply the inputs and the state,
            as for `QuantDense`; None: the latent kernel itself multiplies.
        state_quantizer: quantizer of the state where the recurrent kernel multiplies it, as for `QuantActivation`, but
            None means the state itself. The state that a step keeps is real.
        activation, recurrent_activation: of the candidate and of the gates, as in Keras.
        use_bias: bool.
        kernel_initializer, recurrent_initializer, bias_initializer: as in Keras.
        clip: float > 0, largest absolute value of the latent weights of both kernels, see `WeightClip`.
        scaled: bool, whether the sums of each kernel are divided by the square root of their number of terms. Sums of
            signs would leave the range in which the gates change.

    Raises:
        ValueError: units is not a positive whole number, clip is not positive, a quantizer is neither a name nor
            callable, or the quantizer of the state draws random numbers.
    """

    gates = 1
    bias_rows = 1

    def __init__(
        self,
        units,
        kernel_quantizer=None,
        recurrent_kernel_quantizer=None,
        state_quantizer=None,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        clip=1.0,
        scaled=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = self.state_size = self.output_size = positive("units", units)
        self.kernel_quantizer = quantizers.get(kernel_quantizer)
        self.recurrent_kernel_quantizer = quantizers.get(recurrent_kernel_quantizer)
        self.state_quantizer = quantizers.get(state_quantizer, "state_quantizer")
        if hasattr(self.state_quantizer, "seed_generator"):
            name = type(self.state_quantizer).__name__
            raise ValueError(f"state_quantizer: expected one without random numbers, received {name}")
        self.activation = keras.activations.get(activation)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.use_bias, self.scaled = bool(use_bias), bool(scaled)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_clip = WeightClip(clip)
        self.seed_generator = getattr(self.kernel_quantizer, "seed_generator", None)
        self.recurrent_seed_generator = getattr(self.recurrent_kernel_quantizer, "seed_generator", None)

    def build(self, input_shape):
        """Create the latent kernels and the bias."""
        width = self.gates * self.units
        self.kernel = self._kernel("kernel", (input_shape[-1], width), self.kernel_initializer)
        self.recurrent_kernel = self._kernel(
            "recurrent_kernel", (self.units, width), self.recurrent_initializer
        )
        shape = (width,) if self.bias_rows == 1 else (self.bias_rows, width)
        self.bias = (
            self.add_weight(name="bias", shape=shape, initializer=self._initial_bias)
            if self.use_bias
            else None
        )

    def _kernel(self, name, shape, initializer):
        # Without autocast: bfloat16 would round a weight just above the threshold to the threshold.
        kernel = self.add_weight(
            name=name, shape=shape, initializer=initializer, constraint=self.kernel_clip, autocast=False
        )
        kernel.binary = (
            getattr(getattr(self, f"{name}_quantizer"), "levels", None) == 2
        )  # for `optimizers.Bop`
        return kernel

    def _initial_bias(self, shape, dtype=None):
        return self.bias_initializer(shape, dtype)

    def quantized_kernels(self, training=False):
        """The two kernels that the layer multiplies by, in its compute dtype."""
        return tuple(
            ops.cast(kernel, self.compute_dtype)
            if quantizer is None
            else self._apply(quantizer, kernel, self.compute_dtype, training)
            for kernel, quantizer in (
                (self.kernel, self.kernel_quantizer),
                (self.recurrent_kernel, self.recurrent_kernel_quantizer),
            )
        )

    def of_inputs(self, inputs, kernel):
        """The products of (..., features) inputs with a kernel, and the bias: (..., gates x units)."""
        sums = self._product(inputs, kernel)
        return sums if self.bias is None else sums + self._biases()[0]

    def multiplied(self, state):
        """The (n, units) state as the recurrent kernel multiplies it."""
        if self.state_quantizer is None:
            return state
        return self._apply(self.state_quantizer, state, state.dtype, False)

    def of_state(self, state, kernel):
        """The products of the (n, units) state with the recurrent kernel."""
        return self._product(self.multiplied(state), kernel)

    def _product(self, values, kernel):
        sums = ops.matmul(values, kernel)
        return sums * (1 / math.sqrt(kernel.shape[0])) if self.scaled else sums

    def _biases(self):
        return [self.bias] if self.bias_rows == 1 else [self.bias[row] for row in range(self.bias_rows)]

    def step(self, sums, states, kernel):
        """Return (output, states) after a step, from the sums of the inputs and the recurrent kernel."""
        raise NotImplementedError

    def call(self, inputs, states, training=False):
        """Return (output, states) after a step: (n, units), and a list of (n, units)."""
        kernel, recurrent_kernel = self.quantized_kernels(training)
        return self.step(self.of_inputs(inputs, kernel), states, recurrent_kernel)

    def get_initial_state(self, batch_size=None):
        """The states before the first step: zeros."""
        return [ops.zeros((batch_size, self.units), self.compute_dtype) for _ in _flat(self.state_size)]

    def get_config(self):
        """Return the arguments of the constructor."""
        saved = {name: getattr(self, name) for name in QUANTIZERS}
        functions = {name: keras.activations.serialize(getattr(self, name)) for name in ACTIVATIONS}
        initial = {name: keras.initializers.serialize(getattr(self, name)) for name in INITIALIZERS}
        return (
            super().get_config()
            | {"units": self.units, "use_bias": self.use_bias, "clip": self.kernel_clip.limit, "scaled": self.scaled}
            | {name: value and keras.saving.serialize_keras_object(value) for name, value in saved.items()}
            | functions
            | initial
        )  # fmt: skip


ACTIVATIONS = ("activation", "recurrent_activation")
INITIALIZERS = ("kernel_initializer", "recurrent_initializer", "bias_initializer")
OF_CELL = (*QUANTIZERS, *ACTIVATIONS, *INITIALIZERS, "use_bias", "clip", "scaled")


@keras.saving.register_keras_serializable("bnn")
class QuantLSTMCell(QuantCell):
    """Keras's LSTMCell with quantized kernels; arguments and errors are those of `QuantCell`.

    The gates are, in the order of the kernels' columns, input, forget, candidate and output. The bias of the forget
    gate starts at 1.
    """

    gates = 4

    def __init__(self, units, *args, **kwargs):
        super().__init__(units, *args, **kwargs)
        self.state_size = [self.units, self.units]

    def _initial_bias(self, shape, dtype=None):
        bias = self.bias_initializer(shape, dtype)
        forget = ops.ones((self.units,), dtype)
        return ops.concatenate([bias[: self.units], forget, bias[2 * self.units :]])

    def step(self, sums, states, kernel):
        """See `QuantCell.step`."""
        state, carry = states
        enter, forget, candidate, leave = ops.split(sums + self.of_state(state, kernel), 4, axis=-1)
        gate = self.recurrent_activation
        carry = gate(forget) * carry + gate(enter) * self.activation(candidate)
        state = gate(leave) * self.activation(carry)
        return state, [state, carry]


@keras.saving.register_keras_serializable("bnn")
class QuantGRUCell(QuantCell):
    """Keras's GRUCell with quantized kernels; arguments and errors are those of `QuantCell`.

    The gates are, in the order of the kernels' columns, update, reset and candidate. The reset gate acts after the
    product, as by default in Keras, so that both kernels have a bias.
    """

    gates = 3
    bias_rows = 2

    def step(self, sums, states, kernel):
        """See `QuantCell.step`."""
        state = _flat(states)[0]
        products = self.of_state(state, kernel)
        if self.bias is not None:
            products = products + self._biases()[1]
        (x_update, x_reset, x_candidate), (h_update, h_reset, h_candidate) = (
            ops.split(part, 3, axis=-1) for part in (sums, products)
        )
        update = self.recurrent_activation(x_update + h_update)
        reset = self.recurrent_activation(x_reset + h_reset)
        candidate = self.activation(x_candidate + reset * h_candidate)
        state = update * state + (1 - update) * candidate
        return state, [state]


def _flat(states):
    return states if isinstance(states, list | tuple) else [states]


def _of_the_cell(name):
    """A property of a layer that is an attribute of its cell."""
    return property(
        lambda layer: getattr(layer.cell, name), lambda layer, value: setattr(layer.cell, name, value)
    )


class QuantRecurrent(keras.layers.RNN):
    """A recurrent layer whose kernels are quantized once per batch, and multiply the inputs of all steps at once.

    Args:
        units: int, the size of the state.
        *args: further arguments of the cell, in its order.
        **kwargs: arguments of the cell by name, and those of `keras.layers.RNN`: `return_sequences`, `return_state`,
            `go_backwards`, `stateful`, `unroll` and `zero_output_for_mask`.

    Raises:
        ValueError: as for `QuantCell`; when the layer is built: the sequences have no steps.
    """

    cell_class = QuantCell
    kernel_quantizer, recurrent_kernel_quantizer, state_quantizer = map(_of_the_cell, QUANTIZERS)

    def __init__(self, units, *args, **kwargs):
        own = {name: kwargs.pop(name) for name in OF_CELL if name in kwargs}
        own |= {name: kwargs[name] for name in ("dtype", "trainable") if name in kwargs}
        super().__init__(self.cell_class(units, *args, name="cell", **own), **kwargs)

    @property
    def units(self):
        """The size of the state."""
        return self.cell.units

    def build(self, sequences_shape, initial_state_shape=None):
        """Create the weights of the cell."""
        if len(sequences_shape) != 3 or sequences_shape[1] == 0:
            raise ValueError(
                f"{self.name}: expected sequences (n, steps, features) of at least one step, "
                f"received the shape {tuple(sequences_shape)}"
            )
        super().build(sequences_shape, initial_state_shape)

    def latent_kernels(self):
        """Return the two of the cell; see `bnn.layers.latent_kernels`."""
        cell = self.cell
        return (
            LatentKernel("kernel", cell.kernel, cell.kernel_quantizer),
            LatentKernel("recurrent_kernel", cell.recurrent_kernel, cell.recurrent_kernel_quantizer),
        )

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Step through the sums of the inputs; Keras's `RNN` calls this."""
        kernel, recurrent_kernel = self.cell.quantized_kernels(training)
        return keras_backend.rnn(
            lambda sums, states: self.cell.step(sums, states, recurrent_kernel),
            self.cell.of_inputs(sequences, kernel),
            _flat(initial_state),
            go_backwards=self.go_backwards,
            mask=mask,
            unroll=self.unroll,
            input_length=sequences.shape[1],
            zero_output_for_mask=self.zero_output_for_mask,
            return_all_outputs=self.return_sequences,
        )

    def get_config(self):
        """Return the arguments of the constructor."""
        config, cell = super().get_config(), self.cell.get_config()
        del config["cell"]
        return config | {"units": self.units} | {name: cell[name] for name in OF_CELL}

    @classmethod
    def from_config(cls, config):
        """Make a layer from what `get_config` returned."""
        return super(keras.layers.RNN, cls).from_config(config)


@keras.saving.register_keras_serializable("bnn")
class QuantLSTM(QuantRecurrent):
    """Keras's LSTM with quantized kernels, see `QuantLSTMCell`; arguments and errors are those of `QuantRecurrent`."""

    cell_class = QuantLSTMCell


@keras.saving.register_keras_serializable("bnn")
class QuantGRU(QuantRecurrent):
    """Keras's GRU with quantized kernels, see `QuantGRUCell`; arguments and errors are those of `QuantRecurrent`."""

    cell_class = QuantGRUCell
