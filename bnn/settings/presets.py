"""The presets: what each data set changes in the paper's settings, and what the shape of user data changes."""

from bnn.console.tables import filled
from bnn.datasets.catalog import is_own

# What differs from the dataclasses' defaults, which are the paper's CIFAR-10 settings.
PRESETS = {
    "cifar-10": {},
    "MNIST": {
        "input_shape": (28, 28, 1), "input_range": (0.0, 1.0),
        "conv": (), "max_pool": (), "fc": (1024, 1024, 1024),
        "epochs": 100, "lr_start": 1e-2, "lr_end": 1e-5, "bn_decay": 0.99,
    },
    "fashion-mnist": {
        "input_shape": (28, 28, 1), "input_range": (0.0, 1.0),
        "conv": (32, 32, 64, 64), "max_pool": (0, 1, 0, 1), "fc": (256,),
        "epochs": 20, "lr_start": 1e-2, "lr_end": 1e-5, "bn_decay": 0.99,
    },
    # nanoGPT's settings for its smallest network: https://github.com/karpathy/nanoGPT, "I only have a macbook".
    "tiny-shakespeare": {
        "network": "gpt", "input_shape": (64,), "classes": 65,
        "batch_size": 12, "steps_per_epoch": 250, "epochs": 8, "loss_mode": "softmax", "precision": "float32",
        "lr_start": 1e-3, "lr_end": 1e-4, "schedule": "cosine", "warmup": 1,
    },
    "mnist-5k": {
        "input_shape": (28, 28, 1), "input_range": (0.0, 1.0),
        "conv": (32, 32, 64, 64), "max_pool": (0, 1, 0, 1), "fc": (256,),
        "epochs": 20, "lr_start": 1e-2, "lr_end": 1e-4, "bn_decay": 0.95, "precision": "float32",
    },
}  # fmt: skip
DATA_SETS = tuple(name for name, preset in PRESETS.items() if "network" not in preset)  # of images


class DataSetNames(tuple):
    """The choices of `data_set`, which besides names are all paths of files and folders."""

    __slots__ = ()

    def __contains__(self, name):
        return super().__contains__(name) or is_own(name)


DATA_SET_CHOICES = DataSetNames((*PRESETS, "FILE.npz", "FOLDER/", "NAME of --use FILE.py"))

FIRST, MOST = 32, 256  # channels of the first convolutions, and at most
LEAST_SIDE = 12  # pixels: maps whose shorter side is less are not pooled
BATCH = 50
CHOSEN = ("conv", "max_pool", "fc", "epochs", "batch_size")  # settings that depend on the images


def for_images(shape, classes, training_images):
    """Choose the network and the training for images.

    Two convolutions per stage; a 2x2 pooling ends the stage while the shorter side has at least 12 pixels, and the next
    stage has twice the channels. 28 x 28 pixels give the network of mnist-5k.

    Args:
        shape: (height, width, channels).
        classes: int.
        training_images: int, how many.

    Returns:
        dict from setting to value, as in `bnn.settings.config.PRESETS`.
    """
    side, poolings = min(shape[:2]), 0
    while side >> poolings >= LEAST_SIDE:
        poolings += 1
    channels = [min(FIRST << stage, MOST) for stage in range(max(poolings, 1))]
    return {
        "input_shape": tuple(shape),
        "input_range": (0.0, 1.0) if shape[2] == 1 else (-1.0, 1.0),
        "classes": classes,
        "conv": tuple(filters for filters in channels for _ in range(2)),
        "max_pool": (0, 1) * poolings or (0, 0),
        "fc": (256,),
        "batch_size": min(BATCH, training_images),
        "epochs": 20,
        "lr_start": 1e-2,
        "lr_end": 1e-4,
        "bn_decay": 0.95,
    }


def text(config):
    """Return a text about the settings of a Config that a preset chose, or flags in its place."""
    settings, inputs = config.flat(), config.inputs
    chosen = {name: settings[name] for name in CHOSEN if name in settings}
    many = {name: value if isinstance(value, tuple) else (value,) for name, value in chosen.items()}
    flags = [" ".join([f"--{name}", *map(str, values)]) for name, values in many.items()]
    return filled(
        f"images of {' x '.join(map(str, inputs.input_shape))} in {inputs.classes} classes:", *flags
    )
