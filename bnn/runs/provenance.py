"""The origin of a run: the versions of the packages, the commit of the code, and a digest of the settings."""

import hashlib
import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path


def versions():
    """Return the versions of Python, of the machine and of the packages that training depends on."""
    import keras

    backend = keras.backend.backend()
    packages = {name: metadata.version(name) for name in ("keras", "numpy", backend)}
    return {
        "python": platform.python_version(),
        "machine": f"{sys.platform} {platform.machine()}",
        **packages,
    }


def git_commit():
    """Return the commit of the code, with "+changes" if files differ from it; None outside a git checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    here = Path(__file__).parent
    try:
        commit = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip()


def settings_sha256(model, training):
    """Return a digest of settings (dicts as in JSON) that reveals any later change."""
    return hashlib.sha256(json.dumps([model, training], sort_keys=True).encode()).hexdigest()
