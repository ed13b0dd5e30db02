"""Training speed of the paper's CIFAR-10 network in images per second; with --larq also that of Larq.

The table shows medians of 4 repeats of 14 steps on 2 cores of an AMD EPYC with AVX512-BF16 and no AMX, on a machine
with other users, with TensorFlow 2.21 and Keras 3.15. The ratios are to Larq 0.14 in the same precision and in float32.

    precision  batch  images/s  larq  x Larq  x Larq float32
    float32       50       103   101    1.02            1.02
    bfloat16      50       167   163    1.03            1.65
    float32      128       109   111    0.98            0.98
    bfloat16     128       189   180    1.05            1.70

On this machine, products in bfloat16 are only twice as fast as in float32. Measured one by one, the convolutions take
about 210 ms of the 300 ms of a bfloat16 step with batch size 50 (222 ms with TensorFlow's own kernel gradients).
Therefore the rest can hardly become much faster.

    python benchmarks/training_speed.py --larq LARQ_ENVIRONMENT/bin/python

With JAX on a GPU, train.py runs many steps per call. The benchmark compares it with Keras's `fit`, which runs one step
per call:

    KERAS_BACKEND=jax python benchmarks/training_speed.py --steps 1000

Every case runs in a separate process, and the cases alternate, so that other work on the machine affects all of them
equally. "ours" is `bnn.train`, which train.py calls: shuffled batches of uint8 images, loss, metrics and
optimizer.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import ROOT, in_turns, machine, spread

PRECISIONS = ("float32", "bfloat16")
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")
ON_JAX = BACKEND == "jax"


def measure(way, precision, batch, steps):
    """Train on random images and print the median speed without the first three steps."""
    sys.path.insert(0, str(ROOT))
    import keras
    import numpy as np

    from bnn import training

    class Clock(keras.callbacks.Callback):
        record = []  # noqa: RUF012

        def on_train_batch_end(self, batch, logs=None):
            # The loss in `logs` is known, so the steps are complete.
            self.record.append((int(self.model.optimizer.iterations), time.perf_counter()))

    if way == "fit":
        from bnn.training import jax_epoch

        jax_epoch.worthwhile = lambda: False
    with tempfile.TemporaryDirectory() as folder:
        settings = {"precision": precision, "batch_size": batch, "epochs": 1}
        training.train(
            Path(folder) / "run", data_set=random_images(batch * steps), callbacks=[Clock()], **settings
        )
    done, times = np.array(Clock.record).T
    print(batch * np.median((np.diff(done) / np.diff(times))[done[:-1] >= 3]))


def random_images(n):
    """Create a DataSet with n random images for training and a few for validation."""
    import numpy as np

    from bnn.datasets import DataSet, Split

    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(n, 32, 32, 3), dtype=np.uint8)
    split = Split(images, rng.integers(10, size=n, dtype=np.uint8))
    return DataSet("cifar-10", "random", False, split, split[:10], split[:10])


def device():
    """Ask the backend in a separate process for the name of its GPU or TPU, or "CPU"."""
    if ON_JAX:
        code = "import jax; print(jax.devices()[0].device_kind)"
    else:
        code = (
            "import tensorflow as tf; gpus = tf.config.list_physical_devices('GPU'); "
            "print(tf.config.experimental.get_device_details(gpus[0])['device_name'] if gpus else 'CPU')"
        )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split("\n")[-2]


def main():
    """Measure all cases alternately and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--larq", metavar="PYTHON", help="Python of an environment with requirements-larq.txt"
    )
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[50, 128], metavar="N", help="batch sizes (default: 50 128)"
    )
    parser.add_argument(
        "--steps", type=int, default=15, metavar="N", help="steps per measurement (default: 15)"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="measurements per case (default: 5)"
    )
    args = parser.parse_args()
    ways = {"ours": [sys.executable, __file__, "--measure", "ours"]}
    if ON_JAX:
        ways["fit"] = [sys.executable, __file__, "--measure", "fit"]
    if args.larq:
        ways["larq"] = [args.larq, ROOT / "benchmarks" / "larq_baseline.py"]
    cases = itertools.product(ways, args.batch, PRECISIONS)
    figures = in_turns({(w, b, p): [*ways[w], p, b, args.steps] for w, b, p in cases}, args.repeats)
    speeds = {case: [speed for (speed,) in values] for case, values in figures.items()}
    median = {case: statistics.median(values) for case, values in speeds.items()}
    print(f"{machine('keras', BACKEND)}, {device()}, {args.repeats} repeats of {args.steps} steps")
    print("      precision  batch  images/s  range       " + " x Larq  x Larq float32" * bool(args.larq))
    for (way, batch, precision), values in speeds.items():
        speed = median[way, batch, precision]
        line = f"{way:4}  {precision:9}  {batch:5}  {speed:8.0f}  {spread(values, 0):12}"
        if args.larq and way != "larq":
            same, float32 = (speed / median["larq", batch, p] for p in (precision, "float32"))
            line += f" {same:6.2f}  {float32:14.2f}"
        print(line)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        way, precision, *numbers = sys.argv[2:]
        measure(way, precision, *map(int, numbers))
    else:
        main()
