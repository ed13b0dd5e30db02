"""Figures of a first layer: the principal components of its inputs, and its kernels as pictures (paper, section 3)."""

import numpy as np
from matplotlib.ticker import PercentFormatter

from bnn.geometry import components
from bnn.plots import primitives, style
from bnn.plots.style import BLUE, GRAY, ORANGE

COMPONENTS, KERNELS, SHARES = 9, 32, 30  # the largest numbers that a figure shows


@style.styled
def patch_variance(fractions, published=None, axes=None):
    """Draw the cumulative variance of the leading principal components of a first layer's input.

    Args:
        fractions: (d,) array from `components.principal_components`.
        published: dict from a number of components to the paper's share of the variance, or None.
        axes: None, or Axes.

    Returns:
        Figure
    """
    fig, (ax,) = style.axes_for(axes, 1, height=3.4)
    count = np.arange(1, min(len(fractions), SHARES) + 1)
    shares = np.cumsum(fractions)[: len(count)]
    ax.plot(count, shares, "o-", color=BLUE, markersize=5, label="this network's inputs")
    ax.plot(count, count / len(fractions), color=GRAY, linestyle=":", label="equal variances")
    if published:
        form = {"color": ORANGE, "markerfacecolor": "white", "markeredgewidth": 2, "zorder": 3}
        ax.plot(list(published), list(published.values()), "D", label="paper (CIFAR-10)", **form)
    ax.set(xlabel="number of components", ylabel="share of the variance", ylim=(0, 1.03))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="center right")
    return fig


@style.styled
def leading_components(vectors, fractions, shape, axes=None):
    """Draw the leading principal components as pictures, with their shares of the variance.

    Args:
        vectors: (n, d) array from `components.principal_components`.
        fractions: (n,) array.
        shape: (height, width, channels) with product d.
        axes: None, or one Axes per picture; there are at most `COMPONENTS` pictures.

    Returns:
        Figure
    """
    images = components.as_images(vectors[:COMPONENTS], shape)
    fig, panels = style.axes_for(axes, len(images), height=1.2)
    for ax, image, fraction in zip(panels, images, fractions, strict=False):
        primitives.picture(ax, components.mosaic(image[None], 1))
        ax.set_title(f"{fraction:.1%}", loc="center", fontsize=11)
    return fig


@style.styled
def first_kernels(layer, shape, axes=None):
    """Draw the latent kernels of a first layer beside its quantized kernels.

    Args:
        layer: LayerReport.
        shape: (height, width, channels) of a kernel.
        axes: None, or two Axes.

    Returns:
        Figure with at most `KERNELS` kernels.
    """
    quantized, latent = (kernel.T[:KERNELS] for kernel in layer.kernels)
    fig, panels = style.axes_for(axes, 2, height=2.3)
    for ax, kernels, title in zip(panels, (latent, quantized), ("latent", "quantized"), strict=True):
        primitives.picture(ax, components.mosaic(components.as_images(kernels, shape), 8))
        ax.set(title=title)
    return fig
