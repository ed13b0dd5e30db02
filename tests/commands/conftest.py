"""Fixtures of these tests; most live in the modules that they belong to."""

from misbehaving_server import deaf, server, servers  # noqa: F401
from stand_in_npm import no_npm, npm  # noqa: F401
