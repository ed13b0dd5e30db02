"""The highest speed that the machine can reach: the arithmetic of a product of bits without its memory access."""

import time

from bnn.bits.engine import engine
from bnn.bits.words import WORD


def popcount_limit(seconds=0.5):
    """Measure the operations per second of XOR, popcount and addition on words in registers, on all numba threads.

    The multiplication of two bits and the addition of the product count as two operations. Without numba, this is the
    speed of NumPy on words in the first-level cache, on one thread.

    Args:
        seconds: float, how long to measure.

    Returns:
        Float, the best of many attempts of about a millisecond, because other work on the machine can only slow one.
    """
    stir = engine().stir
    stir()  # compiles the function
    best, end = 0.0, time.perf_counter() + seconds
    while not best or time.perf_counter() < end:
        start = time.perf_counter()
        words = stir()
        best = max(best, 2 * WORD * words / (time.perf_counter() - start))
    return best
