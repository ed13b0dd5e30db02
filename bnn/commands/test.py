"""Quick self-test, under a minute on two cores: does this installation train, save, reload and compute correctly?

A small binary and a small ternary network learn generated data, are saved, and are reloaded in a new process, where
their predictions must be exactly the same. The closed-form angle between a Gaussian vector and its sign is compared
with sampling.

The full suite is `make test`.
"""

import contextlib
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bnn import backend
from bnn.console.arguments import Parser
from bnn.console.spelling import command_line

PROGRAM = "test.py"
SETTINGS = {
    "input_shape": (8, 8, 1),
    "conv": (16, 16),
    "max_pool": (0, 1),
    "fc": (32,),
    "bn_decay": 0.9,
    "batch_size": 32,
    "epochs": 8,
    "lr_start": 0.01,
    "lr_end": 0.01,
    "precision": "float32",
}
PREDICT = """
import sys
from bnn import backend
backend.load()
import keras, numpy, bnn.layers
model = keras.saving.load_model(sys.argv[1])
numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2]), verbose=0))
"""


def generated_data(rng, n=512, classes=4):
    """A DataSet of n noisy copies of one random image per class, of shape (8, 8, 1)."""
    import numpy as np

    from bnn.datasets import DataSet, Split

    labels = rng.integers(classes, size=n)
    prototypes = rng.integers(256, size=(classes, 8, 8, 1))
    noise = rng.normal(0, 40, size=(n, 8, 8, 1))
    split = Split(np.clip(prototypes[labels] + noise, 0, 255).astype(np.uint8), labels)
    return DataSet("mnist-5k", "generated", False, split, split[: n // 4], split)


def check_angle(rng):
    """Whether the mean of sampled cosines agrees with the closed form within 5 standard errors."""
    import numpy as np

    from bnn import geometry

    cosines = np.cos(geometry.sample_angles(1000, 10_000, geometry.sign, rng))
    error = abs(cosines.mean() - geometry.expected_cos_sign(1000))
    mean_deg = np.degrees(np.arccos(cosines.mean()))
    return (
        error < 5 * cosines.std() / 100,
        f"mean angle {mean_deg:.3f} degrees, 37.07 in the limit of high dimension",
    )


def check_network(rng, **settings):
    """Whether a network learns, and gives exactly the same predictions after loading in another process."""
    from bnn.training import start

    data = generated_data(rng)
    with tempfile.TemporaryDirectory() as folder:
        given = SETTINGS | settings | {"data_set": data}
        training = start.begin(Path(folder) / "run", given, command=[PROGRAM])
        with contextlib.redirect_stdout(io.StringIO()):
            run = training.run_to_end()
        scores = training.model.predict(data.test.images, verbose=0)
        same = (scores == predict_elsewhere(run.checkpoint("last"), data.test.images, Path(folder))).all()
    accuracy = (scores.argmax(axis=1) == data.test.labels).mean()
    return (
        accuracy > 0.9 and same,
        f"accuracy {accuracy:.3f}, reloaded predictions {'identical' if same else 'DIFFER'}",
    )


def predict_elsewhere(model, images, folder):
    """The scores of a saved model for images, computed in a new process, with files in `folder`."""
    import numpy as np

    given, received = folder / "images.npy", folder / "scores.npy"
    np.save(given, images)
    here = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", PREDICT, model, given, received], check=True, cwd=here)
    return np.load(received)


@command_line()
def main(argv=None, program=PROGRAM):
    """Run the checks and print which passed; arguments and result as for `bnn.commands.train.main`."""
    Parser(prog=program, description=__doc__).parse_args(argv)
    backend.expect_installed()
    import numpy as np

    rng = np.random.default_rng(0)
    checks = {
        "closed-form angle against sampling": lambda: check_angle(rng),
        "binary network": lambda: check_network(rng),
        "ternary network": lambda: check_network(rng, levels=3, threshold=0.02),
    }
    start, failed = time.perf_counter(), 0
    for name, check in checks.items():
        passed, what = check()
        failed += not passed
        print(f"{'pass' if passed else 'FAIL'}  {name}: {what}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed in {time.perf_counter() - start:.0f} s")
    return int(failed > 0)
