"""Text as sequences of characters: the real file over HTTP, its split, and windows."""

import numpy as np
import pytest

from bnn import datasets
from bnn.datasets import DataError, fetching, texts
from bnn.datasets.catalog import TINY_SHAKESPEARE, Mirror
from tests.misbehaving_server import wrong_bytes
from tests.support import ROOT

REAL = ROOT.parent / "shared" / "data" / "tinyshakespeare.txt"
needs_text = pytest.mark.skipif(not REAL.is_file(), reason="needs tinyshakespeare.txt beside the checkout")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data folder with the text."""
    folder = tmp_path_factory.mktemp("data")
    (folder / TINY_SHAKESPEARE.folder).mkdir()
    (folder / TINY_SHAKESPEARE.folder / "input.txt").write_bytes(REAL.read_bytes())
    return folder


@needs_text
@pytest.mark.parametrize("habit", [None, wrong_bytes])
def test_the_text_is_fetched_from_a_server_or_refused_whole(habit, server, tmp_path):
    server.files["input.txt"] = REAL.read_bytes()
    if habit:
        server.always["input.txt"] = habit
        with pytest.raises(DataError, match=r"input\.txt: expected"):
            fetching.ensure(TINY_SHAKESPEARE, tmp_path, server.url, kinds=(), say=lambda line: None)
        assert list(tmp_path.iterdir()) == []
        server.always.clear()
    stored, done = fetching.ensure(TINY_SHAKESPEARE, tmp_path, server.url, kinds=(), say=lambda line: None)
    assert (stored.official, done) == (True, "wrote")
    assert (stored.folder / "input.txt").read_bytes() == REAL.read_bytes()
    assert fetching.ensure(TINY_SHAKESPEARE, tmp_path, kinds=())[1] == "verified"


@needs_text
@pytest.mark.parametrize("context", [64, 1])
def test_every_character_has_its_part_and_its_successor(context, folder):
    text = REAL.read_text()
    data = datasets.load("tiny-shakespeare", folder, context=context)
    assert data.class_names == tuple(sorted({*text})) and data.official
    ends = [0, int(0.9 * len(text)), int(0.9 * len(text)) + 55_770, len(text)]
    assert ends[1:] == [1_003_854, 1_059_624, 1_115_394]
    for name, start, stop in zip(("train", "validation", "test"), ends[:-1], ends[1:], strict=True):
        part = getattr(data, name)
        step = 1 if name == "train" else context
        assert len(part) == (stop - start - 1 - context) // step + 1
        assert part.images.dtype == part.labels.dtype == np.uint8
        assert part.images.base is not None  # a view
        for row in (0, 7, len(part) - 1):
            at = start + row * step
            for found, wanted in (
                (part.images, text[at : at + context]),
                (part.labels, text[at + 1 : at + 1 + context]),
            ):
                assert "".join(data.class_names[i] for i in found[row]) == wanted
    shown = (
        f"train {len(data.train):,}, validation {len(data.validation):,}, test {len(data.test):,} sequences"
    )
    assert repr(data) == f"DataSet(tiny-shakespeare: {shown} of {context}, 65 classes)"
    assert f"{len(data.test):,} sequences of {context}" in repr(data.test)
    assert "characters" in data._repr_html_()


@needs_text
@pytest.mark.parametrize("context", [0, 55_770, 64.0])
def test_sequences_that_do_not_fit_are_refused(context, folder):
    with pytest.raises(DataError, match=r"context: expected 1 to 55,769 characters, .* received"):
        datasets.load("tiny-shakespeare", folder, context=context)
    assert len(datasets.load("tiny-shakespeare", folder, context=55_769).test) == 1


def test_windows_are_those_of_slices():
    tokens = np.arange(23, dtype=np.uint8)
    for context, step in ((1, 1), (5, 1), (5, 5), (22, 22), (4, 3)):
        split = texts.windows(tokens, context, step)
        starts = range(0, len(tokens) - context, step)
        np.testing.assert_array_equal(split.images, [tokens[s : s + context] for s in starts])
        np.testing.assert_array_equal(split.labels, [tokens[s + 1 : s + 1 + context] for s in starts])


def test_a_character_outside_of_the_vocabulary_is_named():
    np.testing.assert_array_equal(texts.encoded("abca", "cab"), [1, 2, 0, 1])
    assert texts.encoded("", "abc").shape == (0,)
    with pytest.raises(DataError, match=r"^text: expected the 3 characters 'abc', received 'é' at place 3$"):
        texts.encoded("abécd", "abc")


def test_the_source_is_a_mirror_of_the_plain_file():
    (source,) = TINY_SHAKESPEARE.sources
    assert isinstance(source, Mirror) and source.url.endswith("/tinyshakespeare/")
