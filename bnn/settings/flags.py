"""The flags of the settings: one per setting, in groups, with its help text and its defaults."""

import argparse
import dataclasses
import os
import types
import typing

from bnn.console.arguments import Parser, expanded, folder_name
from bnn.console.errors import ConfigError
from bnn.console.spelling import words
from bnn.datasets.catalog import USER_READERS
from bnn.geometry import estimators
from bnn.networks.quantization import GLOROT
from bnn.networks.table import DEFAULT, NETWORKS, entry
from bnn.settings.config import Quantization, TrainConfig
from bnn.settings.presets import DATA_SETS, PRESETS
from bnn.settings.user_code import add_use

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
    NETWORK: ("network",),  # and the settings of that network
    QUANTIZERS: (
        "levels",
        "threshold",
        "estimator",
        "kernel_quantizer",
        "activation_quantizer",
        "first_layer",
        "last_layer",
        "continuous",
        "clip",
    ),
    TRAINING: (
        "batch_size",
        "steps_per_epoch",
        "lr_start",
        "lr_end",
        "optimizer",
        "bop_gamma",
        "bop_threshold",
        "clip_gradients",
        "weight_decay",
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
ALIASES = {"estimator": ("--quantizer",)}
# Words that a flag takes in place of a number, with the values of the setting.
WORDS = {"clip": {GLOROT: GLOROT}, "clip_gradients": {"none": None}, "steps_per_epoch": {"all": None}}
LONGEST_METAVAR = 30  # characters of the choices that are shown next to the flag


def add_flags(parser, network=DEFAULT, several=False):
    """Add a flag for every setting, in groups; only flags that were given appear in the namespace.

    Args:
        parser: Parser.
        network: str, the name of the network whose settings have flags, besides those that all networks share.
        several: whether each setting may have several values; a list is then given by repeating its flag.

    Returns:
        dict from the group's name to the group, for further flags.
    """
    architecture, brought, _ = entry(network)
    if (usual := architecture.usual_data) != TrainConfig.data_set:
        brought = PRESETS[usual] | {"data_set": usual} | brought
    found = flagged(architecture, Quantization, TrainConfig)
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for group, members in GROUPS.items():
        for name in members:
            options = _network_flag() if name == "network" else _flag(found[name], brought)
            options = _repeated(options) if several else options
            aliases = ALIASES.get(name, ())
            groups[group].add_argument(f"--{name}", *aliases, dest=name, default=argparse.SUPPRESS, **options)
    for name, field in flagged(architecture).items():
        options = _repeated(_flag(field, brought)) if several else _flag(field, brought)
        groups[NETWORK].add_argument(f"--{name}", default=argparse.SUPPRESS, **options)
    return groups


def _repeated(options):
    """The options of argparse for a flag with several values: all after one flag, or lists after one flag each."""
    if "action" in options:
        return options
    if options.get("nargs") == "*":
        return options | {"action": "append"}
    return options | {"nargs": "+", "action": "extend"}


def first_pass(argv, program, *folders):
    """Read what decides which other flags there are, and run the files of --use.

    Args:
        argv: list of arguments, or None for those of the process.
        program: str.
        *folders: further flags to read, each with a folder.

    Returns:
        Namespace; `network` is the name of the first network, or else that of the first data set's preset; it may be
        unknown, or None.
    """
    first = Parser(prog=program, add_help=False)
    add_use(first)
    for flag in ("--network", "--data_set"):
        first.add_argument(flag, nargs="+", help=argparse.SUPPRESS)
    for flag in folders:
        first.add_argument(flag, type=folder, help=argparse.SUPPRESS)
    options, _ = first.parse_known_args(argv)
    preset = PRESETS.get(options.data_set[0], {}) if options.data_set else {}
    options.network = options.network[0] if options.network else preset.get("network")
    return options


def known(network):
    """Return the name of a network whose settings can have flags: the given one if there is such a network."""
    return network if network in NETWORKS else DEFAULT


def of_other_networks(network):
    """Return a dict from the flags of other networks to a hint that names one that has it."""
    own = flagged(entry(network).architecture)
    return {
        f"--{name}": f"; it belongs to --network {other}"
        for other, found in NETWORKS.items()
        for name in flagged(found.architecture)
        if name not in own
    }


def take_settings(namespace, network=DEFAULT):
    """Move the settings out of a namespace that a parser with `add_flags` filled, for the same network.

    Returns:
        dict from setting to value, for flags that were given; `seed` is a list if several were given, and `network` is
        the name of a network.
    """
    architecture = entry(network).architecture
    found = ("network", *flagged(architecture, Quantization, TrainConfig))
    given = {name: vars(namespace).pop(name) for name in found if name in namespace}
    if len(given.get("seed", ())) == 1:
        given["seed"] = given["seed"][0]
    return given


def take_several(namespace, network=DEFAULT):
    """Move the settings out of a namespace that a parser with `add_flags(several=True)` filled.

    Returns:
        dict from setting to a list of values, or to True or False for a switch, for flags that were given.
    """
    architecture = entry(network).architecture
    found = ("network", *flagged(architecture, Quantization, TrainConfig))
    return {name: vars(namespace).pop(name) for name in found if name in namespace}


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
    """The name of a data set, or the path of user data; a slash is added to the path of a folder, unlike a name."""
    named = text in PRESETS or text in USER_READERS
    is_folder = os.path.isdir(expanded(text))  # noqa: PTH112, Path.is_dir raises for a name that is too long
    return f"{text}/" if text and not named and is_folder else text


def quantizer_name(text):
    """The name of a quantizer."""
    try:
        return estimators.get(text).name
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error).partition(": ")[2]) from None


def flagged(*kinds):
    """Return a dict from name to field for the settings with a help text; a class's own come before inherited ones."""
    found = {}
    for kind in kinds:
        own = vars(kind).get("__annotations__", {})
        fields = sorted(dataclasses.fields(kind), key=lambda f: f.name not in own)
        found |= {f.name: f for f in fields if f.metadata}
    return found


def _network_flag():
    about = "; ".join(f"{name}: {found.about}" for name, found in NETWORKS.items() if found.about)
    return {
        "choices": NETWORKS,
        "metavar": "NAME",
        "help": f"architecture and settings of a network, one of {', '.join(NETWORKS)}; its own settings have flags, "
        f"which --network NAME --help shows; {about} (default: {DEFAULT}, in the sizes of the data set)",
    }


def _flag(f, brought):
    """The options of argparse for a setting; `brought` are the settings of the network."""
    options = {k: v for k, v in f.metadata.items() if k not in ("help", "shown")}
    if f.type is bool:
        # A network that turns it on can be had without it.
        both = any(f.name in found.settings for found in NETWORKS.values())
        action = argparse.BooleanOptionalAction if both else "store_true"
        return options | {"action": action, "help": f.metadata["help"]}
    options["help"] = f"{f.metadata['help']} (default: {_default(f, brought)})"
    options["metavar"] = _metavar(f)
    if isinstance(f.default, tuple):
        return options | {"type": type((*f.default, 0)[0]), "nargs": "*"}
    if f.name == "seed":
        return options | {"type": int, "nargs": "+"}
    if f.name == "data_set":
        return options | {"type": data_set_name}
    if f.name == "estimator":
        del options["choices"]
        return options | {"type": quantizer_name}
    if f.name in WORDS:
        return options | {"type": _number_or(WORDS[f.name], _kind(f))}
    return options | {"type": _kind(f)}


def _kind(f):
    """The type of a setting; of one that may be None, the other type."""
    return typing.get_args(f.type)[0] if isinstance(f.type, types.UnionType) else f.type


def _number_or(words, kind):
    """A parser of a number, or of one of a dict's words; argparse quotes its name if the text is neither."""

    def parse(text):
        return words[text] if text in words else kind(text)

    parse.__name__ = f"{'whole ' * (kind is int)}number or {' or '.join(words)}"
    return parse


def _metavar(f):
    """The choices, if they are short; else a letter or a word."""
    if f.name in WORDS:
        return "|".join(["N" if _kind(f) is int else "X", *WORDS[f.name]])
    choices = "|".join(map(str, f.metadata.get("choices", ())))
    if 0 < len(choices) <= LONGEST_METAVAR:
        return choices
    return {float: "X", str: "NAME"}.get(_kind(f), "N")


def _default(f, brought):
    """The default of a flag as help text: that of the network, or '500; MNIST: 100; mnist-5k: 20'."""
    if f.name in brought:
        return "none" if brought[f.name] is None else words(brought[f.name])
    values = {name: PRESETS[name][f.name] for name in DATA_SETS if f.name in PRESETS[name]}
    others = "".join(f"; {data_set}: {words(value)}" for data_set, value in values.items())
    return (f.metadata.get("shown") or words(f.default)) + others
