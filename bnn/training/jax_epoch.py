"""Training on JAX: the images stay on the device, and one compiled call runs many steps.

Keras's own `fit` copies a batch to the device and waits for it, once a step. That costs milliseconds of Python, as
much as a large GPU needs for a step of the paper's network. Here `fit` still drives epochs, callbacks and validation,
but its batch is a chunk: the places of the pixels of some hundred steps.
"""

import functools
import math

import jax
import jax.numpy as jnp
import keras
import numpy as np

# Between two calls the device waits for some milliseconds of Python; a signal waits for the end of one.
STEPS_PER_CALL = 250


def worthwhile():
    """Whether there is an accelerator; a processor's steps are long, and XLA's convolutions slower there in a loop."""
    return jax.default_backend() != "cpu"


class Chunks(keras.utils.PyDataset):
    """The places of an epoch's batches, some steps at a time: int32 arrays whose first axis are the steps.

    All chunks are equally long, so that they are compiled once;
    the last one of an epoch is filled up with places of -1.

    Args:
        batches: Batches.
        most: int, steps of a chunk at most.
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
        rate: function from a step, counted from 0 for the training's first, to its learning rate.
        deterministic: the same bits on every run, on a GPU too.

    Returns:
        Function from Batches of the split to what `model.fit` takes in their place.
    """
    # Keras makes the metrics' variables where it sees targets, and chunks have none.
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
