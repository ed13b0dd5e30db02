"""Measure a network: the angles and dot products of every layer, and the test accuracy of a run."""

import argparse
from pathlib import Path

from bnn import backend
from bnn.config import ConfigError
from bnn.console import progress
from bnn.flags import add_data_dir

PROGRAM = "analyze.py"
IMAGES = 500  # of a run, the paper's


def parse(argv=None, program=PROGRAM):
    """The command line."""
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument(
        "network",
        type=Path,
        metavar="RUN|MODEL.keras",
        help="run directory that train.py made, or any Keras model",
    )
    parser.add_argument(
        "--images", metavar="N|FILE",
        help=f"of a run: number of test images that the statistics are over (default: the paper's {IMAGES}); "
        "of a model: .npy file of what it takes, or .npz with an array for each of its inputs",
    )  # fmt: skip
    parser.add_argument(
        "--quantizer", metavar="NAME",
        help="for kernels that have no quantizer of their own: sign, ternary (best threshold for their spread), "
        "ternary:THRESHOLD, lloyd-max:LEVELS (default: sign for Keras's layers)",
    )  # fmt: skip
    parser.add_argument(
        "--activations", metavar="NAME",
        help="the same for real inputs of layers, standardized (default: left real)",
    )  # fmt: skip
    parser.add_argument("--batch_size", type=int, default=50, metavar="N",
                        help="images at a time; memory grows with it (default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--score_images", type=int, default=100, metavar="N",
        help="images for r_scores, at most, which takes a pass over them for each layer; "
        "0: leave it out (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="DIR",
        help="for metrics.json and figures (default: RUN, or MODEL-geometry beside the model)",
    )  # fmt: skip
    add_data_dir(parser)
    args = parser.parse_args(argv)
    for name, least in (("batch_size", 1), ("score_images", 0)):
        if getattr(args, name) < least:
            parser.error(f"argument --{name}: expected at least {least}, received {getattr(args, name)}")
    return args


def main(argv=None, program=PROGRAM):
    """Analyze as the command line says; arguments and result as for `bnn.commands.train.main`."""
    args = parse(argv, program)
    if args.network.suffix == ".keras" or args.network.is_file():
        return analyse_model(args)
    return analyse_run(args)


def analyse_run(args):
    """A run: its accuracy, its geometry on test images, its history."""
    from bnn import datasets, runs

    run = runs.open_run(args.network)
    data_set, log = datasets.load(run.training.data_set, args.data_dir), run.log()
    images = data_set.test.images[: _count(args.images, len(data_set.test))]
    backend.load()
    from bnn.analysis import report

    model = run.load_model("best")
    run.expect_fit(data_set)
    print(f"{args.network}: {run.model.kind} network, {run.origin(data_set)}")
    accuracy = report.accuracy(model, data_set.test)
    print(f"test accuracy {accuracy:.4f} ({len(data_set.test):,} images)")
    about = {"test_accuracy": accuracy, "data_set": data_set.name, "data_digest": data_set.digest}
    return _measure(args, model, images, args.network, about, log)


def _count(text, most):
    if text is None:
        return min(IMAGES, most)
    if not text.isdecimal() or not 0 < int(text) <= most:
        raise ConfigError(f"--images: expected 1 to the {most} test images, received {text}")
    return int(text)


def analyse_model(args):
    """A model file: its geometry on the images of another file."""
    if args.images is None:
        raise ConfigError(f"{args.network}: expected --images FILE with what the model takes, received none")
    backend.load()
    from bnn.models import loading

    model = loading.load_model(args.network)
    images = loading.load_images(args.images, model)
    folder = args.network.with_name(f"{args.network.stem}-geometry")
    return _measure(args, model, images, folder, {"model": str(args.network)}, None)


def _measure(args, model, images, folder, about, log):
    """Print the table, and write metrics.json and the figures."""
    from bnn.analysis import report
    from bnn.files import records
    from bnn.plots import overview

    n = report.check_images(model, images)
    batches = -(-n // args.batch_size)

    def bar(steps):
        total, unit = (len(steps), "layer") if isinstance(steps, list) else (batches, "batch")
        return progress(steps, total, unit)

    layers = report.analyze(
        model, images, quantizer=args.quantizer, activations=args.activations, batch_size=args.batch_size,
        score_images=args.score_images, progress=bar,
    )  # fmt: skip
    rows = [layer.statistics() for layer in layers]
    print(f"\ngeometry over {n} images (angles in degrees)\n{report.table(rows)}\n")
    for name, reason in layers.unanalysed.items():
        print(f"not analysed: {name}: {reason}")
    output = args.output or folder
    output.mkdir(parents=True, exist_ok=True)
    chosen = {"quantizer": args.quantizer, "activations": args.activations, "unanalysed": layers.unanalysed}
    records.write_json(output / "metrics.json", about | chosen | {"images": n, "layers": rows})
    drawn = overview.save_all(layers, log, output)
    print(f"wrote {output / 'metrics.json'} and {len(drawn)} figures (PNG and PDF): {', '.join(drawn)}")
    return 0
