"""Print a script with which a shell completes the commands and flags of bnn.

    bnn completion bash > ~/.local/share/bash-completion/completions/bnn
    bnn completion zsh > ~/.zfunc/_bnn     # a folder in $fpath

A new shell then completes them.
"""

import importlib
import re

from bnn.console.arguments import Parser, parser_of
from bnn.console.errors import UserError

PROGRAM = "bnn completion"
SHELLS = ("bash", "zsh")
PLACE = re.compile("RUN|FILE|DIR|MODEL|IMAGE|PACKED")  # in the name of a value that is a path


def parse(argv=None, program=PROGRAM):
    """The command line."""
    parser = Parser(prog=program, description=__doc__)
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=" or ".join(SHELLS))
    return parser.parse_args(argv)


def main(argv=None, program=PROGRAM):
    """Run the program."""
    args = parse(argv, program)
    try:
        import shtab
    except ImportError:
        raise UserError(
            "bnn completion: expected the package shtab, received none; pip install shtab"
        ) from None
    print(shtab.complete(_all_commands(shtab.FILE), args.shell))


def _all_commands(file):
    """One parser with every command of `bnn` as a subcommand; its paths are completed with `file`."""
    from bnn.__main__ import COMMANDS

    parser = Parser(prog="bnn")
    commands = parser.add_subparsers()
    for name, what in COMMANDS.items():
        found = parser_of(importlib.import_module(f"bnn.commands.{name}"))
        for action in found._actions:
            if isinstance(action.metavar, str) and PLACE.search(action.metavar):
                action.complete = file
        commands.add_parser(name, help=what, parents=[found], add_help=False)
    return parser
