"""Fit a network: loss, schedule, shuffles, checkpoints, and going on after an interruption."""

import math
import signal
import sys
import time

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from bnn import atomic
from bnn.augmentation import windows
from bnn.geometry_log import GeometryLogger, flips, quantized_kernels
from bnn.kernels import Adam
from bnn.runs import CLASSES, RunError

if keras.backend.backend() == "jax":
    from bnn import jax_epoch
else:
    jax_epoch = None

EVALUATION_BATCH = 500
GEOMETRY_IMAGES = 50  # the statistics are over positions and units too


class Interrupted(Exception):
    """Training was asked to stop, and has saved.

    Attributes:
        signal: int, SIGINT or SIGTERM.
    """

    def __init__(self, number):
        super().__init__()
        self.signal = number


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


class Journal(keras.callbacks.Callback):
    """Keeps a run directory: log rows, checkpoints, the progress bar, and a save when a signal asks to stop.

    As a context manager it turns SIGINT and SIGTERM into a save after the running step; a second SIGINT stops at once.
    """

    def __init__(self, run, steps, epoch, first_step):
        super().__init__()
        self.run, self.steps, self.first_step = run, steps, first_step
        # Rows of epochs after the checkpoint belong to work that a kill threw away.
        self.rows = [row for row in run.log() if row["epoch"] <= epoch]
        self.signal = None

    def __enter__(self):
        self.handlers = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def _ask_to_stop(self, number, _):
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number

    def on_train_begin(self, logs=None):
        self.partial = self._load_partial()
        self.kernels = self.partial.pop("kernels", None) or quantized_kernels(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()
        self.bar = tqdm(
            total=self.steps, initial=self.first_step, desc=f"epoch {epoch + 1}/{self.run.training.epochs}",
            unit="step", leave=False, disable=None,
        )  # fmt: skip

    def on_train_batch_end(self, batch, logs=None):
        # `batch` does not tell: on JAX it may count calls of many steps.
        step = int(self.model.optimizer.iterations)
        done = (step - 1) % self.steps + 1
        self.bar.update(done - self.bar.n)
        # Keras may make them no sooner than in the first step; they are sums, so that order does not matter.
        for variable, value in zip(
            self.model.metrics_variables, self.partial.pop("metrics", ()), strict=False
        ):
            variable.assign_add(value)
        self._expect_finite("a finite loss", logs["loss"])
        if self.signal is not None and done < self.steps:
            self.bar.close()
            self._save_partial()
            raise Interrupted(self.signal)

    def _expect_finite(self, what, value):
        """Stop the training at a NaN or infinity, before it gets into a checkpoint."""
        if not math.isfinite(value):
            step = int(self.model.optimizer.iterations)
            epoch, rate = (step - 1) // self.steps + 1, float(self.model.optimizer.learning_rate)
            raise RunError(f"expected {what}, received {value} at step {step}, epoch {epoch}, "
                           f"learning rate {rate:g}; the last good checkpoint is kept")  # fmt: skip

    def _expect_finite_weights(self):
        # The sign of NaN is -1: a binary network with NaN for weights may still have a finite loss.
        for weight in self.model.weights:
            largest = float(keras.ops.max(keras.ops.abs(weight)))
            self._expect_finite(f"finite weights in {weight.path}", largest)

    def on_epoch_end(self, epoch, logs=None):
        self.bar.close()
        self._expect_finite("a finite validation loss", logs["val_loss"])
        self._expect_finite_weights()
        row = self._row(epoch + 1, logs)
        improved = row["val_accuracy"] > max((r["val_accuracy"] for r in self.rows), default=-1)
        self.rows.append(row)
        self.run.write_log(self.rows)
        config = self.run.training
        if improved:
            self.run.save_model(
                keras.Model(self.model.inputs, self.model.outputs, name=self.model.name), "best"
            )
        if (
            improved
            or (epoch + 1) % config.ckpt_n == 0
            or epoch + 1 == config.epochs
            or self.signal is not None
        ):
            self._save_last()
        self._print(row)
        self.first_step, self.partial = 0, {}
        if self.signal is not None and epoch + 1 < config.epochs:
            raise Interrupted(self.signal)

    def _row(self, epoch, logs):
        """The epoch's log row, with what its interrupted part had gathered."""
        kernels = quantized_kernels(self.model)
        changed = sum(flips(self.kernels, kernels).values())
        flip_ratio = changed / max(1, sum(k.size for k in kernels.values()))
        self.kernels = kernels
        means = {name: logs[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        seconds = time.perf_counter() - self.start + self.partial.get("seconds", 0.0)
        rate = self.run.training.learning_rate(epoch - 1)
        return {"epoch": epoch, **means, "learning_rate": rate, "flip_ratio": flip_ratio,
                "seconds": round(seconds, 3)}  # fmt: skip

    def _save_last(self):
        """Replace the checkpoint; what belonged to earlier ones has then no more use."""
        self.run.save_model(self.model, "last")
        for path in self.run.folder.glob("*partial-*.npz"):  # and unfinished ones, .partial-N.npz
            if path != self._partial_path():
                path.unlink()

    def _partial_path(self):
        # A name for each step: a kill between the two writes of an interruption leaves the old pair whole.
        return self.run.folder / f"partial-{int(self.model.optimizer.iterations)}.npz"

    def _save_partial(self):
        self._expect_finite_weights()
        with atomic.replacing(self._partial_path()) as temporary:
            np.savez_compressed(
                temporary,
                seconds=time.perf_counter() - self.start + self.partial.get("seconds", 0.0),
                **{
                    f"metric_{i}": ops.convert_to_numpy(v) for i, v in enumerate(self.model.metrics_variables)
                },
                **{f"kernel_{name}": kernel for name, kernel in self.kernels.items()},
            )
        self._save_last()

    def _load_partial(self):
        path = self._partial_path()
        if not path.is_file():
            return {}
        try:
            with np.load(path, allow_pickle=False) as saved:
                kernels = {
                    k.removeprefix("kernel_"): saved[k] for k in saved.files if k.startswith("kernel_")
                }
                metrics = [saved[f"metric_{i}"] for i in range(len(saved.files) - len(kernels) - 1)]
                partial = {"kernels": kernels, "metrics": metrics, "seconds": float(saved["seconds"])}
            self._expect_partial(**partial)
            return partial
        except Exception:  # whichever of NumPy, zipfile and zlib meets the damage first
            raise RunError(f"{path}: expected what an interrupted epoch had gathered, received a damaged file; "
                           "delete it to go on, with a log row of the epoch's rest only") from None  # fmt: skip

    def _expect_partial(self, kernels, metrics, seconds):
        """Raise a `ValueError` for what another network's epoch had gathered."""
        received, expected = (
            {name: (kernel.shape, kernel.dtype) for name, kernel in held.items()}
            for held in (kernels, quantized_kernels(self.model))
        )
        if received != expected or not np.isfinite([*metrics, seconds]).all():
            raise ValueError

    def _print(self, row):
        print(
            f"epoch {row['epoch']:{len(str(self.run.training.epochs))}d}/{self.run.training.epochs}"
            f"  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}"
            f"  val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.4f}"
            f"  flips {row['flip_ratio']:.5f}  {row['seconds']:.1f} s",
            file=sys.stdout, flush=True,
        )  # fmt: skip
