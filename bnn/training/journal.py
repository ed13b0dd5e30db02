"""The files that a training writes to its run directory: log, checkpoints, and the state when a signal stops it."""

import math
import time
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

from bnn import console
from bnn.analysis.keras.geometry_log import flips, quantized_kernels
from bnn.files import atomic
from bnn.runs import RunError
from bnn.runs.log import rank
from bnn.training import display
from bnn.training.distribution import ALONE
from bnn.training.schedule import learning_rate
from bnn.training.signals import Interrupted


class Journal(keras.callbacks.Callback):
    """Writes log rows and checkpoints, shows the progress bar, and saves the state when a signal asks to stop.

    Args:
        run: Run.
        steps: int, number of steps per epoch.
        epoch: int, number of finished epochs.
        first_step: int, number of finished steps in the next epoch.
        requests: StopRequests, which says whether a signal asked to stop.
        opening: str, lines to print when the first epoch begins, which no callback before this one has refused.
        team: Team, the processes that train together, of which one writes files.
    """

    def __init__(self, run, steps, epoch, first_step, requests, opening="", team=ALONE):
        super().__init__()
        self.team = team
        self.opening = opening
        self.run, self.steps, self.first_step, self.requests = run, steps, first_step, requests
        # Rows of epochs after the checkpoint belong to work that was lost when the process was killed.
        self.rows = [row for row in run.log() if row["epoch"] <= epoch]
        self.bar = None

    def on_train_begin(self, logs=None):
        self.partial = self._load_partial()
        self.kernels = self.partial.pop("kernels", None) or quantized_kernels(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        if self.opening:
            console.say(self.opening)
            self.opening = ""
        self.start = time.perf_counter()
        self.means = {}
        config = self.run.training
        left = config.epochs - epoch - 1
        seconds = self.rows[-1]["seconds"] if self.rows else None
        self.bar = console.progress(
            total=self.steps * config.batch_size,
            unit="sequence" if self.run.config.inputs.are_tokens else "image",
            description=f"epoch {epoch + 1}/{config.epochs}",
            initial=self.first_step * config.batch_size,
            details=lambda state: display.beside_bar(state, self.means, left, seconds),
        )

    def on_train_batch_end(self, batch, logs=None):
        # `batch` is not the step: on JAX, one batch may be a call that runs many steps.
        step = int(self.model.optimizer.iterations)
        done = (step - 1) % self.steps + 1
        self.means = logs
        self.bar.update(done * self.run.training.batch_size - self.bar.n)
        # Keras may create the metrics as late as in the first step; they are sums, so the order does not matter.
        for variable, value in zip(
            self.model.metrics_variables, self.partial.pop("metrics", ()), strict=False
        ):
            variable.assign_add(value)
        self._expect_finite("a finite loss", logs["loss"])
        self.requests.look()
        if self.requests.signal is not None and done < self.steps:
            self.bar.close()
            self._save_partial()
            raise Interrupted(self.run, self.requests.signal)

    def _expect_finite(self, what, value):
        """Stop the training at a NaN or infinity, before it is saved in a checkpoint."""
        if not math.isfinite(value):
            step = int(self.model.optimizer.iterations)
            epoch, rate = (step - 1) // self.steps + 1, float(self.model.optimizer.learning_rate)
            raise RunError(
                f"expected {what}, received {value} at step {step}, epoch {epoch}, "
                f"learning rate {rate:g}; the last good checkpoint is kept"
            )

    def _expect_finite_weights(self):
        # The sign of NaN is -1, so a binary network with NaN weights may still have a finite loss.
        for weight in self.model.weights:
            largest = float(keras.ops.max(keras.ops.abs(weight)))
            self._expect_finite(f"finite weights in {weight.path}", largest)

    def on_test_begin(self, logs=None):
        self.bar.announce("validating")

    @contextmanager
    def announced(self, text):
        """Say next to the bar what takes time. Before the first epoch there is no bar yet: a separate one says it."""
        if self.bar:
            self.bar.announce(text)
            yield
        else:
            with console.progress(total=1, description="start", details=lambda state: text):
                yield

    def on_epoch_end(self, epoch, logs=None):
        self.bar.close()
        self._expect_finite("a finite validation loss", logs["val_loss"])
        self._expect_finite_weights()
        row = self._row(epoch + 1, logs)
        improved = all(rank(row) > rank(other) for other in self.rows)
        self.rows.append(row)
        config = self.run.training
        if self.team.writes:
            self.run.write_log(self.rows)
        if improved:
            self._save("best")
        if (
            improved
            or (epoch + 1) % config.ckpt_n == 0
            or epoch + 1 == config.epochs
            or self.requests.signal is not None
        ):
            self._save_last()
        console.say(display.epoch_line(row, config.epochs))
        self.first_step, self.partial = 0, {}
        if self.requests.signal is not None and epoch + 1 < config.epochs:
            raise Interrupted(self.run, self.requests.signal)

    def _row(self, epoch, logs):
        """Return the log row of the epoch, including the part before an interruption."""
        kernels = quantized_kernels(self.model)
        changed = sum(flips(self.kernels, kernels).values())
        flip_ratio = changed / max(1, sum(k.size for k in kernels.values()))
        self.kernels = kernels
        means = {name: logs[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        seconds = time.perf_counter() - self.start + self.partial.get("seconds", 0.0)
        rate = learning_rate(self.run.training, epoch - 1)
        return {
            "epoch": epoch,
            **means,
            "learning_rate": rate,
            "flip_ratio": flip_ratio,
            "seconds": round(seconds, 3),
        }

    def _save(self, name):
        """Replace a checkpoint; "best" holds no optimizer."""
        if not self.team.writes:
            return
        with self.team.outside():  # the others do not wait for variables that Keras makes here
            model = self.model
            if name == "best":
                model = keras.Model(model.inputs, model.outputs, name=model.name)
            self.run.save_model(model, name)

    def _save_last(self):
        """Replace the checkpoint, and delete the partial epochs that belong to earlier checkpoints."""
        self._save("last")
        if not self.team.writes:
            return
        for path in self.run.folder.glob("*partial-*.npz"):  # also unfinished files, .partial-N.npz
            if path != self._partial_path():
                path.unlink()

    def _partial_path(self):
        # One name per step: if the process is killed between the two writes of an interruption, the old pair of files
        # stays complete.
        return self.run.folder / f"partial-{int(self.model.optimizer.iterations)}.npz"

    def _save_partial(self):
        self._expect_finite_weights()
        if not self.team.writes:
            return
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
        except Exception:  # from NumPy, zipfile or zlib, whichever finds the damage first
            raise RunError(
                f"{path}: expected the state of an interrupted epoch, received a damaged file; delete it to "
                "continue; the log row of the epoch will then cover only the rest of it"
            ) from None

    def _expect_partial(self, kernels, metrics, seconds):
        """Raise a `ValueError` if the saved state belongs to another network."""
        received, expected = (
            {name: (kernel.shape, kernel.dtype) for name, kernel in held.items()}
            for held in (kernels, quantized_kernels(self.model))
        )
        if received != expected or not np.isfinite([*metrics, seconds]).all():
            raise ValueError
