"""The networks by name: one line for each, with the settings of its publication."""

from typing import NamedTuple

from bnn.console.errors import ConfigError, one_of
from bnn.console.suggestions import did_you_mean
from bnn.networks.base import Network
from bnn.networks.bireal import BiReal, ReActNet
from bnn.networks.gpt import GPT
from bnn.networks.recurrent import Recurrent
from bnn.networks.vgg import VGG


class Entry(NamedTuple):
    """A network with a name.

    Attributes:
        architecture: subclass of Network.
        settings: dict of the settings that differ from the defaults, of the network and, if they belong to it, of its
            quantization and training. They override the preset of the data set; what the user types overrides them.
        about: str, a few words for --help; "": none.
    """

    architecture: type
    settings: dict
    about: str = ""


DEFAULT = "vgg"
NETWORKS = {
    DEFAULT: Entry(VGG, {}),
    # Six convolutions and one dense layer, the first and the last real: the network of IR-Net (arXiv:1909.10788), ReCU,
    # SiMaN and AdaBin for CIFAR-10, from LQ-Nets (arXiv:1807.10029).
    "vgg-small": Entry(VGG, {
        "conv": (128, 128, 256, 256, 512, 512), "max_pool": (0, 1, 0, 1, 0, 1), "fc": (), "filter_size": 3,
        "first_layer": "real", "last_layer": "real",
    }),
    # The first authors' code for Courbariaux et al. (arXiv:1602.02830):
    # https://github.com/MatthieuCourbariaux/BinaryNet, Train-time/cifar10.py. Its alpha is 1 - bn_decay.
    "binarynet": Entry(VGG, {
        "conv": (128, 128, 256, 256, 512, 512), "max_pool": (0, 1, 0, 1, 0, 1), "fc": (1024, 1024), "filter_size": 3,
        "clip": "glorot", "bn_decay": 0.9, "bn_epsilon": 1e-4, "bn_scale": True,
        "batch_size": 50, "epochs": 500, "optimizer": "adam", "lr_start": 1e-3, "lr_end": 3e-7,
        "schedule": "exponential", "warmup": 0, "augment": "none", "loss_mode": "hinge-loss", "clip_gradients": None,
    }, "with the training of its authors"),
    # ResNet-18 with a shortcut around every convolution (arXiv:1808.00278); its first layer is for small images.
    "bi-real-18": Entry(BiReal, {"first_layer": "real", "last_layer": "real"}),
    # ResNet-20 for CIFAR-10, the network of most published accuracies, with the same shortcuts.
    "bi-real-20": Entry(BiReal, {
        "stages": (16, 32, 64), "depth": 6, "first_layer": "real", "last_layer": "real",
    }),
    # The same with the learned shifts of arXiv:2003.03488.
    "react-20": Entry(ReActNet, {
        "stages": (16, 32, 64), "depth": 6, "first_layer": "real", "last_layer": "real",
    }),
    "lstm": Entry(Recurrent, {}),
    "gru": Entry(Recurrent, {"cell": "gru"}),
    # nanoGPT's smallest network, with the products of BitNet (arXiv:2310.11453, 2402.17764).
    "gpt": Entry(GPT, {}, "a language model of characters"),
}  # fmt: skip
BUILT_IN = frozenset(NETWORKS)


def entry(name):
    """Return the Entry of a network's or of an architecture's name.

    Raises:
        ConfigError: there is none.
    """
    if isinstance(name, str) and name in NETWORKS:
        return NETWORKS[name]
    for found in NETWORKS.values():
        if found.architecture.name == name:
            return Entry(found.architecture, {})
    hint = did_you_mean(name, NETWORKS) if isinstance(name, str) else ""
    raise ConfigError(
        f"network: expected {one_of(NETWORKS)}, received {name!r}{hint}; a network of your own is made known by "
        "--use FILE.py, or in Python by bnn.networks.register"
    )


def register(architecture):
    """Make a network of your own available by its name, for `--network`, `bnn.train` and the runs that have it.

    Args:
        architecture: subclass of Network, a frozen dataclass with a `name`.

    Returns:
        The class, so that this can be a decorator. Registering a name again replaces a class of your own.

    Raises:
        ConfigError: the class is no network, or its name is one of this package's.
    """
    if not (isinstance(architecture, type) and issubclass(architecture, Network)):
        raise ConfigError(f"network: expected a subclass of bnn.networks.Network, received {architecture!r}")
    name = getattr(architecture, "name", None)
    if not isinstance(name, str) or not name:
        raise ConfigError(f"network: expected {architecture.__name__}.name, a text, received {name!r}")
    if name in BUILT_IN:
        raise ConfigError(f"network: expected another name than {', '.join(BUILT_IN)}, received {name!r}")
    NETWORKS[name] = Entry(architecture, {})
    return architecture
