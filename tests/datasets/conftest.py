"""Fixtures of these tests; most are defined in the modules that they belong to."""

import pytest

from bnn.datasets import convert
from tests import toy_data_sets
from tests.misbehaving_server import deaf, server, servers  # noqa: F401
from tests.stand_in_npm import no_npm, npm  # noqa: F401


@pytest.fixture
def small_batches(monkeypatch):
    """Shrink the batches to a few small images."""
    monkeypatch.setattr(convert, "ROWS", toy_data_sets.ROWS)
    monkeypatch.setattr(convert, "PIXELS", toy_data_sets.PIXELS)
