"""Binary and ternary networks, and the geometry that explains them; the README shows the layout.

Packages and modules are attributes, each loaded when it is first touched: `bnn.geometry.angle` loads no Keras.
"""

from bnn.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    "analysis",
    "backend",
    "bits",
    "commands",
    "config",
    "datasets",
    "errors",
    "estimators",
    "files",
    "flags",
    "geometry",
    "layers",
    "models",
    "optimizers",
    "paper",
    "plots",
    "runs",
    "training",
)
