"""Give a trained real network binary, ternary or k-level weights, without training and without labels.

Each kernel is fitted to the inputs that it gets once the kernels before it are quantized. A PyTorch module is binarized
in Python: bnn.binarize(module, images).
"""

import json

from bnn import backend
from bnn.console import progress
from bnn.console.arguments import Parser
from bnn.console.errors import UserError
from bnn.console.spelling import command_line
from bnn.console.tables import filled
from bnn.geometry.estimators import MOST_LEVELS
from bnn.settings.flags import file_to_write, folder
from bnn.settings.user_code import add_use

PROGRAM = "bnn binarize"


def parse(argv=None, program=PROGRAM):
    """The command line."""
    parser = Parser(prog=program, description=__doc__)
    parser.add_argument("model", type=folder, metavar="MODEL", help="a .keras file that Keras 3 saved")
    parser.add_argument(
        "--images",
        required=True,
        metavar="FILE",
        help=".npy file of the model's input, or .npz with one array per input; a few hundred are enough",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=file_to_write,
        metavar="OUT.keras",
        help="file to write the network to",
    )
    parser.add_argument(
        "--levels",
        type=int,
        default=2,
        metavar="K",
        help="levels of a weight, times a scale per unit: 2 binary, 3 ternary (default: %(default)s)",
    )
    parser.add_argument(
        "--assignment",
        type=folder,
        metavar="FILE.json",
        help='levels of single layers, as {"conv_1": 3, "dense_1": "real"}; real ones are not changed '
        "(default: --levels for all)",
    )
    parser.add_argument(
        "--batch_size",
        type=int,
        default=50,
        metavar="N",
        help="images in a batch; memory grows with it (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the images that are held out, and of what kernels are fitted to (default: %(default)s)",
    )
    add_use(parser)
    args = parser.parse_args(argv)
    for name, least in (("batch_size", 1), ("seed", 0)):
        if getattr(args, name) < least:
            parser.error(f"argument --{name}: expected at least {least}, received {getattr(args, name)}")
    if not 2 <= args.levels <= MOST_LEVELS:
        parser.error(f"argument --levels: expected 2 to {MOST_LEVELS}, received {args.levels}")
    if args.output.suffix != ".keras":
        parser.error(f"argument --output: expected a name that ends with .keras, received {args.output.name}")
    return args


@command_line()
def main(argv=None, program=PROGRAM):
    """Binarize as the command line says; arguments and result as for `bnn.commands.train.main`."""
    args = parse(argv, program)
    backend.expect_installed()
    from bnn.models import loading

    if loading.expect_keras_file(args.model).resolve() == args.output.resolve():
        raise UserError(f"{args.output}: expected another file than the real network, received the same one")
    assignment = None if args.assignment is None else _read(args.assignment)
    model = loading.load_model(args.model)
    from bnn.binarization import binarize
    from bnn.files import atomic

    found = binarize(
        model,
        args.images,
        levels=args.levels,
        assignment=assignment,
        batch_size=args.batch_size,
        seed=args.seed,
        progress=progress,
    )
    print(f"\n{found}\n")
    with atomic.replacing(args.output) as temporary:
        found.model.save(temporary)
    weights = sum(layer.d * layer.units for layer in found.layers)
    parts = f"{weights:,} weights of {len(found.layers)} kernels with {found.bits:.2f} bits each"
    print(filled(f"wrote {args.output}:", parts))
    return 0


def _read(path):
    """The content of a JSON file."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is not JSON"
        raise UserError(
            f"{path}: expected a JSON file of layers and levels, received another one: {reason}"
        ) from None
