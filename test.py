#!/usr/bin/env python3
"""Quick self-test, under a minute on two cores; see --help, and bnn.commands.test."""

from bnn.__main__ import run_script

if __name__ == "__main__":
    run_script("test")
