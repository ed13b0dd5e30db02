"""Training on JAX: the images stay on the device, and one compiled call runs many steps.

In every step, Keras's own `fit` copies a batch to the device and waits for it. This costs milliseconds of Python, as
much as a large GPU needs for a step of the paper's network. Here `fit` still runs epochs, callbacks and validation, but
its batch is a chunk: the indices of the pixels of some hundred steps.
"""

import functools
import math

import jax
import jax.numpy as jnp
import keras
import numpy as np

# Between two calls the device waits some milliseconds for Python; a signal waits until a call ends.
STEPS_PER_CALL = 250


def worthwhile():
    """Whether there is an accelerator; on a CPU steps take long, and XLA's convolutions are slower in a loop."""
    return jax.default_backend() != "cpu"


class Chunks(keras.utils.PyDataset):
    """The indices of an epoch's batches, several steps at a time: int32 arrays whose first axis is the step.

    All chunks have the same length, so that the code is compiled once; the last chunk of an epoch is padded with -1.

    Args:
        batches: Batches.
        most: int, maximum number of steps per chunk.
    """

    def __init__(self, batches, most):
        super().__init__()
        self.batches = batches
        whole = batches.first_step + len(batches)
        self.steps = math.ceil(whole / math.ceil(whole / most))

    def __len__(self):
        return math.ceil(len(self.batches) / self.steps)

    def __getitem__(self, chunk):
        steps = range(len(self.batches))[chunk * self.steps : (chunk + 1) * self.steps]
        places = zip(*(self.batches.places(step) for step in steps), strict=True)
        return (tuple(self._filled_up(np.stack(arrays)) for arrays in places),)

    def _filled_up(self, array):
        rest = np.full((self.steps - len(array), *array.shape[1:]), -1)
        return np.concatenate([array, rest]).astype(np.int32)

    def on_epoch_end(self):
        """Shuffle for the next epoch."""
        self.batches.on_epoch_end()


def install(model, split, targets, rate, deterministic=False):
    """Make `model.fit` accept `Chunks`, and train on all steps of a chunk in one compiled call.

    A step is Keras's own `train_step`. After a step whose mean loss is not finite nothing changes any more, so the
    optimizer's count of steps shows which step it was.

    Args:
        model: compiled keras.Model.
        split: Split, the training images.
        targets: (n, classes) float32 array.
        rate: function from a step, counted from 0, to its learning rate.
        deterministic: bool, whether results are equal bit for bit in every run, also on a GPU.

    Returns:
        Function from Batches of the split to the Chunks that `model.fit` uses instead.
    """
    # Keras creates the variables of metrics when it sees targets, which chunks do not have.
    model.evaluate(split.images[:1], targets[:1], verbose=0)
    images, targets = jax.device_put((split.images, targets))
    names = [variable.name for variable in model.optimizer.variables]
    count, learning_rate = names.index("iteration"), names.index("learning_rate")

    options = {"xla_gpu_deterministic_ops": True} if deterministic else {}

    @functools.partial(jax.jit, donate_argnums=0, compiler_options=options)
    def run(state, images, targets, rates, places):
        def step(carry, inputs):
            (weights, others, optimizer, metrics), logs = carry
            rate, places = inputs
            index = places[0].reshape(-1)
            optimizer = [*optimizer]
            optimizer[learning_rate] = rate
            batch = images[places], targets[index]
            new_logs, new_state = model.train_step((weights, others, optimizer, metrics), batch)
            go_on = (index[0] >= 0) & jnp.isfinite(logs["loss"])
            return jax.tree.map(functools.partial(jnp.where, go_on), (new_state, new_logs), carry), None

        logs = dict.fromkeys(("accuracy", "loss"), jnp.float32(0))
        (state, logs), _ = jax.lax.scan(step, (state, logs), (rates, places))
        return logs, state

    def train_function(state, chunks):
        (places,) = next(chunks)
        first = int(state[2][count])
        rates = np.float32([rate(first + i) for i in range(len(places[0]))])
        return run(state, images, targets, rates, places)

    model.train_function = train_function
    return lambda batches: Chunks(batches, STEPS_PER_CALL)
