"""How messages name an argument: as a flag on a command line, as an argument in Python."""

from pathlib import Path

import pytest

from bnn.console import spelling


@pytest.mark.parametrize(
    ("name", "value", "typed", "called"),
    [
        ("overwrite", True, "--overwrite", "overwrite=True"),
        ("max_pool", (0, 1), "--max_pool 0 1", "max_pool=(0, 1)"),
        ("levels", 3, "--levels 3", "levels=3"),
        ("init_from", Path("my runs/a"), "--init_from 'my runs/a'", "init_from='my runs/a'"),
    ],
)
def test_an_option_is_spelled_as_it_was_called(name, value, typed, called):
    with spelling.command_line():
        assert (spelling.option(name, value), spelling.argument(name)) == (typed, f"--{name}")
    assert (spelling.option(name, value), spelling.argument(name)) == (called, name)
