#!/usr/bin/env python3
"""Fetch MNIST and CIFAR-10, or Fashion-MNIST, into this folder and verify every byte; see --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bnn.__main__ import run_script

if __name__ == "__main__":
    run_script("download")
