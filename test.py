#!/usr/bin/env python3
"""Quick self-test, under a minute on two cores; see --help, and bnn.commands.test."""

from bnn.commands.test import main
from bnn.console import run_program

if __name__ == "__main__":
    run_program("test.py", main)
