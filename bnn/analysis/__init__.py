"""Every statistic of a network.

Of each kernel and what it is multiplied with, of the whole network with and without a quantizer, during a
training, and as tables of a notebook.
"""

from bnn.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    ablation=["binarized", "unbinarized"],
    geometry_log=["GeometryLogger"],
    kernel_products=["Product"],
    layer_geometry=["LayerReport", "UnanalysableError"],
    report=["Report", "ReportError", "analyze", "from_arrays"],
)
