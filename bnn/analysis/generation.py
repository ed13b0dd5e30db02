"""Text that a language model writes, character by character."""

import math
import os

import numpy as np

from bnn import backend
from bnn.console.errors import ConfigError, RunError, expect
from bnn.console.spelling import argument, either


def generate(run, prompt, characters=500, *, temperature=0.8, seed=0):
    """Continue a text with the network of a run that was trained on text.

    Each character is drawn from the softmax of the scores over the temperature. The network sees the characters before
    it, as many as its context. The same arguments give the same text on the same machine.

    Args:
        run: Run, or str or Path of a run directory, whose network with the best validation accuracy is used.
        prompt: str, the text to continue, at least one character.
        characters: int, how many to write, at least 1.
        temperature: float; above 1, unlikely characters become more likely. 0: always take the most likely one.
        seed: int in [0, 2^32), of the draws.

    Returns:
        str: the prompt, and the characters after it.

    Raises:
        ConfigError: a number is out of range, the prompt is empty, or `run` is something else.
        DataError: the prompt has a character that the network was not trained on.
        RunError: the run was trained on images, or cannot be read.
    """
    from bnn import runs
    from bnn.datasets import texts

    _expect_numbers(characters, temperature, seed)
    run = runs.open_run(run) if isinstance(run, str | os.PathLike) else run
    if not isinstance(run, runs.Run):
        raise ConfigError(f"run: expected a run or its folder, received a {type(run).__name__}")
    if not run.config.inputs.are_tokens:
        raise RunError(
            f"{run.folder}: expected a run that was trained on text, received one on the images of "
            f"{run.training.data_set}; {either('give IMAGES in place of --prompt', 'bnn.predict classifies images')}"
        )
    if not isinstance(prompt, str) or not prompt:
        raise ConfigError(f"{argument('prompt')}: expected at least one character, received {prompt!r}")
    tokens = [*texts.encoded(prompt, run.class_names)]
    backend.expect_installed()
    model = run.load_in_float32()
    rng = np.random.default_rng(seed)
    context = run.config.inputs.input_shape[0]
    for _ in range(characters):
        scores = _next_scores(model, tokens[-context:], context)
        tokens.append(_drawn(scores, temperature, rng))
    return "".join(run.class_names[token] for token in tokens)


def _expect_numbers(characters, temperature, seed):
    whole = type(characters) is int and characters > 0
    expect(whole, argument("characters"), "a whole number from 1", characters)
    number = type(temperature) in (int, float) and 0 <= temperature < math.inf
    expect(number, argument("temperature"), "0 or a positive number", temperature)
    valid = type(seed) is int and 0 <= seed < 2**32
    expect(valid, argument("seed"), "a whole number in [0, 2^32)", seed)


def _next_scores(model, tokens, context):
    """The scores of the character after some tokens, (classes,) float64; what stands behind them has no influence."""
    given = np.zeros((1, context), np.uint8)
    given[0, : len(tokens)] = tokens
    return np.asarray(model.predict_on_batch(given)[0, len(tokens) - 1], np.float64)


def _drawn(scores, temperature, rng):
    """Draw a token, an int; the first of the most likely ones at a temperature of 0."""
    scores = scores - scores.max()
    if temperature == 0:
        return int(scores.argmax())
    with np.errstate(over="ignore", divide="ignore"):
        weights = np.exp(scores / temperature).cumsum()
    return int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))
