"""The flags of the settings: one per setting, in groups, with its help text and its defaults."""

import argparse
import dataclasses

from bnn.arguments import folder_name
from bnn.config import GLOROT, ModelConfig, TrainConfig
from bnn.paths import expanded
from bnn.presets import DATA_SETS, NETWORKS, PRESETS

# Fields that have a help text have a flag.
FLAGGED = {f.name: f for kind in (ModelConfig, TrainConfig) for f in dataclasses.fields(kind) if f.metadata}
START, IMAGES, NETWORK, QUANTIZERS, TRAINING, LOGS = (
    "start here",
    "own images",
    "network",
    "quantizers",
    "training",
    "logs and checkpoints",
)
# In the order of --help, so the most important flags come first.
GROUPS = {
    START: ("data_set", "epochs", "debug"),
    IMAGES: ("image_size", "image_range"),
    NETWORK: ("conv", "max_pool", "fc", "filter_size", "bn_decay", "bn_epsilon", "bn_scale"),
    QUANTIZERS: ("levels", "threshold", "estimator", "first_layer", "last_layer", "continuous", "clip"),
    TRAINING: (
        "batch_size",
        "lr_start",
        "lr_end",
        "optimizer",
        "bop_gamma",
        "bop_threshold",
        "clip_gradients",
        "schedule",
        "warmup",
        "augment",
        "loss_mode",
        "label_smoothing",
        "seed",
        "precision",
        "deterministic",
    ),
    LOGS: ("ckpt_n", "log_geometry"),
}
# Words that a flag takes in place of a number, with the values of the setting.
WORDS = {"clip": {GLOROT: GLOROT}, "clip_gradients": {"none": None}}
LONGEST_METAVAR = 30  # characters of the choices that are shown beside the flag


def add_flags(parser):
    """Add a flag for every setting, in groups; only flags that were given appear in the namespace.

    Returns:
        dict from the group's name to the group, for further flags.
    """
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for group, names in GROUPS.items():
        for name in names:
            groups[group].add_argument(f"--{name}", default=argparse.SUPPRESS, **_flag(FLAGGED[name]))
    groups[NETWORK].add_argument(
        "--network",
        default=argparse.SUPPRESS,
        choices=NETWORKS,
        metavar="|".join(NETWORKS),
        help="a network from the literature; binarynet with the training of its authors; other flags change its "
        "settings (default: the network of the data set)",
    )
    return groups


def take_settings(namespace):
    """Move the settings out of a namespace that a parser with `add_flags` filled.

    Returns:
        dict from field name to value, for flags that were given; `seed` is a list if several were given, and `network`
        is the name of a network.
    """
    given = {name: vars(namespace).pop(name) for name in (*FLAGGED, "network") if name in namespace}
    if len(given.get("seed", ())) == 1:
        given["seed"] = given["seed"][0]
    return given


def add_data_dir(parser, *aliases):
    """Add `--data_dir`, and aliases of it; the value is None if it is not given."""
    parser.add_argument(
        "--data_dir",
        *aliases,
        type=place,
        metavar="DIR",
        help="folder of the data sets (default: $BNN_DATA, else data/ of the clone, else ./data)",
    )


def folder(text):
    """A Path from the text of a flag; an empty text is refused."""
    return expanded(folder_name(text))


def place(text):
    """A Path of a folder from the text of a flag, which may be new; a file is refused."""
    path = folder(text)
    if path.is_file():
        raise argparse.ArgumentTypeError(f"expected a folder, received the file {text}")
    return path


def file_to_write(text):
    """A Path of a file from the text of a flag, which may be new; a folder is refused."""
    path = expanded(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"expected the name of a file, received the folder {text!r}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"expected a file in a folder that exists, received {text!r}, in none"
        )
    return path


def data_set_name(text):
    """The name of a data set, or the path of own data; a slash is added to the path of a folder, unlike a name."""
    return f"{text}/" if text and text not in DATA_SETS and expanded(text).is_dir() else text


def _flag(f):
    options = {k: v for k, v in f.metadata.items() if k not in ("help", "shown")}
    if f.type is bool:
        # A network that turns it on can be had without it.
        both = any(f.name in network for network in NETWORKS.values())
        action = argparse.BooleanOptionalAction if both else "store_true"
        return options | {"action": action, "help": f.metadata["help"]}
    shown = f.metadata["shown"] or _spelled(f.default)
    options["help"] = f"{f.metadata['help']} (default: {shown}{_other_defaults(f.name)})"
    options["metavar"] = _metavar(f)
    if isinstance(f.default, tuple):
        return options | {"type": type((*f.default, 0)[0]), "nargs": "*"}
    if f.name == "seed":
        return options | {"type": int, "nargs": "+"}
    if f.name == "data_set":
        return options | {"type": data_set_name}
    if f.name in WORDS:
        return options | {"type": _number_or(WORDS[f.name])}
    return options | {"type": f.type}


def _number_or(words):
    """A parser of a number, or of one of a dict's words; argparse quotes its name if the text is neither."""

    def parse(text):
        return words[text] if text in words else float(text)

    parse.__name__ = f"number or {' or '.join(words)}"
    return parse


def _metavar(f):
    """The choices, if they are short; else a letter or a word."""
    if f.name in WORDS:
        return "|".join(["X", *WORDS[f.name]])
    choices = "|".join(map(str, f.metadata.get("choices", ())))
    if 0 < len(choices) <= LONGEST_METAVAR:
        return choices
    return {float: "X", str: "NAME"}.get(f.type, "N")


def _other_defaults(name):
    """The values that presets give to a flag, as help text: '; MNIST: 100; mnist-5k: 30'."""
    values = {data_set: preset[name] for data_set, preset in PRESETS.items() if name in preset}
    return "".join(f"; {data_set}: {_spelled(value)}" for data_set, value in values.items())


def _spelled(value):
    """A default value, as help text."""
    return (" ".join(map(str, value)) or "none") if isinstance(value, tuple) else value
