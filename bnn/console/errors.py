"""The errors that a user can correct; fields of settings, and whether their values are of the annotated types."""

import dataclasses
import sys
import types
import typing

from bnn.console.suggestions import did_you_mean


class UserError(Exception):
    """An error that a user can correct; the message is one line that says what was expected and what was received.

    Programs print the line and exit with `exit_code`. Any other error is a bug and keeps its traceback.

    Attributes:
        exit_code: int, 1; 2 in subclasses for a wrong call, such as a wrong flag.
    """

    exit_code = 1


class ConfigError(UserError, ValueError):
    """A setting, or the name of a quantizer, that no network or training can have."""


class ModelError(UserError, ValueError):
    """What was given is no model, is not the file of one, or does not fit the inputs of the model."""


class RunError(UserError, RuntimeError):
    """A run directory is missing or damaged, does not hold what is asked for, or is in use by another training."""


def setting(default, help_text, shown=None, **flag):
    """A dataclass field with its help text and further keywords for argparse.

    `shown` is the text for the default in the help; None: the default itself.
    """
    return dataclasses.field(default=default, metadata={"help": help_text, "shown": shown, **flag})


def expect(condition, field_name, expected, received, known=()):
    """Raise a `ConfigError` naming field, expectation and value, and a similar known name, unless `condition` holds."""
    if not condition:
        hint = did_you_mean(received, known) if isinstance(received, str) else ""
        raise ConfigError(f"{field_name}: expected {expected}, received {received!r}{hint}")


def check_fields(config):
    """Raise a `ConfigError` for the first field whose value is not of its annotated type, or none of its choices."""
    for f in dataclasses.fields(config):
        value, choices = getattr(config, f.name), f.metadata.get("choices")
        expect(_is_a(value, f.type), f.name, _type_name(f.type), value)
        expect(choices is None or value in choices, f.name, one_of(choices), value, map(str, choices or ()))


def one_of(choices):
    """Choices in the words of a message."""
    return f"one of {', '.join(map(str, choices or ()))}"


def _is_a(value, annotation):
    if isinstance(annotation, types.UnionType):
        return any(_is_a(value, one) for one in typing.get_args(annotation))
    if isinstance(annotation, types.GenericAlias):
        parts = typing.get_args(annotation)
        if not isinstance(value, tuple):
            return False
        if parts[-1] is Ellipsis:
            return all(_is_a(v, parts[0]) for v in value)
        return len(value) == len(parts) and all(map(_is_a, value, parts))
    if annotation is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    return type(value) is annotation


def _type_name(annotation):
    own = (
        "a name, None, or a function, a class or an object of a bnn.layers.Quantizer, with "
        "@keras.saving.register_keras_serializable() above it"
    )
    names = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a string"}
    names |= {
        str | None: own,
        float | str: "a finite number or a word",
        float | None: "a finite number or None",
        int | None: "a whole number or None",
    }
    if isinstance(annotation, types.GenericAlias):
        kind, *others = typing.get_args(annotation)
        many = {int: "whole numbers", float: "finite numbers"}[kind]
        return f"a list of {many}" if others[-1] is Ellipsis else f"{1 + len(others)} {many}"
    return names[annotation]
