"""The learning rate of every step."""

import math
from collections.abc import Iterable

import keras

from bnn.console.errors import ConfigError

FLAGS = "lr_start, lr_end, schedule and warmup"


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


def watched(callbacks):
    """Yield callbacks, each followed by a `RateWatch`, which refuses those that set the learning rate by themselves.

    Args:
        callbacks: iterable of keras.callbacks.Callbacks.

    Raises:
        ConfigError: a callback is one of Keras's that set the rate.
    """
    callbacks = listed(callbacks)
    expect_no_rates(callbacks)
    rate = [None]
    for callback in callbacks:
        yield RateWatch(rate)
        yield callback
        yield RateWatch(rate, callback)


def listed(callbacks):
    """Return callbacks, or lists of them, or a single one, as a list of callbacks; None: no callback.

    Raises:
        ConfigError: one is something else.
    """
    if isinstance(callbacks, Iterable) and not isinstance(callbacks, keras.callbacks.Callback):
        callbacks = [*callbacks]
    found = [callback for callback in keras.tree.flatten(callbacks) if callback is not None]
    for callback in found:
        if not isinstance(callback, keras.callbacks.Callback):
            is_class = isinstance(callback, type)
            received = f"the class {callback.__name__}" if is_class else f"a {type(callback).__name__}"
            raise ConfigError(
                f"callbacks: expected instances of keras.callbacks.Callback, received {received}"
            )
    return found


def expect_no_rates(callbacks):
    """Raise `ConfigError` for a callback of Keras that sets the learning rate."""
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.ReduceLROnPlateau | keras.callbacks.LearningRateScheduler):
            raise _sets_rate(callback)


def _sets_rate(callback):
    return ConfigError(
        f"callbacks: expected callbacks that leave the learning rate to the settings {FLAGS}, which a resumed run and "
        f"its log follow, received {type(callback).__name__}, which sets it"
    )


class RateWatch(keras.callbacks.Callback):
    """Raises `ConfigError` if the learning rate is another than before the callback that it follows.

    Args:
        rate: list with one entry, the rate before the callback; the watches before and after it share the list.
        callback: keras.callbacks.Callback that it follows; None: only keep the rate.
    """

    def __init__(self, rate, callback=None):
        super().__init__()
        self.rate, self.callback = rate, callback

    def look(self, *_, **__):
        """Compare the rate with the one before, or keep it."""
        # The config of an optimizer tells a number from a schedule that has the same value now.
        rate = self.model.optimizer.get_config()["learning_rate"]
        if self.callback is None:
            self.rate[0] = rate
        elif rate != self.rate[0]:
            raise _sets_rate(self.callback)

    on_train_begin = on_epoch_begin = on_epoch_end = look
    on_train_batch_begin = on_train_batch_end = look
    on_test_begin = on_test_end = on_test_batch_begin = on_test_batch_end = look
