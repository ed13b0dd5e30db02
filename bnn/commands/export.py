"""Write the network of a run as bits, one or two per weight, or as an ONNX graph.

As a check of the packed format, the packed network and the float32 network with the same weights classify test images
of the run's data set.
"""

from pathlib import Path

from bnn import backend
from bnn.arguments import Parser
from bnn.console import progress
from bnn.flags import add_data_dir, folder

PROGRAM = "bnn export"
FILES = {"packed": "packed.npz", "onnx": "network.onnx", "qonnx": "network.qonnx.onnx"}


def parse(argv=None, program=PROGRAM):
    """The command line."""
    parser = Parser(prog=program, description=__doc__)
    parser.add_argument(
        "run", type=folder, metavar="RUN", help="run directory; its best checkpoint is exported"
    )
    parser.add_argument(
        "--format",
        choices=FILES,
        default="packed",
        help="packed: bits, which bnn predict runs; onnx: for any ONNX runtime; "
        "qonnx: with the quantizers of QONNX, for FINN and hls4ml (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"file to write (default: {', '.join(FILES.values())} in RUN)",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=200,
        metavar="N",
        help="packed: maximum number of test images for the check; 0: no check (default: %(default)s)",
    )
    add_data_dir(parser)
    args = parser.parse_args(argv)
    if args.images < 0:
        parser.error(f"argument --images: expected at least 0, received {args.images}")
    return args


def main(argv=None, program=PROGRAM):
    """Export as the command line says; arguments and result as for `bnn.commands.train.main`."""
    args = parse(argv, program)
    backend.expect_installed()
    from bnn import bits, packed, runs

    run = runs.open_run(args.run)
    model = packed.reference(run)
    output = args.output or args.run / FILES[args.format]
    if args.format != "packed":
        size = _write_onnx(model, output, args.format == "qonnx")
        print(f"wrote {output}: {size:,} bytes")
        return 0
    network = packed.fold(model, run.class_names, run.training.image_range)
    with bits.numpy_alone():  # for some hundred images, compiling would take longer
        _check(network, model, run, args)
    size = packed.save(network, output)
    smaller = 4 * model.count_params() / size
    print(f"wrote {output}: {size:,} bytes, {smaller:.1f} times smaller than its float32 weights")
    return 0


def _write_onnx(model, path, qonnx):
    from bnn import packed
    from bnn.files import atomic

    content = packed.onnx_model(model, qonnx).SerializeToString()
    atomic.write(path, content)
    return len(content)


def _cause(found):
    """Say that all differences come from the first layer, the only one whose sums float32 rounds."""
    first = next(iter(found.others.values()), 0)
    if not first or found.unexplained:
        return ""
    others = ", the others because of these" if sum(found.others.values()) > first else ""
    return f": {first:,} in the first layer, whose rounded sums fall on the other side of a threshold{others}"


def _check(network, model, run, args):
    """Print how well the packed network agrees with the float32 network and with the saved network."""
    from bnn import datasets, models, packed

    try:
        images = run.load_data(args.data_dir).test.images[: args.images]
    except datasets.DataError as error:
        print(f"not checked: {error}")
        return
    if not len(images):
        return
    found = packed.compare(network, model, images, progress=progress)
    print(
        f"checked on {found.images:,} test images: {found.same:,} in the same class as with the float32 network, "
        f"scores within {found.largest:.1e}, {sum(found.others.values()):,} of "
        f"{sum(found.activations.values()):,} activations differ{_cause(found)}"
    )
    if run.training.precision != "float32":
        saved = models.scores(run.load_model(), images, progress=progress).argmax(axis=1)
        others = int((saved != network.scores(images).argmax(axis=1)).sum())
        print(
            f"the saved network, in {run.training.precision}: {others:,} of {found.images:,} images in another class"
        )
