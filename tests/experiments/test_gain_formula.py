"""The formula of the gain, against kernels that are made as it assumes."""

import numpy as np
import pytest

from experiments import gain, gain_formula


@pytest.mark.parametrize("power", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 5.0])
def test_kernels_that_fulfill_the_assumptions_have_the_foretold_gain(power, ratio):
    rng, d, units = np.random.default_rng(0), 60, 4000
    values = np.geomspace(1, 1000, d)
    start = rng.standard_normal((d, units))
    change = values[:, None] ** (power / 2) * rng.standard_normal((d, units))
    change *= np.sqrt(ratio * np.sum(start**2) / np.sum(change**2))
    # The formula is for sums over the units, and the gain of a layer is a mean over them: with many entries they agree.
    kernel = start + change
    found = np.sum(kernel * (values[:, None] * kernel)) / np.sum(kernel**2) * d / values.sum()
    assert gain_formula.foretold(values, power, ratio) == pytest.approx(found, rel=0.05)
    assert gain.gain(np.diag(values), kernel) == pytest.approx(found, rel=0.1)


def test_constant_inputs_have_no_influence():
    values = np.array([0.0, 0.0, 1.0, 1.0])
    assert gain_formula.foretold(values, 1.0, 1e9) == pytest.approx(2)
    assert gain_formula.foretold(values, 1.0, 0.0) == 1
