"""The command line of the settings: a flag for each, with its help text and its defaults."""

import argparse
import dataclasses
from pathlib import Path

from bnn.config import PRESETS, ModelConfig, TrainConfig

# Fields that have a help text have a flag.
FLAGGED = [f for kind in (ModelConfig, TrainConfig) for f in dataclasses.fields(kind) if f.metadata]


def add_flags(parser):
    """Add a flag for every setting; only flags given by hand appear in the namespace."""
    for f in FLAGGED:
        parser.add_argument(f"--{f.name}", default=argparse.SUPPRESS, **_flag(f))


def take_settings(namespace):
    """Move the settings out of a namespace that a parser with `add_flags` filled.

    Returns:
        dict from field name to value, of those that were given by hand.
    """
    return {f.name: vars(namespace).pop(f.name) for f in FLAGGED if f.name in namespace}


def add_data_dir(parser, *aliases):
    """Add `--data_dir`, and other names for it: None where it is not given."""
    parser.add_argument(
        "--data_dir", *aliases, type=Path, metavar="DIR",
        help="folder of the data sets (default: $BNN_DATA, else data/ of the clone, else ./data)",
    )  # fmt: skip


def _flag(f):
    options = {k: v for k, v in f.metadata.items() if k != "help"}
    if f.type is bool:
        return options | {"action": "store_true", "help": f.metadata["help"]}
    shown = " ".join(map(str, f.default)) if isinstance(f.default, tuple) else f.default
    options["help"] = f"{f.metadata['help']} (default: {shown}{_other_defaults(f.name)})"
    if "choices" not in options:
        options["metavar"] = {int: "N", float: "X"}.get(f.type, "N")
    if isinstance(f.default, tuple):
        return options | {"type": int, "nargs": "*"}
    return options | {"type": f.type}


def _other_defaults(name):
    """The values that presets give to a flag, as help text: '; MNIST: 100; mnist-5k: 30'."""
    values = {data_set: preset[name] for data_set, preset in PRESETS.items() if name in preset}
    spelled = {k: (" ".join(map(str, v)) or "none") if isinstance(v, tuple) else v for k, v in values.items()}
    return "".join(f"; {data_set}: {value}" for data_set, value in spelled.items())
