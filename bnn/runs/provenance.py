"""The origin of a run: the versions of the packages, the commit of the code, and a digest of the settings."""

import hashlib
import json
import platform
import subprocess
import sys
from pathlib import Path


def versions():
    """Return the versions of Python, of the machine and of the packages that training depends on."""
    import keras

    # Not from the metadata of distributions, whose names differ: tensorflow-cpu installs tensorflow.
    packages = ("keras", "numpy", keras.backend.backend())
    return {
        "python": platform.python_version(),
        "machine": f"{sys.platform} {platform.machine()}",
        **{name: sys.modules[name].__version__ for name in packages},
    }


def git_commit():
    """Return the commit of the code, with "+changes" if files differ from it; None outside a git checkout of it."""
    try:
        # An installed copy may lie in the checkout of another project, which does not track it.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        return _git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments):
    here = Path(__file__).parent
    done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def settings_sha256(*settings):
    """Return a digest of settings (dicts as in JSON) that reveals any later change."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
