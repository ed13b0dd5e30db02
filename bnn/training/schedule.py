"""The learning rate of every step."""

import math

import keras


def learning_rate(config, epoch, part=1.0):
    """The rate of a step: linear up to `lr_start`, then down to `lr_end` by the schedule.

    Args:
        config: TrainConfig.
        epoch: int, 0 for the first.
        part: float in (0, 1], the part of the epoch's steps that are done with this one; 1: the last step.

    Returns:
        float: of the exponential schedule, the same for all steps of an epoch.
    """
    done = epoch + part
    if done <= config.warmup:
        return config.lr_start * done / config.warmup
    rest = config.epochs - config.warmup
    if config.schedule == "cosine":
        height = (1 + math.cos(math.pi * (done - config.warmup) / rest)) / 2
        return config.lr_end + (config.lr_start - config.lr_end) * height
    return config.lr_start * (config.lr_end / config.lr_start) ** ((epoch - config.warmup) / rest)


class RateSchedule(keras.callbacks.Callback):
    """Gives every step its learning rate.

    Args:
        config: TrainConfig.
        steps: int, of an epoch.
    """

    def __init__(self, config, steps):
        super().__init__()
        self.config, self.steps = config, steps

    def rate(self, step):
        """The rate of step 0, 1, ... of the training."""
        epoch, step = divmod(step, self.steps)
        return learning_rate(self.config, epoch, (step + 1) / self.steps)

    def on_train_batch_begin(self, batch, logs=None):  # noqa: D102, Keras's hook
        optimizer = self.model.optimizer
        optimizer.learning_rate = self.rate(int(optimizer.iterations))
