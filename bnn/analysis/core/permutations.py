"""Permutations within images, for r_permuted: what an image gets depends only on the generator and on its index.

So images can be measured in batches of any size, and in several processes.
"""

import copy

import numpy as np

BLOCK = 1000  # images whose permutations are drawn one after the other; those before in the block must be drawn, too
SKIPPED = 64  # rows that are drawn at a time only to be skipped


class Permutations:
    """Permutes the inputs of one call of a layer."""

    def __init__(self, rng):
        """Keep the state of a numpy.random.Generator, which itself is not used."""
        self._first = copy.deepcopy(rng.bit_generator)
        self._next, self._rng = 0, self._of_block(0)

    def permuted(self, start, count, call):
        """The inputs of a call, permuted within each sample.

        Args:
            start: int, the index of the first image.
            count: int, the number of images, of which each may be several samples.
            call: Call.

        Returns:
            Array of the shape of `call.inputs`.
        """
        if call.kept is not None:
            return self._kept(start * len(call.kept) // count, call)
        flat = call.inputs.reshape(len(call.inputs), -1)
        each, found = len(flat) // count, np.empty_like(flat)
        for first in range(start, start + count):
            if first > start and first % BLOCK:
                continue
            last = min(start + count, (first // BLOCK + 1) * BLOCK)
            self._move(first, each, flat.shape[1])
            rows = slice((first - start) * each, (last - start) * each)
            found[rows] = self._rng.permuted(flat[rows], axis=1)
            self._next = last
        return found.reshape(call.inputs.shape)

    def _of_block(self, block):
        bits = copy.deepcopy(self._first) if block == 0 else self._first.jumped(block)
        return np.random.Generator(bits)

    def _move(self, image, each, size):
        """Draw as if all images of the block before this one had been permuted."""
        block, within = divmod(image, BLOCK)
        if image == self._next and within:
            return
        self._rng = self._of_block(block)
        for start in range(0, within * each, SKIPPED):
            rows = min(SKIPPED, within * each - start)
            self._rng.permuted(np.empty((rows, size), np.int8), axis=1)

    def _kept(self, sample, call):
        """Those of a call with a mask: how many numbers a sample draws depends on its mask."""
        parts = np.split(call.inputs, np.cumsum(call.kept.sum(axis=1))[:-1])
        generators = (np.random.Generator(self._first.jumped(1 + sample + i)) for i in range(len(parts)))
        pairs = zip(generators, parts, strict=True)
        return np.concatenate([rng.permuted(part.reshape(-1)).reshape(part.shape) for rng, part in pairs])
