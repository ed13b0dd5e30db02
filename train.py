#!/usr/bin/env python3
"""Train a binary, ternary or continuous network; see --help, and bnn.commands.train."""

from bnn.commands.train import main
from bnn.console import run_program

if __name__ == "__main__":
    run_program("train.py", main)
