"""What analyze.py measured of a run: its metrics.json, if it belongs to the network that the run has now."""

import json


def is_measured(run):
    """Return whether a run has a metrics.json that is not older than its best checkpoint."""
    path, network = run.folder / "metrics.json", run.checkpoint("best")
    return path.is_file() and not (network.is_file() and network.stat().st_mtime > path.stat().st_mtime + 1)


def test_accuracy(run):
    """Return the test accuracy of a run, in [0, 1]; None if it was not measured."""
    try:
        held = json.loads((run.folder / "metrics.json").read_text()) if is_measured(run) else {}
        return float(held["test_accuracy"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
