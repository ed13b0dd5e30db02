#!/usr/bin/env python3
"""Copy a finished run to a folder of results/: settings, log, statistics, and on request the network.

    python tools/publish.py runs/NAME results/cifar-10-binary/seed0 --network

The kernels of a continuous network are binarized with sign for the statistics. A published folder with its network is a
run directory, so analyze.py and gen_plots.ipynb accept it. Its best.keras is the published checkpoint.
"""

import itertools
import json
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bnn import backend
from bnn.console import progress, run_program
from bnn.console.arguments import Parser
from bnn.files import write_json

RECORD = ("config.json", "log.csv", "geometry.csv")
ABLATION_COLUMNS = ("what", "layer", "stale", "refitted", "error")
KEPT = {"last": "the last", "best": "the one with the best validation accuracy"}
COMPONENTS = (1, 2, 3, 4)  # numbers of leading principal components of the first layer's input to report


def parse(argv=None):
    """Parse the command line."""
    parser = Parser(description=__doc__)
    flag = parser.add_argument
    flag("run", type=Path, metavar="RUN", help="run directory from train.py")
    flag("folder", type=Path, metavar="FOLDER", help="folder to create, such as results/GROUP/seed0")
    flag("--network", action="store_true", help="also save a compact checkpoint and a model card")
    flag(
        "--checkpoint",
        choices=("last", "best"),
        default="last",
        help="checkpoint of the last epoch, or of the epoch with the best validation accuracy, which depends on "
        "chance if there are few validation images (default: %(default)s)",
    )
    images_help = "number of test images for the statistics (default: %(default)s, as in the paper)"
    flag("--images", type=int, default=500, metavar="N", help=images_help)
    flag(
        "--ablation_images",
        type=int,
        default=2000,
        metavar="N",
        help="number of test images for the accuracy without quantizers, and of training images to refit batch "
        "norm; 0 skips this (default: %(default)s). For a continuous network, all kernels are binarized instead, "
        "and all test images are used",
    )
    return parser.parse_args(argv)


def main():
    """Publish the run of the command line."""
    args = parse()
    from bnn import runs
    from bnn.files import atomic

    run = runs.open_run(args.run)
    data = run.load_data()
    run.expect_data(data)
    backend.load()
    from bnn.models import compact

    args.folder.mkdir(parents=True, exist_ok=True)
    copy_record(run.folder, args.folder)
    model = run.load_model(args.checkpoint)
    if args.network:
        compact.save_compact(model, args.folder / "best.keras")
    metrics = {"checkpoint": args.checkpoint}
    metrics |= measure(model, data, args.images, "sign" if run.config.quantization.continuous else None)
    if args.ablation_images and run.config.quantization.continuous:
        metrics["binarized_accuracy"] = binarized_accuracy(model, data, args.ablation_images)
    elif args.ablation_images:
        rows = unbinarize(model, data, args.ablation_images)
        atomic.write_csv(args.folder / "unbinarized.csv", ABLATION_COLUMNS, rows)
    write_json(args.folder / "metrics.json", metrics)
    if args.network:
        (args.folder / "README.md").write_text(card(run, data, metrics, args.folder))
    print(f"wrote {args.folder}: test accuracy {metrics['test_accuracy']:.4f} on {data.label}")
    return 0


def copy_record(source, target):
    """Copy settings and logs, the command without the folders of this machine."""
    for name in RECORD:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    config = json.loads((source / "config.json").read_text())
    config["command"] = shareable(config["command"])
    write_json(target / "config.json", config)


def shareable(command):
    """Return a command without the folder of the data, and with runs/NAME for the absolute path of a run."""
    kept = []
    for before, word in itertools.pairwise(["", *command]):
        flag, path = re.fullmatch(r"((?:--)?\w+=)?(.*)", word, re.DOTALL).groups(default="")
        if "--data_dir" not in (before, word) and flag != "--data_dir=":
            kept.append(f"{flag}runs/{Path(path).name}" if Path(path).is_absolute() else word)
    return kept


def measure(model, data, images, quantizer):
    """Compute the results of analyze.py and the principal components of the first layer's input, a dict."""
    from bnn.analysis import analyze
    from bnn.geometry import components
    from bnn.models import accuracy, in_float32

    report = analyze(model, data.test.images[:images], quantizer=quantizer)
    shares, _ = components.principal_components(report[0].patches)
    return {
        "test_accuracy": accuracy(model, data.test),
        "float32_accuracy": accuracy(in_float32(model), data.test),
        "data_set": data.name,
        "data_digest": data.digest,
        "images": images,
        "quantizer": quantizer,
        "first_1000_accuracy": accuracy(model, data.test[:1000]),
        "layers": report.rows(),
        "patch_variance": {str(n): float(shares[:n].sum()) for n in COMPONENTS},
    }


def unbinarize(model, data, images):
    """Run `ablation.accuracies` with a progress bar."""
    from bnn.analysis.keras import ablation

    return ablation.accuracies(model, data.train.images[:images], data.test[:images], progress)


def binarized_accuracy(model, data, images):
    """Compute the test accuracy of a continuous network after its kernels are binarized and batch norm is refitted."""
    from bnn.analysis.keras import ablation
    from bnn.models import accuracy, refit_batch_norm

    copy = ablation.binarized(model)
    refit_batch_norm(copy, data.train.images[:images])
    return accuracy(copy, data.test)


def card(run, data, metrics, folder):
    """Write the model card in Markdown."""
    log, training = run.log(), run.training
    widths = ", ".join(
        f"{name} {' '.join(map(str, getattr(run.config.network, name))) or 'none'}" for name in ("conv", "fc")
    )
    hours = sum(row["seconds"] for row in log) / 3600
    splits = ", ".join(f"{len(getattr(data, name)):,} {name}" for name in ("train", "validation", "test"))
    return f"""# {run.kind.capitalize()} network for {data.name}

| | |
|---|---|
| network | {run.kind}: {widths}; threshold {run.config.quantization.threshold:g} |
| data | {data.label} |
| images | {splits} |
| training | {len(log)} of {training.epochs} epochs in {hours:.1f} hours, seed {training.seed} |
| optimizer | {training.optimizer.capitalize()}, {training.lr_start:g} to {training.lr_end:g}, {training.schedule} |
| batch, arithmetic | {training.batch_size}, {training.precision} |
| saved epoch | {KEPT[metrics["checkpoint"]]} |
| test accuracy in {training.precision}, as trained | {metrics["test_accuracy"]:.4f} |
| test accuracy in float32, as the programs compute it | {metrics["float32_accuracy"]:.4f} |

`config.json` contains all settings, the command, the versions and the commit. `log.csv` has one row per epoch.
`metrics.json` contains the statistics of every layer on the first {metrics["images"]} test images.

    python data/download.py --data_set {run.training.data_set}
    python analyze.py {folder} --output runs/{folder.parent.name}    # statistics and figures
    python train.py --init_from {folder}    # start from these weights; use the same network settings

**Intended use:** study the geometry of a trained network without training one.

**Limits:** the network classifies small pictures of ten classes and nothing else. Its latent kernels are rounded to
float16; the quantized kernels are exactly those of the trained network. The state of the optimizer is not included, so
the training cannot be resumed from here.
"""


if __name__ == "__main__":
    run_program("publish.py", main)
