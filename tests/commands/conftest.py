"""Fixtures of these tests; most are defined in the modules that they belong to."""

from tests.misbehaving_server import deaf, server, servers  # noqa: F401
from tests.stand_in_npm import no_npm, npm  # noqa: F401
