"""Every statistic of a network.

Measures each kernel, compares networks with and without a quantizer, and logs both during training. `core` computes on
arrays; `keras` and `torch` find the kernels and their inputs in a model of that framework.
"""

from bnn.lazy_exports import face

__getattr__, __dir__, __all__ = face(
    __name__,
    "paper",
    budget=["apply_levels", "assign_levels"],
    report=["analyze", "analyze_torch", "from_arrays"],
    sharding=["analyze_shard", "merge_shards"],
    side_by_side=["Comparison", "compare"],
    **{
        "core.assignment": ["Assignment"],
        "core.checks": ["ReportError"],
        "core.comparison": ["Pooled", "pool", "pool_rows"],
        "core.layer_geometry": ["LayerGeometry", "UnanalyzableError"],
        "core.layer_report": ["LayerReport", "register"],
        "core.product": ["Kernels", "Product"],
        "core.report": ["Report"],
        "core.statistics": ["STATISTICS", "Statistic"],
        "keras.ablation": ["binarized", "unbinarized"],
        "keras.geometry_log": ["GeometryLogger"],
    },
)
