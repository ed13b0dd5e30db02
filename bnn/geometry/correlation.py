"""Correlations of dot products, predicted from the moments of the inputs.

All values are float64. d is the dimension, the fan-in of a kernel. "Paper" means [1]_.

References:
    .. [1] Anderson & Berg, "The High-Dimensional Geometry of Binary Neural Networks", ICLR 2018,
       arXiv:1705.07199.
    .. [2] W. F. Sheppard, "On the application of the theory of error to cases of normal distribution and normal
       correlation", Philosophical Transactions of the Royal Society A 192, 1899.
"""

import numpy as np


def predicted_correlation(quantized, latent, second_moment, mean):
    r"""Predict the Pearson correlation of a.w_b with a.w_c from the moments of the input a (paper, section 3).

    The correlation is pooled over inputs and units. Let S = M - m m^T. The pooled covariance is the mean over units of
    w_b^T S w_c, plus the covariance between units of their means m.w_b and m.w_c. For one unit the correlation is
    w_b^T S w_c / sqrt((w_b^T S w_b)(w_c^T S w_c)).

    Args:
        quantized: (d, units) array_like, w_b.
        latent: (d, units) array_like, w_c.
        second_moment: (d, d) array_like, M = E[a a^T].
        mean: (d,) array_like, m = E[a].

    Returns:
        Float in [-1, 1]; NaN if a product is constant up to rounding.
    """
    quantized, latent, mean = (np.asarray(x, np.float64) for x in (quantized, latent, mean))
    covariance = np.asarray(second_moment, np.float64) - np.outer(mean, mean)
    spread_b, spread_c = covariance @ quantized, covariance @ latent
    within = [np.sum(x * y) for x, y in ((quantized, spread_c), (quantized, spread_b), (latent, spread_c))]
    return _pooled_correlation(within, mean @ quantized, mean @ latent)


def predicted_correlation_permuted(quantized, latent, mean_square, mean):
    """`predicted_correlation` for inputs with uncorrelated entries of equal moments (paper, Fig 4 right).

    A random permutation of the activations produces such inputs. For zero mean and one unit, the correlation is
    cos angle(w_b, w_c).

    Args:
        quantized: (d, units) array_like, w_b.
        latent: (d, units) array_like, w_c.
        mean_square: float, E[a_i^2] of every entry.
        mean: float, E[a_i].

    Returns:
        Float in [-1, 1]; NaN if a product is constant up to rounding.
    """
    quantized, latent = np.asarray(quantized, np.float64), np.asarray(latent, np.float64)
    products = (quantized * latent, quantized**2, latent**2)
    within = [(mean_square - mean**2) * np.sum(product) for product in products]
    return _pooled_correlation(within, mean * quantized.sum(axis=0), mean * latent.sum(axis=0))


def _pooled_correlation(within, mean_b, mean_c):
    """Compute the correlation from covariances summed over units (bc, bb, cc) and the (units,) means of each unit."""
    dev_b, dev_c = mean_b - np.mean(mean_b), mean_c - np.mean(mean_c)
    pairs = ((dev_b, dev_c), (dev_b, dev_b), (dev_c, dev_c))
    bc, bb, cc = (x + y @ z for x, (y, z) in zip(within, pairs, strict=True))
    rounding = 1e-13  # M - m m^T of a constant input, relative to the mean square
    if bb <= rounding * (mean_b @ mean_b) or cc <= rounding * (mean_c @ mean_c):
        return float("nan")
    return float(np.clip(bc / np.sqrt(bb * cc), -1, 1))


def expected_sign_flips(r):
    """The fraction of pairs of opposite signs among centered, jointly Gaussian pairs: arccos(r) / pi [2]_.

    Args:
        r: array_like in [-1, 1], the correlation of the pairs.

    Returns:
        Float64 array of the same shape, in [0, 1]; NaN where r is.
    """
    return np.arccos(r) / np.pi
