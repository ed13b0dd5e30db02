"""Name the class of images, by a run's network or by a packed one, for which neither Keras nor its backend is loaded.

One line per image: its class, and the margin between the two highest scores.
"""

import math
from contextlib import nullcontext
from pathlib import Path

from bnn import backend
from bnn.arguments import Parser
from bnn.errors import UserError

PROGRAM = "bnn predict"
FEW = 10  # images of a file, up to which loading numba would take longer than to do without
MODES = {1: "L", 3: "RGB"}  # Pillow's, by the number of channels


def parse(argv=None, program=PROGRAM):
    """The command line."""
    parser = Parser(prog=program, description=__doc__)
    parser.add_argument(
        "network", type=Path, metavar="RUN|PACKED", help="run directory, or file that bnn export wrote"
    )
    parser.add_argument(
        "images",
        type=Path,
        nargs="+",
        metavar="IMAGE",
        help="PNG file, or .npy file of one or more images (height, width, channels), uint8; "
        "of the size that the network takes",
    )
    return parser.parse_args(argv)


def main(argv=None, program=PROGRAM):
    """Predict as the command line says; arguments and result as for `bnn.commands.train.main`."""
    args = parse(argv, program)
    shape, class_names, scores = (_of_run if args.network.is_dir() else _of_packed)(args.network)
    for path in args.images:
        images = read_images(path, shape)
        for i, row in enumerate(scores(images)):
            place = f"{path}[{i}]" if len(images) > 1 else path
            print(f"{place}: {class_names[row.argmax()]}, margin {_margin(row):.3f}")
    return 0


def read_images(path, shape):
    """The images in a PNG or .npy file.

    Args:
        path: Path.
        shape: (height, width, channels) of an image, or (features,).

    Returns:
        (n, *shape) array, n >= 1.

    Raises:
        UserError: the file is missing, of another kind, or holds images of another shape.
    """
    images = (_read_npy if path.suffix == ".npy" else _read_png)(path, shape)
    if images.shape == shape:
        images = images[None]
    if not images.size or images.shape[1:] != shape:
        raise UserError(f"{path}: expected images of {_spelled(shape)}, received {_spelled(images.shape)}")
    return images


def _read_npy(path, shape):
    import numpy as np

    try:
        images = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise
    except Exception as error:  # of numpy, whichever meets the damage
        kind = type(error).__name__
        raise UserError(f"{path}: expected a .npy file of images, received another ({kind})") from None
    gray = len(shape) == 3 and shape[-1] == 1 and images.shape[-2:] == shape[:2]
    return images[..., None] if gray else images


def _read_png(path, shape):
    import numpy as np
    from PIL import Image

    if len(shape) != 3 or shape[-1] not in MODES:
        raise UserError(
            f"{path}: expected a .npy file, as of images with {shape[-1]} channels, received another"
        )
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return np.asarray(picture.convert(MODES[shape[-1]])).reshape(*picture.size[::-1], -1)
    except FileNotFoundError:
        raise
    except Exception as error:  # of Pillow and zlib
        raise UserError(
            f"{path}: expected a PNG or .npy file, received another ({type(error).__name__})"
        ) from None


def _of_packed(path):
    from bnn import bits, packed

    network = packed.load(path)

    def scores(images):
        with bits.numpy_alone() if len(images) <= FEW else nullcontext():
            return network.scores(images)

    return network.input_shape, network.class_names, scores


def _of_run(folder):
    from bnn import models, runs

    run = runs.open_run(folder)
    backend.expect_installed()

    network = run.load_model()
    return run.model.input_shape, run.class_names, lambda images: models.scores(network, images)


def _margin(row):
    *_, second, first = (-math.inf, *sorted(map(float, row)))
    return first - second


def _spelled(shape):
    return " x ".join(map(str, shape)) or "no axes"
