"""The parser of every program's command line: help that wraps, errors of one line, suggestions."""

import argparse
import textwrap
from contextvars import ContextVar
from pathlib import Path

from bnn.console.suggestions import did_you_mean

NUMBERS = {int: "a whole number", float: "a number"}
BROADEST = 100  # columns of help: longer lines are hard to read
_taken = ContextVar("taken", default=False)


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that wraps the description, and says in one line what is wrong and what was meant.

    Indented lines of the description and the epilog, such as examples, stay as they are. Exit code 2 for an error.

    Args:
        words: str, what to type in place of a word without a flag; None: no advice.
        elsewhere: dict from flags that other calls of the program have to a hint that begins with "; ".
        **options: as for `ArgumentParser`.
    """

    def __init__(self, words=None, elsewhere=None, **options):
        super().__init__(formatter_class=HelpFormatter, **options)
        self.words, self.elsewhere = words, elsewhere or {}

    def parse_args(self, args=None, namespace=None):
        """The namespace; unknown flags end the program with a suggestion."""
        if _taken.get():
            raise _Taken(self)
        namespace, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [flag.partition("=")[0] for flag in unknown if flag.startswith("-")]
            hints = [self.elsewhere.get(f) or did_you_mean(f, self._option_string_actions) for f in flags]
            hints += [f"; {self.words}"] if self.words and not flags else []
            self.error(f"unrecognized arguments: {' '.join(unknown)}{next(filter(None, hints), '')}")
        return namespace

    def _get_value(self, action, text):
        try:
            return super()._get_value(action, text)
        except argparse.ArgumentError as error:
            if not error.message.startswith("invalid "):
                raise
            kind = NUMBERS.get(action.type) or f"a {action.type.__name__}"
            hint = ""
            if action.nargs in ("*", "+") and "," in text:
                hint = "; separate numbers by spaces"
            elif action.nargs == "*" and text.lower() == "none":
                hint = f"; {action.option_strings[0]} without a number means none"
            raise argparse.ArgumentError(action, f"expected {kind}, received {text!r}{hint}") from None

    def _check_value(self, action, value):
        choices = action.choices
        if choices is not None and value not in choices:
            names = [str(choice) for choice in choices]
            raise argparse.ArgumentError(
                action,
                f"expected one of {', '.join(names)}, received {value!r}{did_you_mean(value, names)}",
            )

    def error(self, message):
        """Print one line on standard error and exit with 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


class _Taken(Exception):
    """Carries a parser out of the program that made it."""


def parser_of(program):
    """The parser with which a program reads its command line.

    Args:
        program: module whose `parse` or, if it has none, whose `main` calls `parse_args` of a `Parser`.
    """
    token = _taken.set(True)
    try:
        getattr(program, "parse", program.main)([])
    except _Taken as taken:
        return taken.args[0]
    finally:
        _taken.reset(token)
    raise ValueError(f"expected a program that parses a command line, received {program.__name__}")


class HelpFormatter(argparse.HelpFormatter):
    """Paragraphs as wide as the terminal, up to a readable width; indented lines as they are."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._width = min(self._width, BROADEST)

    def _split_lines(self, text, width):
        """Return the lines of a help text; those after the first line break are a list, with hanging indents."""
        first, *items = text.split("\n")
        lines = _lines(first, width)
        for item in items:
            lines += _lines(item, width, "  " if ":" in item else "")
        return lines

    def _fill_text(self, text, width, indent):
        parts = textwrap.dedent(text).strip().split("\n\n")
        return "\n\n".join(part if _is_indented(part) else _wrapped(part, width) for part in parts) + "\n"


def _is_indented(paragraph):
    return any(line.startswith(" ") for line in paragraph.splitlines())


def _wrapped(paragraph, width):
    return "\n".join(_lines(paragraph, width))


def _lines(text, width, indent=""):
    text = " ".join(text.split())
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def folder_name(text):
    """The text of a flag that names a folder; an empty one is refused."""
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a folder, received ''")
    return text


def expanded(path):
    """Return a str or Path as a Path with `~` replaced by the home folder; unchanged if there is no such user."""
    path = Path(path)
    try:
        return path.expanduser()
    except RuntimeError:
        return path
