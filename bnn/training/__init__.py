"""The training of a network.

`train` begins a run, `resume` continues one, and `sweep` trains one for each combination of settings. The other modules
are for the start from settings, the loop with loss and optimizer, batches, learning rate, logs and checkpoints,
signals, and steps on JAX.
"""

from bnn.lazy_exports import face

__getattr__, __dir__, __all__ = face(
    __name__,
    batches=["Batches", "one_hot"],
    distribution=["Processes"],
    journal=["Journal"],
    loop=["compile_model", "fit"],
    schedule=["RateSchedule", "learning_rate"],
    signals=["Interrupted", "StopRequests"],
    start=["resume", "train"],
    **{"sweeps.folder": ["Sweep", "open_sweep"], "sweeps.start": ["sweep"]},
)
