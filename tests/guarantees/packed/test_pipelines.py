"""One call for a chain of products gives what the products give one after another, with NumPy."""

import copy

import numpy as np
import pytest

from bnn import bits
from bnn.bits import Bits, Pipeline, Step, Thresholds, convolution_kernel, dense_kernel

numba = pytest.importorskip("numba")


def random_bits(rng, shape, ternary):
    return bits.pack(rng.choice([-1, 0, 1] if ternary else [-1, 1], shape), ternary)


def random_thresholds(rng, units, largest, ternary):
    """Some channels are constant, and some fall."""
    at, rising = rng.integers(-largest, largest + 1, units), rng.random(units) < 0.6
    at = np.where(rng.random(units) < 0.05, rng.choice([6 - 2**31, 2**31 - 7], units), at)
    above = at + np.where(rising, 1, -1) * rng.integers(0, 5, units)
    return Thresholds(np.stack([at, above]) if ternary else at, rising)


def random_steps(rng, shape, integers, ternary):
    """Convolutions of any size and pooling, and dense layers; the last one may give sums."""
    steps = []
    for _ in range(rng.integers(1, 4) if len(shape) == 3 else 0):
        units, window = rng.integers(1, 150), rng.integers(1, 5, 2)
        pool = rng.choice(["none", "sums", "bits"]) if min(shape[:2]) >= 2 else "none"
        kernel = convolution_kernel(random_bits(rng, (*window, units, shape[2]), rng.random() < 0.3))
        largest = 15 if steps or not integers else 900
        steps.append(Step(kernel, random_thresholds(rng, units, largest, ternary), pool))
        shape = (*((n // 2 if pool != "none" else n) for n in shape[:2]), units)
    for _ in range(rng.integers(0 if steps else 1, 3)):
        units, flat = rng.integers(1, 150), integers and not steps
        axes = (int(np.prod(shape)),) if flat else shape
        kernel = dense_kernel(random_bits(rng, (units, *axes), rng.random() < 0.3))
        steps.append(Step(kernel, random_thresholds(rng, units, 900 if flat else 15, ternary)))
        shape = (units,)
    if rng.random() < 0.6 and not (integers and not steps):
        steps.append(Step(dense_kernel(random_bits(rng, (rng.integers(1, 99), *shape), False)), None))
    return steps


def one_after_another(x, steps, scale):
    if scale:
        x = x.astype(np.int16) * scale[0] + scale[1]
    with bits.numpy_alone():
        for step in steps:
            integers = not isinstance(x, Bits)
            if step.kernel.dense:
                x = x.reshape(len(x), -1) if integers else x
                x = (bits.dense_integers if integers else bits.dense)(x, step.kernel, step.thresholds)
            else:
                product = bits.convolve_integers if integers else bits.convolve
                x = product(x, step.kernel, step.thresholds, step.pool == "sums")
                x = bits.max_pool(x) if step.pool == "bits" else x
    return x


def expect_equal(found, expected):
    if isinstance(expected, Bits):
        assert found.channels == expected.channels
        found, expected = found.planes, expected.planes
    np.testing.assert_array_equal(found, expected)


def random_case(rng):
    """(input, steps, scale, planes) of a random chain."""
    integers, flat = rng.random() < 0.6, rng.random() < 0.2
    channels = rng.integers(1, 5) if integers else rng.integers(1, 140)
    shape = (int(rng.integers(1, 300)),) if flat else (*map(int, rng.integers(2, (14, 20))), int(channels))
    n = rng.choice([1, 2, 5, 17, 33])
    scale = [(1, 0), (2, -255), (1, -128)][rng.integers(3)] if integers else None
    if integers:
        x = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    else:
        x = random_bits(rng, (n, *shape), rng.random() < 0.4)
    return x, random_steps(rng, shape, integers, rng.random() < 0.3), scale, 1 if integers else len(x.planes)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("seed", range(40))
def test_every_activation_and_sum_is_that_of_the_products(seed, workers):
    """Every chain is also cut behind each of its layers, so that all activations are seen."""
    rng = np.random.default_rng(seed)
    x, steps, scale, planes = random_case(rng)
    before = numba.get_num_threads()
    numba.set_num_threads(min(workers, before))
    try:
        for count in range(1, len(steps) + 1):
            pipeline = Pipeline(x.shape[1:], steps[:count], scale, planes)
            expect_equal(pipeline(x), one_after_another(x, steps[:count], scale))
    finally:
        numba.set_num_threads(before)


def test_a_copy_does_not_use_the_memory_of_the_original():
    x, steps, scale, planes = random_case(np.random.default_rng(0))
    original = Pipeline(x.shape[1:], steps, scale, planes)
    copied = copy.copy(original)
    assert not {*original.addresses} & {*copied.addresses}
    expect_equal(copied(x), one_after_another(x, steps, scale))
