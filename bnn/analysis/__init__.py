"""Every statistic of a network.

Of each kernel and what it is multiplied with, of the whole network with and without a quantizer, during a
training, and as tables of a notebook.
"""

from bnn.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    ablation=["binarized", "unbinarized"],
    checks=["ReportError"],
    comparison=["Pooled", "pool", "pool_rows"],
    geometry_log=["GeometryLogger"],
    product=["Kernels", "Product"],
    layer_geometry=["LayerGeometry", "UnanalyzableError"],
    layer_report=["LayerReport"],
    report=["Report", "analyze", "from_arrays"],
    side_by_side=["Comparison", "compare"],
    statistics=["STATISTICS", "Statistic"],
    torch_report=["analyze_torch"],
)
