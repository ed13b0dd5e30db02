"""The formats of config.json: earlier ones are read as the current one, and their files are never rewritten.

format 1    "model" and "training"; the network is `vgg` (there is no key "format")
format 2    "network", with its name, "quantization", "inputs" and "training"
"""

from bnn.console.errors import ConfigError, expect
from bnn.networks.base import Inputs
from bnn.networks.quantization import Quantization
from bnn.networks.vgg import VGG
from bnn.runs import provenance
from bnn.settings.config import names

CURRENT = 2
SETTINGS = {1: ("model", "training"), 2: ("network", "quantization", "inputs", "training")}
OTHERS = ("format", "data", "settings_sha256", "command", "versions", "git_commit")


def upgraded(content):
    """Return the content of a config.json of any format as the current format.

    Args:
        content: dict as in the file.

    Returns:
        dict with the parts of a `Config` and the other keys.

    Raises:
        ConfigError: another format, or unknown keys.
        KeyError, TypeError: a key is missing, or the content is no object.
    """
    number = _number(content)
    if type(number) is not int or number not in SETTINGS:
        raise ConfigError(
            f"format: expected 1 or {CURRENT}, received {number!r}; the run needs a later version"
        )
    keys = {*SETTINGS[number], *OTHERS}
    settings = [content[key] for key in SETTINGS[number]]
    for key, value in content.items():
        expect(key in keys, key, "no such key in config.json", value)
    return content if number == CURRENT else content | _from_first(*settings)


def expect_unchanged(content):
    """Raise `ConfigError` if settings in the content of a config.json were changed after the run began.

    Their digest is that of the format in which the file was written.
    """
    kept = SETTINGS[_number(content)]
    digest = provenance.settings_sha256(*(content[key] for key in kept))
    received = content.get("settings_sha256", digest)  # the first runs have none
    expected = f"{digest}, the digest of {', '.join(kept[:-1])} and {kept[-1]} in this file"
    expect(received == digest, "settings_sha256", expected, received)


def _number(content):
    return content.get("format", 1) if isinstance(content, dict) else 1


def _from_first(model, _):
    """Return the parts of format 2: the one object `model` of format 1 held the settings of three."""
    expect(isinstance(model, dict), "model", "an object", model)
    left = dict(model)
    parts = {}
    for part, kind in {"network": VGG, "quantization": Quantization, "inputs": Inputs}.items():
        parts[part] = {name: left.pop(name) for name in names(kind) if name in left}
    for key, value in left.items():
        expect(False, key, "no such key in model", value)
    return parts | {"network": {"name": VGG.name} | parts["network"]}
