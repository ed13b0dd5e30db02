#!/usr/bin/env python3
"""Measure a network; see --help, and bnn.commands.analyze."""

from bnn.commands.analyze import main
from bnn.console import run_program

if __name__ == "__main__":
    run_program("analyze.py", main)
