"""What the machine can reach at most: the arithmetic of a product of bits, without its memory."""

import time

from bnn.bits.engine import engine
from bnn.bits.words import WORD


def popcount_limit(seconds=0.5):
    """Operations per second of XOR, popcount and addition on words in registers, on all of numba's threads.

    A multiplication of two bits and the addition of the product are two operations. Without numba it is what NumPy
    reaches on words in the first cache, on one thread.

    Args:
        seconds: float, how long to measure.

    Returns:
        float, the best of many attempts of about a millisecond: other work on the machine only ever slows one.
    """
    stir = engine().stir
    stir()  # compiles
    best, end = 0.0, time.perf_counter() + seconds
    while not best or time.perf_counter() < end:
        start = time.perf_counter()
        words = stir()
        best = max(best, 2 * WORD * words / (time.perf_counter() - start))
    return best
