"""Fit a network: loss, learning rate, shuffled batches, and going on where the last checkpoint ends."""

import keras
import numpy as np

from bnn.analysis import GeometryLogger
from bnn.datasets.augmentation import windows
from bnn.layers import Adam
from bnn.runs import CLASSES
from bnn.training.journal import Journal

if keras.backend.backend() == "jax":
    from bnn.training import jax_epoch
else:
    jax_epoch = None

EVALUATION_BATCH = 500
GEOMETRY_IMAGES = 50  # the statistics are over positions and units too


def compile_model(model, config):
    """Give a network the paper's loss and optimizer: Adam with gradients clipped by value to +-1.

    Args:
        model: keras.Model.
        config: TrainConfig.
    """
    losses = {
        # Keras turns the 0/1 of one-hot targets into -1/+1 for hinge losses.
        "hinge-loss": keras.losses.SquaredHinge(),
        "softmax": keras.losses.CategoricalCrossentropy(from_logits=True),
    }
    optimizer = Adam(config.lr_start, epsilon=1e-8, clipvalue=1.0)
    model.compile(optimizer, losses[config.loss_mode], metrics=["accuracy"])


class Batches(keras.utils.PyDataset):
    """The batches of an epoch, in an order that depends on seed and epoch alone.

    Images that do not fill a last batch are left out; each epoch leaves out others. How a batch is augmented
    depends on seed, epoch and step alone.

    Args:
        split: Split.
        batch_size: int.
        seed: int.
        epoch: int, 0 for the first.
        first_step: int, steps of this first epoch to leave out.
        augmentation: "none", "crops" or "flips-and-crops".
    """

    def __init__(self, split, batch_size, seed, epoch=0, first_step=0, augmentation="none"):
        super().__init__()
        self.split, self.batch_size, self.seed = split, batch_size, seed
        self.first_step, self.augmentation = first_step, augmentation
        self.targets = one_hot(split.labels)
        self._shuffle(epoch)

    def _shuffle(self, epoch):
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.split))

    def __len__(self):
        return len(self.split) // self.batch_size - self.first_step

    def places(self, step):
        """Where the batch's pixels are: `split.images[places]` are its images, and the first array tells which."""
        step += self.first_step
        index = self.order[step * self.batch_size : (step + 1) * self.batch_size]
        if self.augmentation == "none":
            return (index,)
        # The order's random numbers come from the same seed and epoch without a key.
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, self.epoch], spawn_key=[step]))
        size = self.split.images.shape[1:3]
        return index[:, None, None], *windows(len(index), *size, rng, "flips" in self.augmentation)

    def __getitem__(self, step):
        places = self.places(step)
        return self.split.images[places], self.targets[places[0].ravel()]

    def on_epoch_end(self):
        self._shuffle(self.epoch + 1)


def one_hot(labels):
    """Labels (n,) to targets (n, 10) float32."""
    return np.eye(CLASSES, dtype=np.float32)[labels]


def train(model, run, data_set, tensorboard=False):
    """Train a compiled network from the step that its optimizer has reached to the end.

    Args:
        model: keras.Model, as built and compiled or as loaded from the run's last checkpoint.
        run: Run, whose log and checkpoints are kept.
        data_set: DataSet.
        tensorboard: write events to the run directory.

    Raises:
        Interrupted: SIGINT or SIGTERM came; everything up to the last step is saved.
        RunError: loss, validation loss or weights are no longer finite.
    """
    config = run.training
    steps = len(data_set.train) // config.batch_size
    epoch, first_step = divmod(int(model.optimizer.iterations), steps)
    validation = (data_set.validation.images, one_hot(data_set.validation.labels))
    journal = Journal(run, steps, epoch, first_step)
    schedule = RateSchedule(config, steps)
    callbacks = [
        schedule,
        *([keras.callbacks.TensorBoard(run.folder / "tensorboard")] if tensorboard else []),
        journal,
    ]
    if config.log_geometry:
        callbacks.insert(0, RunGeometry(journal, data_set.validation.images, tensorboard))
    feed = lambda batches: batches  # noqa: E731
    if jax_epoch is not None and jax_epoch.worthwhile():
        targets = one_hot(data_set.train.labels)
        feed = jax_epoch.install(model, data_set.train, targets, schedule.rate, config.deterministic)
    with journal:
        while epoch < config.epochs:
            last = epoch + 1 if first_step else config.epochs
            batches = Batches(
                data_set.train, config.batch_size, config.seed, epoch, first_step, config.augment
            )
            model.fit(feed(batches), validation_data=validation, validation_batch_size=EVALUATION_BATCH, epochs=last,
                      initial_epoch=epoch, callbacks=callbacks, shuffle=False, verbose=0)  # fmt: skip
            epoch, first_step = last, 0


class RateSchedule(keras.callbacks.Callback):
    """Gives every step its learning rate."""

    def __init__(self, config, steps):
        super().__init__()
        self.config, self.steps = config, steps

    def rate(self, step):
        """The rate of step 0, 1, ... of the training."""
        epoch, step = divmod(step, self.steps)
        return self.config.learning_rate(epoch, (step + 1) / self.steps)

    def on_train_batch_begin(self, batch, logs=None):
        optimizer = self.model.optimizer
        optimizer.learning_rate = self.rate(int(optimizer.iterations))


class RunGeometry(GeometryLogger):
    """A run's geometry.csv, which goes on exactly, in the middle of an epoch too.

    Its place is before the journal, so that no checkpoint is ahead of the file.

    Args:
        journal: Journal, which knows with which kernels an interrupted epoch began.
        images: uint8 array of validation images, of which the first `GEOMETRY_IMAGES` are used.
        tensorboard: write events to the run directory.
    """

    def __init__(self, journal, images, tensorboard):
        folder = journal.run.folder
        super().__init__(
            images[:GEOMETRY_IMAGES],
            folder / "geometry.csv",
            journal.run.training.log_geometry,
            folder / "tensorboard" / "geometry" if tensorboard else None,
        )
        self.journal = journal

    def starts_anew(self, epoch):
        return int(self.model.optimizer.iterations) == 0

    def kernels_at_start(self):
        return self.journal.kernels
