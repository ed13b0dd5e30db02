"""Faces of packages: public names whose module loads when the name is first used (PEP 562).

Beside each face is a stub, `__init__.pyi`, from which editors and type checkers read the same names.
"""

import importlib
import sys

from bnn.quiet import quiet_start


def face(package, *rooms, **homes):
    """The names that make a package's `__init__` its face.

    Args:
        package: str, the package's `__name__`.
        *rooms: str, modules or packages within it that are attributes of it.
        **homes: for each module within it, a list of those of its names that are attributes of the package.

    Returns:
        (__getattr__, __dir__, __all__) of the package. A name is looked up at every use, so that a test can
        replace it in its module.
    """
    found = {name: module for module, names in homes.items() for name in names}

    def get(name):
        if name in rooms:
            return _load(f"{package}.{name}")
        if name in found:
            return getattr(_load(f"{package}.{found[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    public = sorted([*rooms, *found])
    return get, lambda: public, public


def _load(module):
    """Import a module; if it is the first that needs Keras, without the notes of the backend."""
    if loaded := sys.modules.get(module):
        return loaded
    with quiet_start():
        return importlib.import_module(module)
