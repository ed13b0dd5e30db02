"""Test accuracy after training in float32 and in bfloat16 with the same seeds: does bfloat16 lose accuracy?

    python benchmarks/precision_accuracy.py
    python benchmarks/precision_accuracy.py --run results/cifar-10-binary/seed0   # one trained network in both

MNIST: the dense network of the preset, 5 epochs. CIFAR-10: 10,000 training images, convolutions 32-32-64-64-128-128,
dense 256, batch size 50, 15 epochs, and the paper's other settings. Both use all 10,000 test images. Run
`data/download.py` first.
"""

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

from measuring import ROOT, in_turns, machine

CASES = {
    "MNIST": ({"epochs": 5}, None),
    "cifar-10": ({"conv": (32, 32, 64, 64, 128, 128), "fc": (256,), "epochs": 15, "bn_decay": 0.99}, 10_000),
}
PRECISIONS = ("float32", "bfloat16")


def measure(data_set, precision, seed):
    """Train one network and print its test accuracy."""
    sys.path.insert(0, str(ROOT))
    from bnn import datasets, training
    from bnn.models import accuracy

    settings, images = CASES[data_set]
    data = datasets.load(data_set)
    small = dataclasses.replace(data, train=data.train[:images])
    with tempfile.TemporaryDirectory() as folder:
        given = {"data_set": small, "precision": precision, "seed": seed}
        run = training.train(Path(folder) / "run", **settings | given)
        print(accuracy(run.load_model("last"), data.test))


def compare(folder):
    """Print how many test images a trained network classifies correctly in both arithmetics, or in only one."""
    import numpy as np
    from scipy.stats import binomtest

    from bnn import runs
    from bnn.models import correct, in_float32

    run = runs.open_run(folder)
    test = run.load_data().test
    model = run.load_model()
    views = {"as they are": test.images, "mirrored": test.images[:, :, ::-1]}
    views["shifted by one pixel"] = np.roll(test.images, 1, axis=1)
    print(
        f"{folder}: test images, accuracy in {run.training.precision} and in float32, correct only there, p"
    )
    for name, images in views.items():
        split = dataclasses.replace(test, images=images)
        trained, exact = correct(model, split), correct(in_float32(model), split)
        only = [int((one & ~other).sum()) for one, other in ((trained, exact), (exact, trained))]
        p = binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0  # McNemar's test
        print(f"{name:>20}  {trained.mean():.4f}  {exact.mean():.4f}  {only[0]:4}  {only[1]:4}  {p:.2f}")


def main():
    """Train all cases and print the table."""
    sys.path.insert(0, str(ROOT))
    from bnn.analysis import pool

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N - 1 (default: 3)")
    parser.add_argument("--run", type=Path, metavar="RUN", help="only compute this run in both arithmetics")
    args = parser.parse_args()
    if args.run:
        compare(args.run)
        return
    here = [sys.executable, __file__, "--measure"]
    programs = {(d, p, s): [*here, d, p, s] for d in CASES for s in range(args.seeds) for p in PRECISIONS}
    accuracy = {case: values[0][0] for case, values in in_turns(programs, 1).items()}
    print(f"{machine('tensorflow', 'keras')}; test accuracy after training, {args.seeds} seeds")
    print("data set  precision    mean  std dev  seeds")
    for data_set in CASES:
        for precision in PRECISIONS:
            values = [accuracy[data_set, precision, seed] for seed in range(args.seeds)]
            pooled = pool(values)
            each = " ".join(f"{value:.4f}" for value in values)
            print(f"{data_set:8}  {precision:9}  {pooled.mean:.4f}   {pooled.std:.4f}  {each}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
