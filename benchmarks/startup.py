"""Response time of the programs before any work: help, an invalid flag value, and the import of `bnn.geometry`.

    python benchmarks/startup.py

The times are for complete processes and include the start of Python.
"""

import argparse
import statistics
import subprocess
import sys
import time

from measuring import ROOT, machine, spread

CASES = {
    "python -c pass": ["-c", "pass"],
    "train.py --help": ["train.py", "--help"],
    "train.py --epochs none": ["train.py", "--epochs", "none"],
    "analyze.py --help": ["analyze.py", "--help"],
    "import bnn.geometry": ["-c", "import bnn.geometry"],
}


def seconds(words):
    """Measure the time of a Python process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True)
    return time.perf_counter() - start


def main():
    """Measure all cases alternately and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="measurements (default: 7)")
    args = parser.parse_args()
    times = {name: [] for name in CASES}
    for _ in range(args.repeats):
        for name, words in CASES.items():
            times[name].append(seconds(words))
    print(f"{machine()}; medians of {args.repeats}")
    print("                  case  seconds      range")
    for name, values in times.items():
        print(f"{name:>22}  {statistics.median(values):7.2f}  {spread(values, 2):>9}")


if __name__ == "__main__":
    main()
