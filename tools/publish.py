#!/usr/bin/env python3
"""Turn a finished run into a folder of results/: settings, log, statistics, and on request the network itself.

    python tools/publish.py runs/NAME results/cifar-10-binary/seed0 --network

A continuous network's kernels are measured as what sign makes of them. A published folder with its network is a run
directory like any other: analyze.py and gen_plots.ipynb take it. Its best.keras is the checkpoint that was published.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bnn import backend
from bnn.console import progress, run_program
from bnn.files import write_json

RECORD = ("config.json", "log.csv", "geometry.csv")
ABLATION_COLUMNS = ("what", "layer", "stale", "refitted")
KEPT = {"last": "the last", "best": "the one of best validation accuracy"}
COMPONENTS = (1, 2, 3, 4)  # leading principal components of the first layer's input, whose shares are kept


def parse(argv=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory that train.py made")
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="where it goes, such as results/GROUP/seed0"
    )
    parser.add_argument("--network", action="store_true", help="also a compact checkpoint and a model card")
    parser.add_argument("--checkpoint", choices=("last", "best"), default="last",
                        help="of the last epoch, or of the one with the best validation accuracy, which with few "
                        "validation images is a matter of luck (default: %(default)s)")  # fmt: skip
    parser.add_argument("--images", type=int, default=500, metavar="N",
                        help="test images that the statistics are over (default: the paper's %(default)s)")  # fmt: skip
    parser.add_argument("--ablation_images", type=int, default=2000, metavar="N",
                        help="test images for the accuracy of networks with quantizers taken out, and training images "
                        "that their batch norm is refitted on; 0: leave that out (default: %(default)s). A continuous "
                        "network gets all kernels binarized instead, and all test images")  # fmt: skip
    return parser.parse_args(argv)


def main():
    """Publish as the command line says."""
    args = parse()
    from bnn import datasets, runs
    from bnn.files import records

    run = runs.open_run(args.run)
    data = datasets.load(run.training.data_set)
    run.expect_data(data)
    backend.load()
    from bnn.models import compact

    args.folder.mkdir(parents=True, exist_ok=True)
    copy_record(run.folder, args.folder)
    model = run.load_model(args.checkpoint)
    if args.network:
        compact.save_compact(model, args.folder / "best.keras")
    metrics = {"checkpoint": args.checkpoint}
    metrics |= measure(model, data, args.images, "sign" if run.model.continuous else None)
    if args.ablation_images and run.model.continuous:
        metrics["binarized_accuracy"] = binarized_accuracy(model, data, args.ablation_images)
    elif args.ablation_images:
        rows = unbinarize(model, data, args.ablation_images)
        records.write_csv(args.folder / "unbinarized.csv", ABLATION_COLUMNS, rows)
    write_json(args.folder / "metrics.json", metrics)
    if args.network:
        (args.folder / "README.md").write_text(card(run, data, metrics, args.folder))
    print(f"wrote {args.folder}: test accuracy {metrics['test_accuracy']:.4f} on {data.label}")
    return 0


def copy_record(source, target):
    """Copy settings and logs; a run's absolute place, which says nothing elsewhere, becomes runs/NAME."""
    for name in RECORD:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    config = json.loads((source / "config.json").read_text())
    config["command"] = [
        f"runs/{Path(word).name}" if Path(word).is_absolute() else word for word in config["command"]
    ]
    write_json(target / "config.json", config)


def measure(model, data, images, quantizer):
    """What analyze.py writes, and the principal components of the first layer's input, as a dict."""
    from bnn.analysis import analyze
    from bnn.geometry import components
    from bnn.models import accuracy

    report = analyze(model, data.test.images[:images], quantizer=quantizer)
    shares, _ = components.principal_components(report[0].patches)
    return {
        "test_accuracy": accuracy(model, data.test), "data_set": data.name, "data_digest": data.digest,
        "images": images, "images_accuracy": accuracy(model, data.test[:images]),
        "layers": report.rows(),
        "patch_variance": {str(n): float(shares[:n].sum()) for n in COMPONENTS},
    }  # fmt: skip


def unbinarize(model, data, images):
    """`ablation.accuracies` with a progress bar."""
    from bnn.analysis import ablation

    return ablation.accuracies(model, data.train.images[:images], data.test[:images], progress)


def binarized_accuracy(model, data, images):
    """The test accuracy of a continuous network whose kernels become their signs, batch norm measured anew."""
    from bnn.analysis import ablation
    from bnn.models import accuracy, refit_batch_norm

    copy = ablation.binarized(model)
    refit_batch_norm(copy, data.train.images[:images])
    return accuracy(copy, data.test)


def card(run, data, metrics, folder):
    """The model card, Markdown."""
    log, training = run.log(), run.training
    widths = ", ".join(
        f"{name} {' '.join(map(str, getattr(run.model, name))) or 'none'}" for name in ("conv", "fc")
    )
    hours = sum(row["seconds"] for row in log) / 3600
    splits = ", ".join(f"{len(getattr(data, name)):,} {name}" for name in ("train", "validation", "test"))
    return f"""# {run.model.kind.capitalize()} network for {data.name}

| | |
|---|---|
| network | {run.model.kind}: {widths}; threshold {run.model.threshold:g} |
| data | {data.label} |
| images | {splits} |
| training | {len(log)} of {training.epochs} epochs in {hours:.1f} hours, seed {training.seed} |
| optimizer | Adam, {training.lr_start:g} to {training.lr_end:g}, {training.schedule} |
| batch, arithmetic | {training.batch_size}, {training.precision} |
| kept epoch | {KEPT[metrics["checkpoint"]]} |
| test accuracy | {metrics["test_accuracy"]:.4f} |

`config.json` has every setting, the command, versions and commit; `log.csv` a row an epoch; `metrics.json` the
statistics of every layer over the first {metrics["images"]} test images.

    python data/download.py --data_set {run.training.data_set}
    python analyze.py {folder} --output runs/{folder.parent.name}    # its statistics, with figures
    python train.py --init_from {folder}    # with the same network settings: start from these weights

**Intended use:** to look at the geometry of a trained network without training one.

**Limits:** it classifies small pictures of ten kinds and nothing else. Latent kernels are rounded to float16; the
quantized kernels, and so the outputs, are exactly those of the training. Without the optimizer's state the training
cannot go on from here.
"""


if __name__ == "__main__":
    run_program("publish.py", main)
