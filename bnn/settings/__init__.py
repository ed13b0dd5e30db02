"""What a run is made of: every setting, its presets, and its flags.

`resolve` makes one Config from what is given; no other place combines settings.
"""

from bnn.lazy_exports import face

__getattr__, __dir__, __all__ = face(
    __name__,
    "flags",
    "presets",
    building=["build", "build_model"],
    config=["Config", "ConfigError", "ModelConfig", "resolve"],
    training=["TrainConfig"],
)
