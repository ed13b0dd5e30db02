#!/usr/bin/env python3
"""Train a binary, ternary or continuous network; see --help, and bnn.commands.train."""

from bnn.__main__ import run_script

if __name__ == "__main__":
    run_script("train")
