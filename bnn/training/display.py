"""The output of a training: one line per epoch, and the text next to the progress bar within an epoch."""

# Columns of an epoch's line: name in log.csv, width, decimals. With the epoch, they fit 80 columns.
COLUMNS = (
    ("loss", 7, 4),
    ("accuracy", 8, 4),
    ("val_loss", 8, 4),
    ("val_accuracy", 12, 4),
    ("flip_ratio", 10, 5),
    ("seconds", 7, 1),
)


def heading(epochs):
    """The headings above the lines of a training with this number of epochs."""
    return "  ".join([" " * len(_epoch(0, epochs)), *(name.rjust(width) for name, width, _ in COLUMNS)])


def epoch_line(row, epochs):
    """The line of an epoch.

    Args:
        row: dict, a row of log.csv.
        epochs: int, number of epochs of the training.
    """
    numbers = (f"{row[name]:{width}.{decimals}f}" for name, width, decimals in COLUMNS)
    return "  ".join([_epoch(row["epoch"], epochs), *numbers])


def _epoch(epoch, epochs):
    return f"epoch {epoch:{len(str(epochs))}d}/{epochs}"


def beside_bar(state, logs, epochs_after, epoch_seconds):
    """Speed, loss and accuracy so far, and the time left, in at most 63 characters.

    Args:
        state: dict, the state of the bar, tqdm's `format_dict`, which counts images.
        logs: dict with "loss" and "accuracy", means over the epoch so far; empty before the first step.
        epochs_after: int, number of epochs after this one.
        epoch_seconds: float, the duration of the previous epoch; None if it is not known.

    Returns:
        str: "57 images/s  loss 0.213  accuracy 0.812  left 8 min, all 4.1 d". The times are of the epoch and of the
        whole training.
    """
    parts = [f"{name} {logs[name]:.3f}" for name in ("loss", "accuracy") if name in logs]
    done = state["n"] - state["initial"]
    if not done or not state["elapsed"]:
        return "  ".join(parts)
    rate = state["rate"] or done / state["elapsed"]
    left = (state["total"] - state["n"]) / rate
    whole = left + epochs_after * (epoch_seconds or state["total"] / rate)
    unit = state.get("unit", "image")
    return "  ".join([f"{rate:.0f} {unit}s/s", *parts, f"left {duration(left)}, all {duration(whole)}"])


def duration(seconds):
    """A time in the largest unit that fits: "42 s", "8 min", "3.4 h", "4.1 d"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 86400 else f"{seconds / 86400:.1f} d"
