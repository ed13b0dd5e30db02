#!/usr/bin/env python3
"""Measure a network; see --help, and bnn.commands.analyze."""

from bnn.__main__ import run_script

if __name__ == "__main__":
    run_script("analyze")
