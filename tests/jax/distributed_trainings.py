"""Small trainings that one process or several run: `python -m tests.jax.distributed_trainings HOST:PORT N I FOLDER`."""

import sys
from pathlib import Path

import keras
import numpy as np

from bnn import training
from bnn.training import Processes, jax_epoch
from bnn.training.batches import Batches
from tests.support import small_data, small_settings

EPOCHS = 2
# The network and its settings; "many" runs several steps per compiled call, as accelerators do.
TRAININGS = {
    "continuous": ("continuous", {"label_smoothing": 0.1, "loss_mode": "softmax"}),
    "many": ("continuous", {"augment": "alternating-flips-and-crops"}),
    "logged": ("binary", {"augment": "flips-and-crops", "log_geometry": 1, "epochs": 1}),
    "stochastic": ("stochastic", {"epochs": 1}),
}


class Rolled(Batches):
    """The same batches with their images in another order, so that only the order of sums differs."""

    def places(self, step):
        return tuple(np.roll(part, 7, axis=0) for part in super().places(step))


def run(name, folder, distribute=False):
    """Train one of `TRAININGS`, and return the Run."""
    kind, options = TRAININGS[name]
    model, config = small_settings(kind, **{"epochs": EPOCHS, "lr_start": 1e-3} | options)
    settings = vars(model) | vars(config) | {"data_set": small_data()}
    before = jax_epoch.worthwhile, jax_epoch.STEPS_PER_CALL
    if name == "many":
        jax_epoch.worthwhile, jax_epoch.STEPS_PER_CALL = (lambda: True), 4
    try:
        return training.train(folder / name, distribute=distribute, **settings)
    finally:
        jax_epoch.worthwhile, jax_epoch.STEPS_PER_CALL = before


def main(coordinator, processes, process, folder):
    """Run all trainings as one process of a job; "-" for the coordinator: alone, on all local devices."""
    job = True if coordinator == "-" else Processes(coordinator, int(processes), int(process))
    for name in TRAININGS:
        print(f"{name} begins", flush=True)
        run(name, Path(folder), job)
    assert keras.distribution.distribution() is None


if __name__ == "__main__":
    main(*sys.argv[1:])
