"""What a part of a network holds apart from the analyzed kernels: how much counts, and how it is named."""

from collections.abc import Mapping

MANY = 16  # fewer numbers are no kernel
DEPTH = 3  # of containers and objects within an attribute
NAMES = 3  # of arrays in a reason


def reasons(name, kind, names, rows, many, separator):
    """The reasons for the numbers of a layer or module that no row shows.

    Args:
        name: str, of the layer.
        kind: str, the name of its class.
        names: list of str, of the numbers.
        rows: bool, whether the layer has rows.
        many: str, what layers are called, such as "modules".
        separator: str, between the name of a layer and that of its numbers.

    Returns:
        Dict from name to reason: the name of the layer, or of each array in a layer with rows.
    """
    if rows:
        return {f"{name}{separator}{key}": f"a {kind} holds it beside its weight" for key in names}
    if not names:
        return {}
    shown = ", ".join(names[:NAMES]) + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")
    return {name: f"a {kind} is none of the {many} that are analyzed; it holds {shown}"}


def parts_of(value, foreign):
    """The (name, value) pairs within a container, or within an object of a class of the user.

    Args:
        value: any object.
        foreign: tuple of str, packages into whose objects nobody puts the weights of a layer.
    """
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return list(enumerate(value))
    own = type(value).__module__.partition(".")[0] not in (*foreign, "builtins", "numpy")
    return list(getattr(value, "__dict__", {}).items()) if own and not callable(value) else []
