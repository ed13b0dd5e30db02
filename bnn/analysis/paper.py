"""The paper's published values, to show next to ours.

Source: A. G. Anderson & C. P. Berg, "The High-Dimensional Geometry of Binary Neural Networks", arXiv 1705.07199
and https://openreview.net/forum?id=B1IDRdeCW, the submission of October 2017: its figures and text. The network is
the binary one of six 3x3 convolutions on CIFAR-10; layers are named as ours.
"""

LAYERS = tuple(f"conv_{i}" for i in range(1, 7))

# Pearson correlations of dot products, one value per layer.
R_WEIGHTS = dict(zip(LAYERS, (0.56, 0.96, 0.96, 0.98, 0.96, 0.98), strict=True))  # Fig 3: A.W_b with A.W_c
R_PERMUTED = dict(zip(LAYERS, (0.81, 0.74, 0.79, 0.77, 0.80, 0.77), strict=True))  # Fig 4 right: A permuted
R_ACTIVATIONS = dict(
    zip(LAYERS[1:], (0.91, 0.94, 0.98, 0.95, 0.97), strict=True)
)  # Fig 5: A_c.W_b with A_b.W_b

# Section 3, text: variance of the 3x3x3 patches of CIFAR-10 that the leading principal components hold.
PATCH_VARIANCE = {3: 0.90, 4: 0.945}

# Section 3, text: accuracy lost with continuous kernels in all convolutions, all of it by layer 1.
CONTINUOUS_KERNELS_COST = 0.03


def beside(rows):
    """The statistics of a network's layers with the paper's correlations next to them.

    Args:
        rows: list of dicts, as `LayerReport.statistics` gives them.

    Returns:
        list of dicts: the rows with "paper_r_weights", "paper_r_permuted" and "paper_r_activations" added, None
        where the paper has no value for a layer of that name.
    """
    published = {
        "paper_r_weights": R_WEIGHTS,
        "paper_r_permuted": R_PERMUTED,
        "paper_r_activations": R_ACTIVATIONS,
    }
    return [row | {key: values.get(row["layer"]) for key, values in published.items()} for row in rows]
