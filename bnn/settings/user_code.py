"""Files of the user that make networks, quantizers, data sets and statistics known: `--use FILE.py`."""

import importlib.machinery
import importlib.util
import sys
import traceback
from pathlib import Path

from bnn.console.arguments import expanded
from bnn.console.errors import ConfigError
from bnn.lazy_exports import quiet_start

UserCodeError = ConfigError  # its name in earlier versions


def load(path):
    """Run a Python file once in this process, so that what it registers is known.

    Only `--use` and this function run such a file; a run directory never does.

    Args:
        path: str or Path.

    Returns:
        The module.

    Raises:
        ConfigError: there is no such file, or an error in it.
    """
    path = expanded(path).absolute()
    if not path.is_file():
        raise ConfigError(f"--use {path}: expected a Python file, received no such file")
    name = f"bnn_use_{path.stem}_{abs(hash(path))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path)))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with quiet_start():
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"--use {path}{_line(error, path)}: {type(error).__name__}: {error}") from error
    return module


class _Loader(importlib.machinery.SourceFileLoader):
    """Python source, whatever the name of the file ends with."""


def _line(error, path):
    """The place in the file where an error came from: ":12"."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path
    ]
    return f":{lines[-1]}" if lines else ""


def add_use(parser):
    """Add `--use FILE.py` to a parser. The file runs while the command line is read."""
    parser.add_argument(
        "--use",
        action="append",
        type=load,
        metavar="FILE.py",
        help="run a Python file first, which registers networks, quantizers, data sets or statistics of your own",
    )
