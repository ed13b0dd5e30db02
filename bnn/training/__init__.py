"""The training loop.

Loss, learning rate, shuffled batches, what is logged and saved, and many steps per call on JAX.
"""

from bnn.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    journal=["Interrupted", "Journal"],
    loop=["Batches", "RateSchedule", "compile_model", "one_hot", "train"],
)
