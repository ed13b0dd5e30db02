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
from jax.sharding import NamedSharding, PartitionSpec

from bnn.training.distribution import ALONE

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


class Numbers(keras.utils.PyDataset):
    """The numbers of the items of another data set: all that Keras divides among the devices of a team.

    The items themselves are put on the devices by `placed`.

    Args:
        items: list or keras.utils.PyDataset.
        team: Team.
    """

    def __init__(self, items, team):
        super().__init__()
        self.items, self.each = items, team.devices // team.count

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        return (np.full(self.each, number, np.int32),)

    def item(self, numbers):
        """The item of what Keras made of one of these numbers."""
        (number,) = numbers
        return self.items[int(np.asarray(number.addressable_data(0))[0])]

    def on_epoch_end(self):
        """Shuffle for the next epoch."""
        if hasattr(self.items, "on_epoch_end"):
            self.items.on_epoch_end()


def placed(array, team, *axes):
    """Put an array on the devices of a team.

    Args:
        array: array, the same in all processes, of which each copies only what its devices hold.
        team: Team.
        *axes: None or "batch" for the first axes: the one along which the array is divided. No axis: copied whole.
    """
    if team.distribution is None:
        return jax.device_put(array)
    sharding = NamedSharding(team.distribution.device_mesh.backend_mesh, PartitionSpec(*axes))
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def _whole(team):
    """Options of `jax.jit`: all results are copied to all devices of a team."""
    if team.distribution is None:
        return {}
    return {"out_shardings": NamedSharding(team.distribution.device_mesh.backend_mesh, PartitionSpec())}


def install_evaluation(model, images, targets, batch_size, team):
    """Make `model.evaluate` measure all images, of which the devices of a team compute equal shares.

    A rest of fewer images than devices is computed by all of them.

    Args:
        model: compiled keras.Model.
        images: (n, ...) array.
        targets: (n, classes) array.
        batch_size: int, the largest number of images per batch; a multiple of the devices at most this is taken.
        team: Team.

    Returns:
        Numbers, the validation data for `model.fit`.
    """
    devices, n = team.devices, len(images)
    size, whole = max(1, batch_size // devices) * devices, n // devices * devices
    bounds = [(start, min(start + size, whole)) for start in range(0, whole, size)]
    numbers = Numbers(bounds + ([(whole, n)] if whole < n else []), team)
    step = jax.jit(model.test_step, donate_argnums=0, **_whole(team))

    def test_function(state, iterator):
        start, stop = numbers.item(next(iterator))
        axes = () if (stop - start) % devices else ("batch",)
        return step(state, (*(placed(part[start:stop], team, *axes) for part in (images, targets)), None))

    model.test_function = test_function
    return numbers


def install(model, split, targets, rate, deterministic=False, team=ALONE):
    """Make `model.fit` accept `Chunks`, and train on all steps of a chunk in one compiled call.

    A step is Keras's own `train_step`. After a step whose mean loss is not finite nothing changes any more, so the
    optimizer's count of steps shows which step it was.

    Args:
        model: compiled keras.Model.
        split: Split, the training images.
        targets: (n, classes) float32 array.
        rate: function from a step, counted from 0, to its learning rate.
        deterministic: bool, whether results are equal bit for bit in every run, also on a GPU.
        team: Team; every device holds all images, and takes its share of each batch from them.

    Returns:
        Function from Batches of the split to what `model.fit` uses instead: Chunks, or their Numbers.
    """
    # Keras creates the variables of metrics when it sees targets, which chunks do not have.
    each = team.devices // team.count
    model.evaluate(split.images[:each], targets[:each], verbose=0)
    images, targets = placed(split.images, team), placed(targets, team)
    names = [variable.name for variable in model.optimizer.variables]
    count, learning_rate = names.index("iteration"), names.index("learning_rate")

    options = {"xla_gpu_deterministic_ops": True} if deterministic else {}

    @functools.partial(jax.jit, donate_argnums=0, compiler_options=options, **_whole(team))
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

    current = []

    def train_function(state, chunks):
        (places,) = current[0].item(next(chunks)) if current else next(chunks)
        first = int(state[2][count])
        rates = np.float32([rate(first + i) for i in range(len(places[0]))])
        if current:
            places = tuple(placed(part, team, None, "batch") for part in places)
        return run(state, images, targets, rates, places)

    def feed(batches):
        chunks = Chunks(batches, STEPS_PER_CALL)
        if team.distribution is None:
            return chunks
        current[:] = [Numbers(chunks, team)]
        return current[0]

    model.train_function = train_function
    return feed
