"""Fast rotations, compared with uniformly distributed ones."""

import numpy as np
import pytest
from scipy.linalg import hadamard
from scipy.stats import ks_2samp

from bnn.geometry import angle, random_rotation, sign
from bnn.geometry.rotations import LARGE, Rotation, walsh_hadamard


@pytest.mark.parametrize("size", [1, 2, 8, 32, 512])
def test_walsh_hadamard_equals_its_matrix(size):
    vectors = np.random.default_rng(0).standard_normal((size, 3))
    assert walsh_hadamard(vectors) == pytest.approx(hadamard(size) @ vectors / np.sqrt(size))
    assert walsh_hadamard(walsh_hadamard(vectors)) == pytest.approx(vectors)


@pytest.mark.parametrize("d", [1, 3, LARGE, LARGE + 1, 512, 1152])
def test_a_rotation_keeps_lengths_and_angles_and_can_be_undone(d):
    rng = np.random.default_rng(0)
    vectors, rotation = rng.standard_normal((d, 4)), Rotation(d, rng)
    rotated = rotation.apply(vectors)
    assert rotated.T @ rotated == pytest.approx(vectors.T @ vectors)
    assert rotation.undo(rotated) == pytest.approx(vectors)
    if d > 1:
        assert not np.allclose(rotated, vectors)


def starts(d):
    """Vectors that are far from uniform: one dominant coordinate, at either end, or a steep spectrum."""
    ramp = np.exp(-np.arange(d) / 20)
    return {"first": np.eye(d)[0] + 1e-3, "last": np.eye(d)[-1] + 1e-3, "steep": ramp}


@pytest.mark.parametrize("d", [300, 512, 700, 1000])
@pytest.mark.parametrize("where", ["first", "last", "steep"])
def test_angles_to_the_signs_are_distributed_as_for_uniform_rotations(d, where):
    vector, rng = starts(d)[where][:, None], np.random.default_rng(d)
    uniform = [angle_after_uniform_rotation(vector, rng) for _ in range(400)]
    fast = []
    for _ in range(400):
        rotated = Rotation(d, rng).apply(vector)
        fast.append(angle(sign(rotated), rotated, axis=0)[0])
    assert np.mean(fast) == pytest.approx(np.mean(uniform), abs=4 * np.std(uniform) / 20 + np.radians(0.1))
    assert ks_2samp(fast, uniform).pvalue > 1e-4


def angle_after_uniform_rotation(vector, rng):
    """The angle of a uniformly rotated vector to its signs, sampled from a Gaussian vector instead."""
    gaussian = rng.standard_normal(vector.shape)
    return angle(sign(gaussian), gaussian, axis=0)[0]


def test_a_gaussian_vector_can_replace_a_uniformly_rotated_one():
    rng, vector = np.random.default_rng(0), np.eye(30)[:, :1]
    rotated = [random_rotation(30, rng) @ vector for _ in range(500)]
    uniform = [angle(sign(v), v, axis=0)[0] for v in rotated]
    assert ks_2samp(uniform, [angle_after_uniform_rotation(vector, rng) for _ in range(500)]).pvalue > 1e-3
