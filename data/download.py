#!/usr/bin/env python3
"""Fetch MNIST and CIFAR-10, or Fashion-MNIST, into this folder and verify every byte; see --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bnn.commands.download import main
from bnn.console import run_program

if __name__ == "__main__":
    run_program("download.py", main)
