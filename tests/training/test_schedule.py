"""The learning rate of every step."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnn.settings import training as train_config
from bnn.settings.config import TrainConfig
from bnn.training import learning_rate


def test_the_schedule_is_exponential():
    training = TrainConfig(lr_start=1e-2, lr_end=1e-4, epochs=4)
    rates = [learning_rate(training, epoch) for epoch in range(5)]
    assert rates == pytest.approx([1e-2, 10**-2.5, 1e-3, 10**-3.5, 1e-4])
    assert [learning_rate(training, 1, part) for part in (0.1, 0.5, 1)] == [rates[1]] * 3


def test_cosine_falls_along_half_a_period():
    training = TrainConfig(lr_start=1.0, lr_end=0.2, epochs=4, schedule="cosine")
    halves = [learning_rate(training, epoch, part) for epoch in range(4) for part in (0.5, 1)]
    assert halves == pytest.approx([0.6 + 0.4 * math.cos(math.pi * k / 8) for k in range(1, 9)])
    assert halves[-1] == pytest.approx(0.2)


@given(
    st.sampled_from(train_config.SCHEDULES),
    st.integers(0, 5),
    st.integers(1, 20),
    st.integers(1, 50),
    st.floats(1e-6, 1),
    st.floats(1e-6, 1),
)
def test_every_schedule_rises_through_the_warmup_and_then_falls(schedule, warmup, rest, steps, one, other):
    lr_end, lr_start = sorted([one, other])
    training = TrainConfig(
        schedule=schedule, warmup=warmup, epochs=warmup + rest, lr_start=lr_start, lr_end=lr_end
    )
    rates = [learning_rate(training, e, (s + 1) / steps) for e in range(warmup + rest) for s in range(steps)]
    rise = warmup * steps
    assert rates[:rise] == pytest.approx([lr_start * (i + 1) / rise for i in range(rise)])
    assert all(a >= b * (1 - 1e-12) for a, b in itertools.pairwise(rates[rise:]))
    assert all(lr_end * (1 - 1e-12) <= rate <= lr_start for rate in rates[rise:])
    if schedule == "exponential":
        assert rates[rise] == lr_start
        per_epoch = rates[rise::steps]
        ratios = [b / a for a, b in itertools.pairwise(per_epoch)]
        assert ratios == pytest.approx([(lr_end / lr_start) ** (1 / rest)] * (rest - 1))
    else:
        assert rates[-1] == pytest.approx(lr_end)
