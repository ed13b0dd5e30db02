"""The command `bnn`, which is also `python -m bnn`."""

import argparse
import importlib
import sys

from bnn import __version__
from bnn.console import run_program
from bnn.console.arguments import Parser
from bnn.console.suggestions import did_you_mean

COMMANDS = {
    "train": "train a network; the result is a run directory",
    "sweep": "train a network for each combination of settings, here or as jobs of SLURM",
    "analyze": "measure a network: angles and dot products of every layer",
    "binarize": "give a real network binary weights, without training",
    "export": "write a trained network as bits, or as an ONNX graph",
    "predict": "predict the class of images",
    "test": "check in a minute that this installation works correctly",
    "download": "fetch MNIST and CIFAR-10, or Fashion-MNIST, and verify every byte",
    "completion": "print a script that completes commands and flags in a shell",
}


def parse(argv=None):
    """The command line: the name of a command and the list of its arguments."""
    lines = [f"  {name:12}{what}" for name, what in COMMANDS.items()]
    parser = Parser(
        prog="bnn",
        description="Binary and ternary networks, and the geometry that explains them.",
        epilog="\n".join(["commands, each with its own --help:", *lines]),
    )
    version = f"bnn-geometry {__version__}"
    parser.add_argument("--version", action="version", version=version, help="print the version and exit")
    names = ", ".join(COMMANDS)
    parser.add_argument("command", nargs="?", metavar="COMMAND", help=names)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the command")
    options = parser.parse_args(argv)
    name = options.command
    if name not in COMMANDS:
        received = "none" if name is None else repr(name)
        hint = did_you_mean(name or "", COMMANDS) or "; bnn --help describes them"
        parser.error(f"expected a command, one of {names}, received {received}{hint}")
    return name, options.arguments


def main():
    """Run a command, load no other, and exit."""
    command = [word for word in sys.argv[1:2] if word in COMMANDS]
    run_program(" ".join(["bnn", *command]), run)


def run():
    """Run the command of the command line; its exit code."""
    name, arguments = parse()
    return _command(name).main(arguments, f"bnn {name}")


def run_script(name):
    """Run a command as the script of the same name, such as train.py, does; and exit."""
    run_program(f"{name}.py", lambda: _command(name).main())


def _command(name):
    return importlib.import_module(f"bnn.commands.{name}")


if __name__ == "__main__":
    main()
