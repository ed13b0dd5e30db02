"""Text as sequences of tokens, the numbers of its characters: vocabulary, encoding, and windows without copies."""

import numpy as np

from bnn.datasets.data_set import Split
from bnn.datasets.storing import DataError

CONTEXT = 64  # characters of a sequence, unless a network has another context
TRAINING = 0.9  # of the characters; the rest is halved


def encoded(text, characters):
    """Return the numbers of the characters of a text.

    Args:
        text: str.
        characters: sequence of str, the vocabulary; at most 256.

    Returns:
        (len(text),) uint8 array.

    Raises:
        DataError: the text has a character that is not in the vocabulary.
    """
    known, given = _codes("".join(characters)), _codes(text)
    order = np.argsort(known)
    places = np.minimum(np.searchsorted(known, given, sorter=order), len(known) - 1)
    found = order[places]
    unknown = np.flatnonzero(known[found] != given)
    if len(unknown):
        raise DataError(
            f"text: expected the {len(characters)} characters {''.join(characters)!r}, received "
            f"{text[unknown[0]]!r} at place {unknown[0] + 1}"
        )
    return found.astype(np.uint8)


def _codes(text):
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def splits(text, characters, context=CONTEXT):
    """Split a text into sequences for training, validation and tests.

    The first 90 % of the characters are for training, of which every sequence is used; they overlap. Of the rest, one
    half is for validation and one for tests; there, sequences lie side by side, so that each character counts once.

    Args:
        text: str.
        characters: sequence of str, the vocabulary.
        context: int, the length of the sequences.

    Returns:
        (train, validation, test): Splits; their arrays (n, context) are views of the text.

    Raises:
        DataError: a sequence and the character after it are longer than a part of the text, or have no character.
    """
    tokens = encoded(text, characters)
    first = int(TRAINING * len(tokens))
    second = first + (len(tokens) - first) // 2
    most = min(first, second - first, len(tokens) - second) - 1
    if type(context) is not int or not 0 < context <= most:
        raise DataError(
            f"context: expected 1 to {most:,} characters, which fit into each part of the text, received {context!r}"
        )
    return (
        windows(tokens[:first], context, 1),
        windows(tokens[first:second], context, context),
        windows(tokens[second:], context, context),
    )


def windows(tokens, context, step):
    """Return the Split of the sequences that begin at tokens 0, step, 2 step, ...; labels are one token later.

    Args:
        tokens: (n,) array, n > context.
        context: int, the length of a sequence.
        step: int.
    """
    views = (
        np.lib.stride_tricks.sliding_window_view(part, context)[::step] for part in (tokens[:-1], tokens[1:])
    )
    return Split(*views)
