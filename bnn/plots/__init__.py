"""Every figure is one function: `bnn.plots.dot_products(report).savefig("fig3.png")`.

Each takes what it shows, a report or arrays, and `axes`: the caller's, or None for a new figure. It returns the
figure, drawn in the style of this package. `save` writes it, `show` displays it in a notebook, `save_all` draws and
saves what analyze.py does. Report means `analysis.Report` or any iterable of layer reports.

The figures by the paper's numbers (arXiv 1705.07199), and those that it does not have:

    Fig 2a       random_and_sign         angles of random vectors, and of a vector and its signs
    Fig 2b       angles                  angles of a network's kernels and their quantized versions
    Fig 2c       angle_spread            their spread against the fan-in, of a network
    Fig 2c       sign_dimensions         mean and spread of the angle against the dimension, in theory
    Fig 2d       latent_weights          histograms of the latent weights
    Fig 3        dot_products            products with quantized against latent kernels
    Fig 4 left   rotation                vectors of unequal scales and their signs, without and with a rotation
    Fig 4 right  permuted                Fig 3 with each image's activations permuted
    Fig 5        activations             products of quantized against batch-normed activations
    Figs 3 to 5  beside_paper            the correlations beside the paper's
    section 3    patch_variance          principal components of a first layer's inputs: their variance
    section 3    leading_components      the components as pictures
    section 3    unbinarizing            accuracy with quantizers taken out
    appendix     sign_constants          two constants that the appendix misprints
    ternary      ternary                 angle and zeros against the threshold
    ternary      quantizer_angles        angles of vectors quantized to several levels
    -            staircases              graphs of quantizers
    -            level_angles            angle and spread for more levels
    -            straight_through        estimators of gradients
    -            correlations            correlation of dot products in theory
    -            correlation_by_gain     correlation of dot products against gain and angle
    -            first_kernels           a first layer's kernels as pictures
    -            training                accuracy, loss and flip ratio over the epochs
    -            geometry_history        angles and correlations over the epochs
"""

from bnn.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    comparison=["beside_paper", "unbinarizing"],
    gain=["correlation_by_gain"],
    first_layer=["first_kernels", "leading_components", "patch_variance"],
    history=["geometry_history", "training"],
    kernels=["angle_spread", "angles", "latent_weights"],
    overview=["save_all"],
    primitives=["density", "legend_below", "points", "reference"],
    products=["activations", "dot_products", "permuted"],
    quantizers=["level_angles", "quantizer_angles", "staircases", "straight_through", "ternary"],
    style=[
        "BLACK",
        "BLUE",
        "COLORS",
        "GRAY",
        "GREEN",
        "ORANGE",
        "PURPLE",
        "SHADE",
        "SKY",
        "YELLOW",
        "figure",
        "in_style",
        "save",
        "sequence",
        "show",
    ],
    theory=["correlations", "random_and_sign", "rotation", "sign_constants", "sign_dimensions"],
)
