"""The scores that numba computes in one call are those of the layers, one after another, with NumPy."""

import copy
import dataclasses

import numpy as np
import pytest

from bnn import bits
from bnn.packed.parts import Layer, Pixels, Scores
from tests.packed.packed_networks import random_network

pytest.importorskip("numba")


def expect_the_scores_of_numpy(net, n=20):
    images = np.random.default_rng(9).integers(256, size=(n, *net.input_shape), dtype=np.uint8)
    found = net.scores(images, batch_size=17)
    with bits.numpy_alone():
        np.testing.assert_array_equal(found, net.scores(images))


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("real_last", [False, True])
def test_layers_of_bits_between_real_ones(real, real_last):
    rng = np.random.default_rng(1)
    net = random_network(rng, real)
    if real_last:
        kernel = rng.normal(size=(5, 4)).astype(np.float32)
        net.layers[-1] = Layer("scores", kernel, Scores(*rng.normal(size=(2, 4)).astype(np.float32)))
    expect_the_scores_of_numpy(net)


def test_replaced_layers_copies_and_pixels_beyond_255():
    rng = np.random.default_rng(2)
    net = random_network(rng, False)
    expect_the_scores_of_numpy(net)
    net.layers[1] = random_network(rng, False).layers[1]
    expect_the_scores_of_numpy(net)
    expect_the_scores_of_numpy(dataclasses.replace(net, pixels=Pixels(1, -128)))
    copied = copy.copy(net)
    del net
    expect_the_scores_of_numpy(copied)
    bright = dataclasses.replace(copied, pixels=Pixels(300, 0))  # of a file that this program did not write
    with pytest.raises(ValueError, match="expected uint8, or int16 from -255 to 255"):
        bright.scores(np.full((1, *bright.input_shape), 9, np.uint8))
