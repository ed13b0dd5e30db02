"""Write the network of a run as bits, one or two per weight, or as a graph for ONNX or OpenVINO.

As a check, what is to be written and the float32 network with the same weights classify test images of the run's data
set. If activations differ by more than rounding explains, nothing is written.
"""

from bnn import backend
from bnn.console import progress
from bnn.console.arguments import Parser
from bnn.console.errors import UserError
from bnn.console.spelling import command_line
from bnn.console.tables import filled
from bnn.settings.flags import add_data_dir, file_to_write, folder
from bnn.settings.user_code import add_use

PROGRAM = "bnn export"
GRAPH_IMAGES = 8  # NumPy computes a graph slowly
OPENVINO_IMAGES = 16
FILES = {
    "packed": "packed.npz",
    "onnx": "network.onnx",
    "qonnx": "network.qonnx.onnx",
    "openvino": "network.xml",
}


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
        "qonnx: with the quantizers of QONNX, for FINN and, if dense and ternary, hls4ml; openvino: binary networks "
        "for OpenVINO, a FILE.xml and its weights in FILE.bin (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=file_to_write,
        metavar="FILE",
        help=f"file to write (default: {', '.join(FILES.values())} in RUN)",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=200,
        metavar="N",
        help="maximum number of test images for the check; other formats take fewer; "
        "0: no check (default: %(default)s)",
    )
    add_data_dir(parser)
    add_use(parser)
    args = parser.parse_args(argv)
    if args.images < 0:
        parser.error(f"argument --images: expected at least 0, received {args.images}")
    if args.format == "openvino" and args.output and args.output.suffix != ".xml":
        parser.error(f"argument --output: expected a name that ends with .xml, received {args.output}")
    return args


@command_line()
def main(argv=None, program=PROGRAM):
    """Export as the command line says; arguments and result as for `bnn.commands.train.main`."""
    args = parse(argv, program)
    backend.expect_installed()
    from bnn import packed, runs
    from bnn.files import atomic

    if args.run.suffix == ".keras" and not (args.run.parent / "config.json").is_file():
        raise UserError(
            f"{args.run}: expected a run directory, received a file without its run; in Python, "
            "bnn.pack(bnn.models.load_model(FILE)) packs its network"
        )
    run = runs.open_run(args.run)
    if reason := run.config.network.not_a_chain:
        name = run.config.network.name
        raise packed.PackError(
            f"{run.folder}: expected a chain of layers, such as vgg, received {name}: {reason}"
        )
    model = packed.reference(run)
    output = args.output or args.run / FILES[args.format]
    files = [output]
    with atomic.replacing(output) as temporary:
        if args.format == "openvino":
            files.append(_write_openvino(temporary, output, model, run, args))
        else:
            (_write_packed if args.format == "packed" else _write_onnx)(temporary, model, run, args)
    size = sum(file.stat().st_size for file in files)
    smaller = f"{4 * model.count_params() / size:.1f} times smaller than its float32 weights"
    parts = [f"{size:,} bytes", *([smaller] if args.format in ("packed", "openvino") else [])]
    print(filled(f"wrote {' and '.join(map(str, files))}:", *_list(parts)))
    print(filled("classes:", *_list(f"{i} = {name}" for i, name in enumerate(run.class_names))))
    return 0


def _list(parts):
    """Parts of a text with commas between them, which `filled` takes."""
    *others, last = parts
    return [*(f"{part}," for part in others), last]


def _write_packed(path, model, run, args):
    """Write the packed network, and check the network that is read from this file."""
    from bnn import bits, packed
    from bnn.packed.files import serialized

    path.write_bytes(serialized(packed.pack(model, run.class_names, run.training.image_range)))
    with bits.numpy_alone():  # for some hundred images, compiling would take longer
        _check(packed.load(path), model, run, args)


def _write_onnx(path, model, run, args):
    """Write an ONNX or QONNX graph, and check the graph that is read from this file."""
    from bnn import packed

    graph = packed.onnx_model(model, args.format == "qonnx", run.class_names)
    path.write_bytes(graph.SerializeToString())
    split = _images(run, args)
    if split:
        import onnx

        images = split.images[:GRAPH_IMAGES]
        graph = onnx.load(path)
        _expect_agreement(packed.wrong_in_graph(graph, model, images, progress), args)
        print(
            filled(
                f"checked on {len(images):,} test images:",
                "no difference to the float32 network beyond rounding",
            )
        )


def _write_openvino(path, output, model, run, args):
    """Write an OpenVINO graph and its weights beside `output`, check them, and return the file of the weights."""
    from bnn import bits, packed
    from bnn.files import atomic

    with bits.numpy_alone():
        network = packed.pack(model, run.class_names, run.training.image_range)
    graph = packed.openvino_model(network)
    import openvino

    weights = output.with_suffix(".bin")
    with atomic.replacing(weights) as temporary:
        openvino.serialize(graph, path, temporary)
        if args.images:
            split = _images(run, args)
            images = split.images[:OPENVINO_IMAGES] if split else _noise(network.input_shape)
            graph = openvino.Core().read_model(path, temporary)
            _expect_agreement(packed.wrong_in_openvino(graph, network, model, images), args)
            print(
                filled(
                    f"checked on {len(images):,} {'test images' if split else 'images of noise'}:",
                    "no difference to the float32 network beyond rounding,",
                    "if compiled with INFERENCE_PRECISION_HINT f32",
                )
            )
    return weights


def _noise(shape):
    """Images of noise: enough to find a version of OpenVINO that computes wrongly."""
    import numpy as np

    return np.random.default_rng(0).integers(256, size=(OPENVINO_IMAGES, *shape), dtype=np.uint8)


def _expect_agreement(wrong, args):
    """Raise `PackError` if a dict from a layer's name to a number of wrong values is not empty."""
    from bnn import packed

    if wrong:
        where = ", ".join(f"{count:,} in {name}" for name, count in wrong.items())
        raise packed.PackError(
            f"{args.run}: expected the activations and scores of the float32 network up to rounding, received "
            f"others ({where}); nothing was written"
        )


def _images(run, args):
    """The test images for the check, a Split; None if none are wanted or, with a line, the data are missing."""
    from bnn import datasets

    try:
        return run.load_data(args.data_dir).test[: args.images] if args.images else None
    except datasets.DataError as error:
        print(f"not checked: {error}")
        return None


def _differences(found):
    """The activations that differ, in parts; the first layer is the only one whose sums float32 rounds."""
    counted = f"{sum(found.others.values()):,} of {sum(found.activations.values()):,} activations differ"
    first = next(iter(found.others.values()), 0)
    if not first or found.unexplained:
        return [counted]
    others = ["the others because of these"] if sum(found.others.values()) > first else []
    where = f"{counted}: {first:,} in the first layer"
    return [where, "whose rounded sums fall on the other side of a threshold", *others]


def _check(network, model, run, args):
    """Print how well the packed network agrees with the float32 network and with the saved network."""
    from bnn import models, packed

    split = _images(run, args)
    if not split:
        return
    found = packed.compare(network, model, split.images, progress=progress)
    _expect_agreement(found.wrong, args)
    parts = [
        f"{found.same:,} in the same class as with the float32 network",
        f"scores within {found.largest:.1e}",
        *_differences(found),
    ]
    print(filled(f"checked on {found.images:,} test images:", *_list(parts)))
    of_both = {"packed": found.packed_classes, "in float32": found.classes}
    accuracies = {name: (classes == split.labels).mean() for name, classes in of_both.items()}
    if run.training.precision != "float32":
        saved = models.accuracy(run.load_model(), split, progress=progress)
        accuracies[f"as trained, in {run.training.precision}"] = saved
    print(filled("accuracy on them:", *_list(f"{value:.4f} {name}" for name, value in accuracies.items())))
