"""Predict the class of images with the network of a run, or with a packed network, which needs no Keras.

One line per image: its class, and the margin between the two highest scores; --scores adds the five highest ones.
--errors shows wrong classifications. In Python, bnn.predict(RUN, IMAGES) returns classes and scores.

A run that was trained on text continues one: bnn predict RUN --prompt TEXT; in Python, bnn.generate(RUN, TEXT).
"""

import argparse

from bnn import backend
from bnn.commands import figures, several
from bnn.console.arguments import Parser, expanded
from bnn.console.errors import UserError
from bnn.console.spelling import command_line
from bnn.settings.flags import add_data_dir, file_to_write, place
from bnn.settings.user_code import add_use

PROGRAM = "bnn predict"
SHOWN = 5  # scores of an image
COLUMNS = ("image", "class", "margin")
WARMTH = "above 1, unlikely characters become more likely; 0: always take the most likely one"
WRITING = (
    ("characters", 500, "how many characters to write"),
    ("temperature", 0.8, WARMTH),
    ("seed", 0, "seed of the draws"),
)


def parse(argv=None, program=PROGRAM):
    """The command line."""
    parser = Parser(prog=program, description=__doc__)
    add = parser.add_argument
    add("network", type=expanded, metavar="RUN|PACKED", help="run directory, or file that bnn export wrote")
    add(
        "images",
        type=expanded,
        nargs="*",
        default=[],
        metavar="IMAGE",
        help="PNG or JPEG file, .npy file of one or more images (height, width, channels), or folder of such files; "
        "of the size that the network takes",
    )
    add(
        "--scores",
        action="store_true",
        help=f"also print the {SHOWN} highest scores of each image, and write all into the CSV file (default: no)",
    )
    add(
        "--csv", type=file_to_write, metavar="FILE", help="also write the lines as a CSV file (default: none)"
    )
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
    add("--output", type=place, metavar="DIR", help="folder for the figures of --errors (default: RUN)")
    add(
        "--prompt",
        metavar="TEXT",
        help="of a run on text: print this text and what the network writes after it",
    )
    for name, default, what in WRITING:
        add(
            f"--{name}",
            type=type(default),
            default=argparse.SUPPRESS,
            metavar="N" if isinstance(default, int) else "X",
            help=f"{what} (default: {default})",
        )
    add_data_dir(parser)
    add_use(parser)
    args = parser.parse_args(argv)
    writing = [name for name, _, _ in WRITING if name in args]
    if writing and args.prompt is None:
        parser.error(f"argument --{writing[0]}: expected together with --prompt, received alone")
    if args.prompt is not None and (args.images or args.errors):
        received = "--errors" if args.errors else f"the image {args.images[0]}"
        parser.error(f"argument --prompt: expected no images with it, received {received}")
    if not (args.images or args.errors or args.prompt is not None):
        parser.error("expected an IMAGE or --errors, received neither; a run on text takes --prompt TEXT")
    for name in ("csv", "scores"):
        if getattr(args, name) and not args.images:
            parser.error(f"argument --{name}: expected together with an IMAGE, received alone")
    if args.output and not args.errors:
        parser.error("argument --output: expected together with --errors, received alone")
    return args


@command_line()
def main(argv=None, program=PROGRAM):
    """Predict as the command line says; arguments and result as for `bnn.commands.train.main`."""
    args = parse(argv, program)
    if args.prompt is not None:
        write(args)
    if args.images:
        name_classes(args)
    if args.errors:
        draw_errors(args.network, args.output or args.network, args.data_dir)
    return 0


def write(args):
    """Print the prompt and what the network writes after it."""
    from bnn.analysis.generation import generate

    run = opened(args.network)
    if run is None:
        raise UserError(f"--prompt: expected a run directory, received the file {args.network}")
    print(generate(run, args.prompt, **{k: getattr(args, k) for k, _, _ in WRITING if k in args}))


def name_classes(args):
    """Print the class of every image, and write the CSV file."""
    from bnn.analysis import prediction
    from bnn.datasets import pictures
    from bnn.files import atomic

    if run := opened(args.network):
        prediction.expect_images(run)
    paths = pictures.find(args.images)
    classifier = prediction.classifier_of(args.network)
    shape, image_range = classifier.shape, classifier.image_range
    rows = []
    for names, images in pictures.parts(paths, shape, args.resize, image_range):
        scores = classifier.scores(images)
        rows += _rows(names, scores, classifier.names_for(scores), args.scores)
    if args.csv:
        atomic.write_csv(args.csv, tuple(rows[0]), rows)


def opened(path):
    """Open a run, or return None for a file, which may be a packed network; other models and pictures are refused."""
    from bnn import runs
    from bnn.datasets.picture_files import SUFFIXES
    from bnn.models.loading import OTHER_MODELS

    hints = dict.fromkeys(SUFFIXES, "the network comes first, then the images")
    hints |= dict.fromkeys((".keras", *OTHER_MODELS), "in Python, bnn.predict takes a model")
    if hint := hints.get(path.suffix.lower()):
        raise UserError(
            f"{path}: expected a run directory or a file that bnn export wrote, received a {path.suffix} file; {hint}"
        )
    return None if path.is_file() else runs.open_run(path)


def _rows(names, scores, class_names, with_scores):
    """Print one line per image, with the best scores if wanted; return the rows of the CSV file."""
    from bnn.models.decisions import margins

    rows = []
    for name, own, margin in zip(names, scores, margins(scores), strict=True):
        best = (-own).argsort(kind="stable")
        row = dict(zip(COLUMNS, (name, class_names[best[0]], margin), strict=True))
        line = f"{name}: {row['class']}, margin {margin:.3f}"
        if with_scores:
            row |= {f"score {label}": value for label, value in zip(class_names, own, strict=True)}
            line += "; scores " + ", ".join(f"{class_names[i]} {own[i]:.3f}" for i in best[:SHOWN])
        print(line)
        rows.append(row)
    return rows


def draw_errors(network, output, data_dir=None):
    """Write errors.png, errors.pdf, confusion.png and confusion.pdf for a run's test images into a folder."""
    from bnn import models, plots, runs
    from bnn.analysis.prediction import expect_images
    from bnn.console import progress

    if network.is_file():
        raise UserError(
            f"--errors: expected a run directory, whose data are known, received the file {network}"
        )
    run = runs.open_run(network)
    expect_images(run)
    data_set = run.load_data(data_dir)
    run.expect_fit(data_set)
    backend.expect_installed()
    test = data_set.test
    scores = models.scores(run.load_in_float32(), test.images, progress=progress)
    wrong = models.worst_errors(scores, test.labels)
    accuracy = f"{1 - len(wrong) / len(test):.4f}: {len(wrong):,} of {len(test):,} images are wrong"
    several.print_accuracy(run, run.origin(data_set), accuracy)
    counts = models.confusion_matrix(scores, test.labels)
    drawings = {"confusion": lambda: plots.confusion_matrix(counts, run.class_names)}
    if len(wrong):
        test, scores = test[wrong], scores[wrong]
        shown = test.images, test.labels, scores.argmax(axis=1), models.margins(scores)
        drawings["errors"] = lambda: plots.errors(*shown, run.class_names)
    with figures.expected(", ".join(drawings)):
        figures.print_key(classes=run.class_names)
        plots.save_each(drawings, output, lambda paths: print(f"wrote {', '.join(map(str, paths))}"))
