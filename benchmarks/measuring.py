"""The shared parts of the benchmarks: a description of the machine, and cases that alternate in separate processes."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def machine(*packages):
    """Describe processor, cores, Python and the versions of packages, in the line above a table."""
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
    """Run all programs alternately, so that other work on the machine affects all of them equally.

    Args:
        programs: dict from the name of a case to its command, a list of words. The last line that the command prints
            contains its results, separated by spaces.
        repeats: int, how many times to run each program.

    Returns:
        Dict from each name to a list of `repeats` lists of floats.
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
    """Return the smallest and the largest value as text."""
    return f"{min(values):.{decimals}f}-{max(values):.{decimals}f}"
