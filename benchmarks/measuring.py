"""What the benchmarks share: the machine in words, and cases that take turns in processes of their own."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def machine(*packages):
    """Processor, cores, Python and the versions of packages, as the line above a table."""
    versions = [f"{name} {metadata.version(name)}" for name in packages]
    return ", ".join(
        [_processor(), f"{os.cpu_count()} cores", f"Python {platform.python_version()}", *versions]
    )


def _processor():
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def in_turns(programs, repeats):
    """Run every program once a turn, so that a busy moment of the machine strikes all alike.

    Args:
        programs: dict from a case's name to its command, a list of words. The last line that it prints is its
            figures, separated by spaces.
        repeats: int, turns.

    Returns:
        dict from name to a list of `repeats` lists of floats.
    """
    figures = {name: [] for name in programs}
    for _ in range(repeats):
        for name, command in programs.items():
            figures[name].append(_figures(command))
            print(name, *figures[name][-1], file=sys.stderr)
    return figures


def _figures(command):
    command = list(map(str, command))
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return [float(word) for word in done.stdout.splitlines()[-1].split()]


def spread(values, decimals):
    """The smallest and the largest of some figures, as text."""
    return f"{min(values):.{decimals}f}-{max(values):.{decimals}f}"
