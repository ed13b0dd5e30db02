#!/usr/bin/env python3
"""Measure a trained network: test accuracy, and the angles and dot products of every quantized layer."""

import argparse
import functools
from pathlib import Path

from bnn import backend
from bnn.config import ConfigError
from bnn.console import run_program


def parse(argv=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory that train.py made")
    parser.add_argument("--images", type=int, default=500, metavar="N",
                        help="test images that the statistics are over (default: the paper's %(default)s)")  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="for metrics.json and figures (default: RUN)"
    )
    return parser.parse_args(argv)


def main():
    """Analyse as the command line says."""
    args = parse()
    from bnn import datasets, runs

    run = runs.open_run(args.run)
    data_set, log = datasets.load(run.training.data_set), run.log()
    run.expect_data(data_set)
    if not 0 < args.images <= len(data_set.test):
        raise ConfigError(
            f"--images: expected 1 to the {len(data_set.test)} test images, received {args.images}"
        )
    backend.load()
    from tqdm import tqdm

    from bnn import figures, report

    model = run.load_model("best")
    output = args.output or args.run
    output.mkdir(parents=True, exist_ok=True)

    print(f"{args.run}: {run.model.kind} network on {data_set.label}")
    accuracy = report.accuracy(model, data_set.test)
    print(f"test accuracy {accuracy:.4f} ({len(data_set.test):,} images)")
    images = data_set.test.images[: args.images]
    batches = -(-len(images) // report.BATCH)
    bar = functools.partial(tqdm, total=batches, unit="batch", leave=False, disable=None)
    layers = report.analyze(model, images, progress=bar)
    rows = [layer.statistics() for layer in layers]
    print(f"\ngeometry over the first {len(images)} test images (angles in degrees)\n{report.table(rows)}\n")
    metrics = {
        "test_accuracy": accuracy, "data_set": data_set.name, "data_digest": data_set.digest,
        "images": len(images), "layers": rows,
    }  # fmt: skip
    runs.write_json(output / "metrics.json", metrics)
    drawn = figures.save_all(layers, log, output)
    print(f"wrote {output / 'metrics.json'} and {len(drawn)} figures (PNG and PDF): {', '.join(drawn)}")
    return 0


if __name__ == "__main__":
    run_program("analyze.py", main)
