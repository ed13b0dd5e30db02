"""Components and kernels of a first layer, for every kind of network and image."""

import numpy as np

from bnn import plots
from bnn.analysis import paper
from bnn.geometry import components
from tests.plots.reading import drawn


def test_variance_is_cumulative_and_has_the_papers_points(network):
    fractions, _ = components.principal_components(next(iter(network.report)).patches)
    published = paper.PATCH_VARIANCE if len(fractions) == 27 else None
    (ax,) = drawn(plots.patch_variance(fractions, published))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.cumsum(fractions)[:30])
    assert len(ax.lines) == (3 if published else 2)


def test_pictures_show_components_and_kernels(network):
    layer = next(iter(network.report))
    fractions, vectors = components.principal_components(layer.patches)
    panels = drawn(plots.leading_components(vectors, fractions, network.shape))
    assert [ax.get_title() for ax in panels] == [f"{fraction:.1%}" for fraction in fractions[:9]]
    latent, quantized = drawn(plots.first_kernels(layer, network.shape))
    assert (latent.get_title("left"), quantized.get_title("left")) == ("latent", "quantized")
    shades = [len(np.unique(np.asarray(ax.images[0].get_array()))) for ax in (latent, quantized)]
    assert shades[0] > shades[1]
