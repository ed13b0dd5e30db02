"""The config of the training, a frozen dataclass, and its validation."""

import math
from dataclasses import dataclass

from bnn.console.errors import check_fields, expect, setting
from bnn.datasets.catalog import is_own
from bnn.settings.presets import DATA_SET_CHOICES

OPTIMIZERS = ("adam", "bop")
LOSS_MODES = ("hinge-loss", "softmax")
PRECISIONS = ("auto", "float32", "bfloat16")
SCHEDULES = ("exponential", "cosine")
AUGMENTATIONS = ("none", "crops", "flips-and-crops", "alternating-flips-and-crops")
MAX_SIZE = 65_536  # of a layer or a side of an image; a larger value is probably a typing error
MAX_COUNT = 10**9  # of images in a batch, and of epochs


@dataclass(frozen=True)
class TrainConfig:
    """The training. The defaults are the paper's for CIFAR-10.

    Raises:
        ConfigError: a value is out of range.
    """

    data_set: str = setting(
        "cifar-10",
        "data set; mnist-5k needs no download; or own data: an .npz file with x_train, y_train, x_test and y_test, "
        "or a folder with one sub-folder of PNG or JPEG files per class",
        choices=DATA_SET_CHOICES,
    )
    image_size: tuple[int, ...] = setting((), "height and width for images of a folder; no value: not scaled")
    image_range: tuple[float, float] = setting(
        (0.0, 1.0), "values of black and white in float images of an .npz file"
    )
    batch_size: int = setting(50, "images, or sequences of characters, per training batch")
    epochs: int = setting(500, "passes over the training images")
    steps_per_epoch: int | None = setting(
        None,
        "batches that count as an epoch, drawn anew for each; all: those of all training images",
        shown="all",
    )
    optimizer: str = setting(
        "adam",
        "bop: no latent weights; a binary weight flips when a mean of its gradients demands it; binary networks only",
        choices=OPTIMIZERS,
    )
    bop_gamma: float = setting(
        1e-4,
        "bop: weight of the last gradient in the mean, at lr_start; it falls with the learning rate; in (0, 1]",
    )
    bop_threshold: float = setting(
        1e-8, "bop: a weight flips only if the mean of its gradients is larger than X"
    )
    lr_start: float = setting(1e-3, "highest learning rate of Adam, in the first epoch after the warm-up")
    lr_end: float = setting(3e-7, "learning rate that the schedule reaches after the last epoch")
    clip_gradients: float | None = setting(
        1.0, "clip each gradient to [-X, X] before the optimizer; none: do not clip"
    )
    weight_decay: float = setting(
        0.0, "adam: every step takes X times the learning rate of each kernel away from it, as in AdamW"
    )
    schedule: str = setting(
        "exponential",
        "how the learning rate falls: by the same factor after every epoch, or in every step along half a cosine wave",
        choices=SCHEDULES,
    )
    warmup: int = setting(0, "epochs in which the learning rate rises from 0 to lr_start, step by step")
    augment: str = setting(
        "none",
        "none, or crops: shift training images by up to 4 pixels; flips-and-crops: also mirror half of them, for "
        "photographs, not digits; alternating-flips-and-crops: mirror each of them in every second epoch",
        choices=AUGMENTATIONS,
    )
    loss_mode: str = setting("hinge-loss", "hinge-loss: squared, with targets -1 and +1", choices=LOSS_MODES)
    label_smoothing: float = setting(
        0.0, "softmax: part X of each training target is spread evenly over all classes; in [0, 1)"
    )
    ckpt_n: int = setting(1, "write a checkpoint every N epochs, and at each new best")
    log_geometry: int = setting(
        0,
        "every N epochs, log angle, r, r within units, gain, zeros and flip ratio of each layer to geometry.csv; "
        "0: never",
    )
    seed: int = setting(
        0,
        "seed of the initial weights and the order of the images; several seeds: one run per seed, pooled at the end",
    )
    precision: str = setting(
        "auto", "arithmetic of the layers; auto: bfloat16 if the hardware has it", choices=PRECISIONS
    )
    deterministic: bool = setting(False, "make the results of every run equal bit for bit; slower")
    debug: bool = setting(False, "smoke test: 500 training images, 2 epochs unless --epochs is given")

    def __post_init__(self):
        check_fields(self)
        for name in ("batch_size", "epochs", "ckpt_n"):
            expect(0 < getattr(self, name) <= MAX_COUNT, name, f"1 to {MAX_COUNT}", getattr(self, name))
        steps = self.steps_per_epoch
        expect(steps is None or 0 < steps <= MAX_COUNT, "steps_per_epoch", f"1 to {MAX_COUNT}", steps)
        expect(0 <= self.weight_decay < math.inf, "weight_decay", "0 or a positive number", self.weight_decay)
        expect(
            0 <= self.warmup < self.epochs,
            "warmup",
            f"0 to {self.epochs - 1}, less than the epochs",
            self.warmup,
        )
        expect(0 <= self.log_geometry <= MAX_COUNT, "log_geometry", f"0 to {MAX_COUNT}", self.log_geometry)
        self._check_own_data()
        self._check_smoothing()
        self._check_bop()
        expect(0 <= self.seed < 2**32, "seed", "a whole number in [0, 2^32)", self.seed)
        clip = self.clip_gradients
        expect(clip is None or clip > 0, "clip_gradients", "a positive number or none", clip)
        for name in ("lr_start", "lr_end"):
            expect(0 < getattr(self, name) < math.inf, name, "a positive number", getattr(self, name))

    def _check_own_data(self):
        size, (low, high) = self.image_size, self.image_range
        valid = len(size) in (0, 2) and all(0 < n <= MAX_SIZE for n in size)
        expect(valid, "image_size", f"height and width from 1 to {MAX_SIZE}", list(size))
        expect(low < high, "image_range", "low < high", list(self.image_range))
        for name in ("image_size", "image_range"):
            value, default = getattr(self, name), getattr(TrainConfig, name)
            expect(is_own(self.data_set) or value == default, name, "none with a named data set", list(value))

    def _check_smoothing(self):
        smoothing = self.label_smoothing
        expect(0 <= smoothing < 1, "label_smoothing", "a value in [0, 1)", smoothing)
        # In hinge losses a target of smaller size demands a larger score: the opposite of smoothing.
        softmax = "0 unless loss_mode is softmax"
        expect(smoothing == 0 or self.loss_mode == "softmax", "label_smoothing", softmax, smoothing)

    def _check_bop(self):
        expect(0 < self.bop_gamma <= 1, "bop_gamma", "a value in (0, 1]", self.bop_gamma)
        expect(self.bop_threshold >= 0, "bop_threshold", "0 or a positive number", self.bop_threshold)
        decay = "0 with the optimizer bop, whose kernels are signs"
        expect(self.optimizer == "adam" or self.weight_decay == 0, "weight_decay", decay, self.weight_decay)
        for name in ("bop_gamma", "bop_threshold"):
            value, default = getattr(self, name), getattr(TrainConfig, name)
            wanted = f"{default}, the default, unless optimizer is bop"
            expect(value == default or self.optimizer == "bop", name, wanted, value)

    def steps(self, images):
        """Return the number of steps of an epoch with this number of training images, an int."""
        return self.steps_per_epoch or images // self.batch_size

    @property
    def data_options(self):
        """The options of `datasets.load` for user data, a dict; empty for a named data set."""
        names = ("seed", "image_size", "image_range") if is_own(self.data_set) else ()
        return {name: getattr(self, name) for name in names}
