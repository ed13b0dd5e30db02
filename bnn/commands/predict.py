"""Predict the class of images with the network of a run, or with a packed network, which needs no Keras.

One line per image: its class, and the margin between the two highest scores. --errors shows wrong classifications.
"""

from contextlib import nullcontext

from bnn import backend
from bnn.arguments import Parser
from bnn.commands import figures
from bnn.errors import UserError
from bnn.flags import add_data_dir, folder
from bnn.paths import expanded
from bnn.spelling import command_line

PROGRAM = "bnn predict"
FEW = 10  # images; for so few, NumPy takes less time than loading numba
COLUMNS = ("image", "class", "margin")


def parse(argv=None, program=PROGRAM):
    """The command line."""
    parser = Parser(prog=program, description=__doc__)
    add = parser.add_argument
    add("network", type=expanded, metavar="RUN|PACKED", help="run directory, or file that bnn export wrote")
    add(
        "images",
        type=expanded,
        nargs="*",
        metavar="IMAGE",
        help="PNG or JPEG file, .npy file of one or more images (height, width, channels), or folder of such files; "
        "of the size that the network takes",
    )
    add("--csv", type=expanded, metavar="FILE", help="also write the lines as a CSV file (default: none)")
    add(
        "--resize",
        action="store_true",
        help="scale images of another size, and convert color to gray for a network of gray images (default: no)",
    )
    add(
        "--errors",
        action="store_true",
        help="draw the test images that a run classifies wrongly with the largest margin, and the confusion matrix "
        "(default: no)",
    )
    add("--output", type=folder, metavar="DIR", help="folder for the figures of --errors (default: RUN)")
    add_data_dir(parser)
    args = parser.parse_args(argv)
    if not (args.images or args.errors):
        parser.error("expected an IMAGE or --errors, received neither")
    if args.csv and not args.images:
        parser.error("argument --csv: expected together with an IMAGE, received alone")
    if args.output and not args.errors:
        parser.error("argument --output: expected together with --errors, received alone")
    return args


@command_line()
def main(argv=None, program=PROGRAM):
    """Predict as the command line says; arguments and result as for `bnn.commands.train.main`."""
    args = parse(argv, program)
    if args.images:
        name_classes(args)
    if args.errors:
        draw_errors(args.network, args.output or args.network, args.data_dir)
    return 0


def name_classes(args):
    """Print the class of every image, and write the CSV file."""
    from bnn.datasets import pictures
    from bnn.files import records

    paths = pictures.find(args.images)
    shape, class_names, image_range, scores = (_of_run if args.network.is_dir() else _of_packed)(args.network)
    rows = []
    for names, images in pictures.parts(paths, shape, args.resize, image_range):
        rows += _rows(names, scores(images), class_names)
    if args.csv:
        records.write_csv(args.csv, COLUMNS, rows)


def _rows(names, scores, class_names):
    """Print one line per image; return the rows of the CSV file."""
    from bnn.models.decisions import margins

    rows = [
        dict(zip(COLUMNS, (name, class_names[best], margin), strict=True))
        for name, best, margin in zip(names, scores.argmax(axis=1), margins(scores), strict=True)
    ]
    for row in rows:
        print(f"{row['image']}: {row['class']}, margin {row['margin']:.3f}")
    return rows


def draw_errors(network, output, data_dir=None):
    """Write errors.png, errors.pdf, confusion.png and confusion.pdf for a run's test images into a folder."""
    from bnn import models, plots, runs
    from bnn.console import progress

    if network.is_file():
        raise UserError(
            f"--errors: expected a run directory, whose data are known, received the file {network}"
        )
    run = runs.open_run(network)
    data_set = run.load_data(data_dir)
    run.expect_fit(data_set)
    backend.expect_installed()
    test = data_set.test
    scores = models.scores(run.load_in_float32(), test.images, progress=progress)
    wrong = models.worst_errors(scores, test.labels)
    print(f"{run.folder}: {run.model.kind} network, {run.origin(data_set)}")
    if run.arithmetic:
        print(run.arithmetic)
    print(f"test accuracy {1 - len(wrong) / len(test):.4f}: {len(wrong):,} of {len(test):,} images are wrong")
    counts = models.confusion_matrix(scores, test.labels)
    drawings = {"confusion": lambda: plots.confusion_matrix(counts, run.class_names)}
    if len(wrong):
        test, scores = test[wrong], scores[wrong]
        shown = test.images, test.labels, scores.argmax(axis=1), models.margins(scores)
        drawings["errors"] = lambda: plots.errors(*shown, run.class_names)
    with figures.expected(", ".join(drawings)):
        figures.print_key(classes=run.class_names)
        plots.save_each(drawings, output, lambda paths: print(f"wrote {', '.join(map(str, paths))}"))


def _of_packed(path):
    from bnn import bits, packed

    network = packed.load(path)

    def scores(images):
        with bits.numpy_alone() if len(images) <= FEW else nullcontext():
            return network.scores(images)

    return network.input_shape, network.class_names, network.image_range, scores


def _of_run(path):
    from bnn import models, runs

    run = runs.open_run(path)
    backend.expect_installed()
    network = run.load_in_float32()
    image_range = run.training.image_range
    return run.model.input_shape, run.class_names, image_range, lambda images: models.scores(network, images)
