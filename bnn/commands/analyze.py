"""Measure a network: the angles and dot products of every layer, and the test accuracy of a run.

Several runs, or a folder of seeds, are compared; runs that differ only in their seed are pooled. Without a run, this
lists the runs in runs/.
"""

from bnn import backend
from bnn.commands import figures, several
from bnn.console import progress, typed
from bnn.console.arguments import Parser
from bnn.console.spelling import command_line
from bnn.console.tables import filled
from bnn.settings.config import ConfigError
from bnn.settings.flags import add_data_dir, file_to_write, folder, place
from bnn.settings.user_code import add_use

PROGRAM = "analyze.py"
IMAGES = 500  # test images of a run, the paper's number
NOT_IN_SHARDS = {
    "activations": "inputs are standardized over all images before they are quantized, which no shard has",
    "budget": "it takes few images, whatever their number",
}


def parse(argv=None, program=PROGRAM):
    """The command line."""
    parser = Parser(prog=program, description=__doc__)
    parser.add_argument(
        "network",
        nargs="*",
        type=folder,
        metavar="RUN|MODEL.keras",
        help="run directory that train.py made, or any Keras model; several run directories, or a folder of them",
    )
    parser.add_argument(
        "--images",
        metavar="N|FILE",
        help="of a run: number of test images for the statistics "
        f"(default: {IMAGES}, as in the paper); of a model: .npy file of its input, or .npz with one array per input",
    )
    parser.add_argument(
        "--quantizer",
        metavar="NAME",
        help="for kernels without a quantizer: sign, ternary (best threshold for their standard deviation), "
        "ternary:THRESHOLD, lloyd-max:LEVELS, or a name that bnn train --quantizer takes; fitted (signs) or "
        "fitted:LEVELS fits them to the inputs of one half of the images and measures the other half (default: sign "
        "for Keras's layers)",
    )
    parser.add_argument(
        "--activations",
        metavar="NAME",
        help="the same for real inputs of layers, which are standardized first (default: they stay real)",
    )
    parser.add_argument(
        "--batch_size",
        type=int,
        default=50,
        metavar="N",
        help="images in a batch; memory grows with it (default: %(default)s); r_scores of a network with batch norm "
        "takes up to 50 at a time",
    )
    parser.add_argument(
        "--score_images",
        type=int,
        default=100,
        metavar="N",
        help="maximum number of images for r_scores, which needs one pass over them per layer; "
        "0: no r_scores (default: %(default)s)",
    )
    parser.add_argument(
        "--cost_images",
        type=int,
        default=0,
        metavar="N",
        help="maximum number of images for cost, the nats per image that a layer's quantizer costs, which needs one "
        "backward pass per image; 0: no cost (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=place,
        metavar="DIR",
        help="folder for metrics.json and figures (default: RUN, or MODEL-geometry beside the model), or for the "
        "comparison of several runs (default: none)",
    )
    parser.add_argument(
        "--target_r",
        type=float,
        metavar="R",
        help="also print how many levels each kernel needs to keep a correlation of R, such as 0.95, and the "
        "resulting size",
    )
    parser.add_argument(
        "--budget",
        type=float,
        metavar="BITS",
        help="of a model in full precision: print in place of the statistics how many levels each kernel should have. "
        "Weights then have at most BITS bits on average, 1 to 32, and the predicted loss is smallest",
    )
    parser.add_argument(
        "--assignment",
        type=file_to_write,
        metavar="FILE.json",
        help="with --budget: write the levels of each layer",
    )
    parser.add_argument(
        "--apply", type=file_to_write, metavar="FILE.keras", help="with --budget: write the quantized model"
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="measure only part I of N of the images, in a process or job of its own, and write shards/I-of-N.npz to "
        "the output folder; --merge then makes the report of all parts",
    )
    parser.add_argument(
        "--merge",
        action="store_true",
        help="make the report from all parts that --shard 1/N to N/N measured, with the other flags as they were",
    )
    parser.add_argument(
        "--html",
        type=file_to_write,
        metavar="FILE.html",
        help="also write one page that can be sent: the table, the figures, what the columns mean, settings, and the "
        "layers that stand out",
    )
    parser.add_argument("--wide", action="store_true", help="print every statistic, not only the first ones")
    add_data_dir(parser)
    add_use(parser)
    args = parser.parse_args(argv)
    for name, least in (("batch_size", 1), ("score_images", 0), ("cost_images", 0)):
        if getattr(args, name) < least:
            parser.error(f"argument --{name}: expected at least {least}, received {getattr(args, name)}")
    if args.target_r is not None and not 0 < args.target_r < 1:
        parser.error(f"argument --target_r: expected a number between 0 and 1, received {args.target_r:g}")
    if args.html and (args.budget is not None or args.shard or not args.network):
        received = ("--shard" if args.shard else "--budget") if args.network else "none"
        parser.error(f"argument --html: expected a network to analyze, received {received}")
    for name in ("assignment", "apply"):
        if getattr(args, name) and args.budget is None:
            parser.error(f"argument --{name}: expected together with --budget, received alone")
    if args.shard is not None:
        args.shard = _shard(parser, args.shard)
    sharded = "--shard" if args.shard is not None else "--merge" if args.merge else None
    for name in ("activations", "budget") if sharded else ():
        if getattr(args, name) is not None:
            parser.error(f"argument {sharded}: expected no --{name} with it: {NOT_IN_SHARDS[name]}")
    if args.shard is not None and args.merge:
        parser.error("argument --merge: expected no --shard with it: it merges what all shards have measured")
    if args.apply and args.apply.suffix != ".keras":
        parser.error(f"argument --apply: expected the name of a .keras file, received {str(args.apply)!r}")
    if args.budget is not None and not 1 <= args.budget <= 32:
        parser.error(f"argument --budget: expected 1 to 32 bits per weight, received {args.budget:g}")
    return args


def _shard(parser, text):
    from bnn.analysis.core import shards

    try:
        return shards.shard(text)
    except shards.ReportError as error:
        parser.error(f"argument {error}")


@command_line()
def main(argv=None, program=PROGRAM):
    """Analyze as the command line says; arguments and result as for `bnn.commands.train.main`."""
    args = parse(argv, program)
    if not args.network:
        several.list_runs()
        return 0
    backend.expect_installed()
    if len(args.network) > 1 or _holds_runs(args.network[0]):
        if args.shard or args.merge:
            raise ConfigError(
                f"{'--shard' if args.shard else '--merge'}: expected one run or model, received several runs"
            )
        _expect_runs(args.network)
        several.compare(args.network, args.output, args.data_dir, args.wide, args.html)
        return 0
    args.network = args.network[0]
    from bnn.models import loading

    is_model = loading.is_model_file(args.network)
    if is_model and not args.network.exists():
        raise ConfigError(f"{args.network}: expected a run or a .keras file, received no such file")
    if is_model:
        loading.expect_keras_file(args.network)
    if is_model and args.images is None:
        run = args.network.parent
        hint = f"; {typed('analyze', run)} takes those of the run" if (run / "config.json").is_file() else ""
        raise ConfigError(
            f"{args.network}: expected --images FILE with what the model takes, received none{hint}"
        )
    if args.budget is not None:
        if not is_model:
            raise ConfigError(
                f"--budget: expected a .keras file in full precision, with --images FILE, received {args.network}"
            )
        _assign(args)
        return 0
    beside = args.network.with_name(f"{args.network.stem}-geometry") if is_model else args.network
    folder, images = args.output or beside, args.images if is_model else _count(args.images)
    options = {"quantizer": args.quantizer, "batch_size": args.batch_size, "data_dir": args.data_dir}
    if args.shard:
        _measure_shard(args, folder, images, options)
        return 0
    options |= {"score_images": args.score_images, "cost_images": args.cost_images, "progress": progress}
    from bnn.analysis import analyze, merge_shards

    if args.merge:
        report = merge_shards(args.network, images, folder=folder, **options)
    else:
        report = analyze(args.network, images, activations=args.activations, **options)
    _show(report, folder, args.wide, args.target_r, args.html)
    return 0


def _measure_shard(args, folder, images, options):
    """Measure a shard, and say where it is and what follows."""
    from bnn.analysis import analyze_shard

    path = analyze_shard(args.network, images, shard=args.shard, folder=folder, progress=progress, **options)
    merge = typed("analyze", args.network, "--merge")
    print(filled(f"wrote {path};", f"with all shards, {merge} with the same flags makes the report"))


def _holds_runs(path):
    from bnn import runs

    return not (path / "config.json").is_file() and bool(runs.find(path))


def _expect_runs(paths):
    """Raise `ConfigError` unless all paths can be compared."""
    for path in paths:
        if path.is_file():
            raise ConfigError(
                f"{path}: expected run directories to compare, received a file; a model is analyzed by itself, with "
                "--images FILE"
            )


def _count(text):
    """The number of test images of a run."""
    try:
        return None if text is None else int(text)
    except ValueError:
        raise ConfigError(f"--images: expected a number of test images of the run, received {text}") from None


def _assign(args):
    """Print the levels of every kernel for --budget, and write what was asked for."""
    from bnn.analysis import apply_levels, assign_levels
    from bnn.files import atomic
    from bnn.models import load_model

    model = load_model(args.network)
    images = {"cost_images": args.cost_images} if args.cost_images else {}
    found = assign_levels(model, args.images, args.budget, progress=progress, **images)
    print(f"\n{found.text()}\n")
    written = []
    if args.assignment:
        found.save(args.assignment)
        written.append(args.assignment)
    if args.apply:
        with atomic.replacing(args.apply) as temporary:
            apply_levels(model, args.images, found).save(temporary)
        written.append(args.apply)
    if written:
        print(f"wrote {' and '.join(map(str, written))}")


def _show(report, folder, wide, target_r, page):
    """Print the report, and write metrics.json, the page and the figures."""
    from bnn import plots, runs
    from bnn.runs import summary

    about = report.about
    run = runs.open_run(about["run"]) if "run" in about else None
    if run:
        several.print_accuracy(run, about["origin"], report.accuracy)
    print(f"\n{report.text(wide)}\n")
    if target_r is not None:
        from bnn.analysis.core import levels

        print(f"{levels.text(levels.needed(report, target_r), target_r)}\n")
    if run and run.folder == folder:
        summary.write(run, report)
    path = report.save(folder)
    if page:
        from bnn import pages

        print(f"wrote {pages.write(report, page)}")
    with figures.expected("all", kept=path):
        figures.print_key(layers=[layer.name for layer in report])
        drawn = plots.save_all(report, folder, report.log, report.history)
    names = [f"{name}," for name in drawn[:-1]] + drawn[-1:]
    print(filled(f"wrote {path}", f"and {len(drawn)} figures (PNG and PDF):", *names))
