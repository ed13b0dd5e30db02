"""ONNX and QONNX graphs computed in NumPy by the package onnx, which must be installed."""

import numpy as np
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

FLOAT = TensorProto.FLOAT


class BipolarQuant(OpRun):
    """The sign times a scale; the sign of 0 is +1."""

    op_domain = "qonnx.custom_op.general"

    def _run(self, x, scale):
        return (np.where(x >= 0, scale, -scale).astype(np.float32),)


class Quant(OpRun):
    """Rounding to narrow signed integers, the only form that our graphs have."""

    op_domain = "qonnx.custom_op.general"

    def _run(self, x, scale, zero, width, narrow=1, rounding_mode="ROUND", signed=1):
        most = 2 ** (width - 1) - 1
        return ((np.clip(np.round(x / scale + zero), -most, most) - zero) * scale,)


def run(model, images):
    """All values of a graph.

    Args:
        model: onnx.ModelProto.
        images: (n, ...) array; n is 1 for QONNX.

    Returns:
        Dict from the name of a tensor to its array.
    """
    evaluator = ReferenceEvaluator(model, new_ops=[BipolarQuant, Quant])
    return evaluator.run(None, {"images": images}, intermediate=True)
