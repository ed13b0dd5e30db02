"""A data set as arrays: its splits, its digest, its class names, and the order of the axes of images."""

from dataclasses import dataclass

import numpy as np

from bnn.console.tables import html_table
from bnn.datasets.catalog import is_own


@dataclass(frozen=True)
class Split:
    """Images (n, height, width, channels) uint8 and labels (n,), whole numbers from 0.

    Of text, `images` are sequences of tokens (n, steps) uint8, and `labels`, of the same shape, the token after each.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def __repr__(self):
        return f"Split({len(self):,} {self.unit}s of {' x '.join(map(str, self.images.shape[1:]))})"

    def __getitem__(self, index):
        return Split(self.images[index], self.labels[index])

    @property
    def unit(self):
        """What a row is, in messages: "image" or "sequence"."""
        return "image" if self.images.ndim > 2 else "sequence"


@dataclass(frozen=True)
class DataSet:
    """A data set with its split.

    Attributes:
        name: str, the name in `--data_set`, which for user data is the path of the file or folder.
        digest: str, the SHA-256 that identifies the data.
        official: bool, True for the files of the catalog; False for user data and for a variant that the user accepted
            by its digest.
        train, validation, test: Split.
        class_names: tuple of str, in the order of the labels; of text, the characters.
        digests: all SHA-256 that run directories may contain for these data.
        earlier_digest: str or None, the SHA-256 that earlier versions gave the same files; if it is not `digest`, they
            made other images of them.
        stratified: bool, whether the user's images that were set aside, if any, were drawn by class.
        drawn: sorted array of the places, among the training images that were given, of those that were set aside for
            validation; None: validation images were given. See `datasets.own.redrawn`.
    """

    name: str
    digest: str
    official: bool
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...] = tuple("0123456789")
    digests: frozenset[str] = frozenset()
    earlier_digest: str | None = None
    stratified: bool = True
    drawn: np.ndarray | None = None

    def __repr__(self):
        counts = ", ".join(f"{name} {len(getattr(self, name)):,}" for name in ("train", "validation", "test"))
        size = " x ".join(map(str, self.train.images.shape[1:]))
        unit = f"{self.train.unit}s"
        return f"DataSet({self.label}: {counts} {unit} of {size}, {len(self.class_names)} classes)"

    def _repr_html_(self):  # IPython's hook
        size = "height x width x channels" if self.train.unit == "image" else "characters"
        heads = ["split", f"{self.train.unit}s", size, "classes"]
        splits = {name: getattr(self, name) for name in ("train", "validation", "test")}
        rows = [
            [
                name,
                f"{len(split):,}",
                " x ".join(map(str, split.images.shape[1:])),
                str(len(self.class_names)),
            ]
            for name, split in splits.items()
        ]
        return html_table([heads, *rows], self.label)

    @property
    def label(self):
        """The name to show to users. A variant of a data set is never shown as the original."""
        if self.official or is_own(self.name):
            return self.name
        return f"{self.name} (variant, SHA-256 {self.digest[:8]})"

    def is_known_as(self, digest):
        """Return whether a run directory with this SHA-256 was trained on these data."""
        return digest in {self.digest, *self.digests}

    def was_read_as(self, digest):
        """Return whether a SHA-256 is that of the same files, also as earlier versions computed it."""
        return digest == self.earlier_digest and not self.is_known_as(digest)


def is_channels_first(shape):
    """Whether the shape of one image, three sizes, is that of (channels, height, width), as in PyTorch.

    A picture of one row of pixels with up to 16 channels is taken as it is, unless it would be square.
    """
    first, height, width = shape
    few = first <= 4 < min(height, width) and (first > 1 or height == width or width > 16)
    return few or first <= 16 < height == width


def axes_hint(received, wanted):
    """Return the end of a message, the line that mends an array of another order of axes; "" if none does.

    Args:
        received: shape of an array of images, or of one image.
        wanted: shape of one image; None for a size that is free.
    """
    image = received[-len(wanted) :] if len(wanted) else ()
    count = len(received) - len(image)
    if len(image) < 3 or count > 1:
        return ""
    for moved, line in (
        ((*image[1:], image[0]), f"np.moveaxis(images, {count}, -1)"),
        ((image[-1], *image[:-1]), f"np.moveaxis(images, -1, {count})"),
    ):
        if all(size in (None, other) for size, other in zip(wanted, moved, strict=True)):
            return f"; use {line}"
    return ""
