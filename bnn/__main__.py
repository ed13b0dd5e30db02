"""The command `bnn`, which is also `python -m bnn`."""

import argparse
import functools
import importlib

from bnn.console import run_program

COMMANDS = {
    "train": "train a network; the result is a run directory",
    "analyze": "measure a network: angles and dot products of every layer",
    "test": "check in a minute that this installation computes as it should",
    "download": "fetch MNIST and CIFAR-10 and verify every byte",
}


def parse(argv=None):
    """The command line: the name of a command and the list of its arguments."""
    lines = [f"  {name:10}{what}" for name, what in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="bnn",
        description="Binary and ternary networks, and the geometry that explains them.",
        epilog="\n".join(["commands, each with a --help of its own:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=", ".join(COMMANDS))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the command takes")
    options = parser.parse_args(argv)
    return options.command, options.arguments


def main():
    """Run a command, load no other, and exit."""
    name, arguments = parse()
    command = importlib.import_module(f"bnn.commands.{name}")
    run_program(f"bnn {name}", functools.partial(command.main, arguments, f"bnn {name}"))


if __name__ == "__main__":
    main()
