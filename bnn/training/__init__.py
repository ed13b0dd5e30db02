"""The training of a network.

`train` begins a run and `resume` continues one. Below them: settings to a running training, the loop with loss and
optimizer, shuffled batches, the learning rate, what is logged and saved, signals, many steps per call on JAX.
"""

from bnn.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    batches=["Batches", "one_hot"],
    journal=["Journal"],
    loop=["compile_model", "fit"],
    schedule=["RateSchedule", "learning_rate"],
    signals=["Interrupted", "StopRequests"],
    start=["resume", "train"],
)
