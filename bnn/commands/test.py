#!/usr/bin/env python3
"""Quick self-test, under a minute on two cores: does this installation train, save, reload and compute as it should?

A small binary and a small ternary network learn generated data, are saved, reloaded in a fresh process and compared
bit for bit; the closed-form angle between a Gaussian vector and its sign is compared with sampling.
The full suite is `make test`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bnn import backend, geometry
from bnn.config import ModelConfig, TrainConfig
from bnn.console import run_program

PREDICT = """
import sys
from bnn import backend
backend.load()
import keras, numpy, bnn.layers
model = keras.saving.load_model(sys.argv[1])
numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2]), verbose=0))
"""


def generated_data(rng, n=512, classes=4):
    """Noisy copies of one random image a class: (n, 8, 8, 1) uint8 images and (n,) labels."""
    labels = rng.integers(classes, size=n)
    prototypes = rng.integers(256, size=(classes, 8, 8, 1))
    noise = rng.normal(0, 40, size=(n, 8, 8, 1))
    return np.clip(prototypes[labels] + noise, 0, 255).astype(np.uint8), labels


def check_angle(rng):
    """The mean of sampled cosines agrees with the closed form within 5 standard errors."""
    cosines = np.cos(geometry.sample_angles(1000, 10_000, geometry.sign, rng))
    error = abs(cosines.mean() - geometry.expected_cos_sign(1000))
    mean_deg = np.degrees(np.arccos(cosines.mean()))
    return (
        error < 5 * cosines.std() / 100,
        f"mean angle {mean_deg:.3f} degrees, 37.07 in the limit of high dimension",
    )


def check_network(config, rng):
    """A network of `config` learns, and predicts the same bits from its file in another process."""
    import keras

    from bnn.datasets import Split
    from bnn.models import build_model
    from bnn.training import Batches, compile_model, one_hot

    images, labels = generated_data(rng)
    model = build_model(config)
    compile_model(model, TrainConfig(lr_start=0.01))
    model.fit(Batches(Split(images, labels), 32, seed=0), epochs=8, verbose=0)
    accuracy = model.evaluate(images, one_hot(labels), verbose=0)[1]
    with tempfile.TemporaryDirectory() as folder:
        saved, given, received = (
            str(Path(folder) / name) for name in ("net.keras", "images.npy", "scores.npy")
        )
        keras.saving.save_model(model, saved)
        np.save(given, images)
        subprocess.run(
            [sys.executable, "-c", PREDICT, saved, given, received], check=True, cwd=Path(__file__).parent
        )
        same = np.array_equal(np.load(received), model.predict(images, verbose=0))
    return (
        accuracy > 0.9 and same,
        f"accuracy {accuracy:.3f}, reloaded predictions {'identical' if same else 'DIFFER'}",
    )


def main():
    """Run the checks and say what passed."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    backend.load()
    backend.seed_everything(0)
    rng = np.random.default_rng(0)
    small = {"input_shape": (8, 8, 1), "conv": (16, 16), "max_pool": (0, 1), "fc": (32,), "bn_decay": 0.9}
    checks = {
        "closed-form angle against sampling": lambda: check_angle(rng),
        "binary network": lambda: check_network(ModelConfig(**small), rng),
        "ternary network": lambda: check_network(ModelConfig(**small, levels=3, threshold=0.02), rng),
    }
    start, failed = time.perf_counter(), 0
    for name, check in checks.items():
        passed, what = check()
        failed += not passed
        print(f"{'pass' if passed else 'FAIL'}  {name}: {what}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed in {time.perf_counter() - start:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    run_program("test.py", main)
