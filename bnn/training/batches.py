"""The batches of an epoch, shuffled and augmented."""

import functools

import keras
import numpy as np

from bnn.console.errors import expect, one_of
from bnn.datasets.augmentation import alternating_flips, windows
from bnn.runs import CLASSES
from bnn.settings.training import AUGMENTATIONS


class Batches(keras.utils.PyDataset):
    """The batches of an epoch, in an order that depends only on seed and epoch.

    Images that do not fill a last batch are left out; they differ between epochs. The augmentation of a batch depends
    only on seed, epoch and step.

    Args:
        split: Split.
        batch_size: int.
        seed: int.
        epoch: int, 0 for the first.
        first_step: int, number of steps to skip in this first epoch.
        augmentation: str, one of `bnn.settings.training.AUGMENTATIONS`.
        classes: int.
        smoothing: float in [0, 1), the part of each target that is spread evenly over all classes.
        share: slice, the rows of each batch that this process reads; None: all.
        steps: int, the number of batches of an epoch, at most those of all images; None: these.

    Raises:
        ConfigError: there is no such augmentation.
    """

    def __init__(
        self,
        split,
        batch_size,
        seed,
        epoch=0,
        first_step=0,
        augmentation="none",
        classes=CLASSES,
        smoothing=0.0,
        share=None,
        steps=None,
    ):
        super().__init__()
        expect(augmentation in AUGMENTATIONS, "augmentation", one_of(AUGMENTATIONS), augmentation)
        self.split, self.batch_size, self.seed = split, batch_size, seed
        self.first_step, self.augmentation = first_step, augmentation
        self.share = share or slice(None)
        self.table = one_hot(np.arange(classes), classes, smoothing)  # the target of each label
        self.steps = steps or len(split) // batch_size
        self._shuffle(epoch)

    @functools.cached_property
    def targets(self):
        """The targets of all images, (n, classes) float32."""
        return self.table[self.split.labels]

    def _shuffle(self, epoch):
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.split))
        self.alternating = None
        if self.augmentation == "alternating-flips-and-crops":
            self.alternating = alternating_flips(len(self.split), self.seed, epoch)

    def __len__(self):
        return self.steps - self.first_step

    def places(self, step):
        """Indices of a whole batch: `split.images[places]` are its images; the first array holds the image numbers."""
        step += self.first_step
        index = self.order[step * self.batch_size : (step + 1) * self.batch_size]
        if self.augmentation == "none":
            return (index,)
        # The order's random numbers come from the same seed and epoch without a key.
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, self.epoch], spawn_key=[step]))
        size = self.split.images.shape[1:3]
        return index[:, None, None], *windows(len(index), *size, rng, self._flips(index))

    def _flips(self, index):
        """What `windows` mirrors of the images with these numbers."""
        if self.alternating is not None:
            return self.alternating[index]
        return self.augmentation == "flips-and-crops"

    def __getitem__(self, step):
        places = tuple(part[self.share] for part in self.places(step))
        return self.split.images[places], self.table[self.split.labels[places[0].ravel()]]

    def on_epoch_end(self):
        """Shuffle for the next epoch."""
        self._shuffle(self.epoch + 1)


def one_hot(labels, classes=CLASSES, smoothing=0.0):
    """Convert labels (n,) or (n, steps) to targets (..., classes) float32, on request with label smoothing [1]_.

    References:
        .. [1] Szegedy, Vanhoucke, Ioffe, Shlens & Wojna, "Rethinking the Inception Architecture", 2016,
           arXiv:1512.00567, section 7.
    """
    smoothed = (1 - smoothing) * np.eye(classes) + smoothing / classes
    return smoothed.astype(np.float32)[labels]
