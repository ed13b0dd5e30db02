"""Time to sample 10,000 angles between a random vector and its sign: vectorized, and one by one.

    python benchmarks/sampling_speed.py

The loop is the method of the authors: draw a vector with NumPy's legacy generator, binarize it with integer
comparisons, divide the dot product by the norms, and take the arccos. d = 27 is the largest dimension in the paper's
Fig 2a. For large d, most of the time is spent on random numbers, which vectorization does not make faster.
"""

import argparse
import statistics
import sys
import time

import numpy as np
from measuring import ROOT, machine, spread

sys.path.insert(0, str(ROOT))
from bnn.geometry import sample_angles, sign

ANGLES = 10_000


def one_by_one(d, n):
    """Sample n angles, one vector at a time."""
    random = np.random.RandomState(0)
    return np.array([_angle(random.randn(d)) for _ in range(n)])


def _angle(x):
    binary = -1 * (x < 0) + 1 * (x > 0)
    return np.arccos(np.dot(x, binary) / np.sqrt(np.dot(x, x) * np.dot(binary, binary)))


def vectorized(d, n):
    """Sample n angles with the library."""
    return sample_angles(d, n, sign, np.random.default_rng(0))


def seconds(function, *args):
    """Measure the time of a call."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def main():
    """Measure both methods alternately and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="measurements (default: 7)")
    args = parser.parse_args()
    print(f"{machine('numpy')}; {ANGLES:,} angles, medians of {args.repeats}")
    print("   d  seconds        range  one by one        range  ratio")
    for d in (3, 27, 1000):
        turns = [[seconds(way, d, ANGLES) for way in (vectorized, one_by_one)] for _ in range(args.repeats)]
        ours, loop = zip(*turns, strict=True)
        ratio = statistics.median(b / a for a, b in turns)
        fast, slow = statistics.median(ours), statistics.median(loop)
        print(f"{d:4}  {fast:7.4f}  {spread(ours, 3):>11}  {slow:10.4f}  {spread(loop, 3):>11}  {ratio:5.1f}")


if __name__ == "__main__":
    main()
