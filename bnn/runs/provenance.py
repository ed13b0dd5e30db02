"""Where a run comes from: the versions of the packages, and the commit of the code."""

import hashlib
import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path


def versions():
    """The versions of Python, the machine and the packages that training depends on."""
    import keras

    backend = keras.backend.backend()
    packages = {name: metadata.version(name) for name in ("keras", "numpy", backend)}
    return {
        "python": platform.python_version(),
        "machine": f"{sys.platform} {platform.machine()}",
        **packages,
    }


def git_commit():
    """The code's commit, with "+changes" where files differ from it; None outside a git checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"],
                                cwd=here, capture_output=True, text=True, check=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip()


def settings_sha256(model, training):
    """What tells of a flipped bit in settings, dicts as JSON holds them."""
    return hashlib.sha256(json.dumps([model, training], sort_keys=True).encode()).hexdigest()
