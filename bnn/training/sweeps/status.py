"""How far the points of a sweep are: what their run directories hold, and the jobs that run or wait."""

from dataclasses import dataclass

from bnn import runs
from bnn.console.tables import aligned, html_table
from bnn.files import lock
from bnn.runs import summary
from bnn.runs.log import test_accuracy
from bnn.training import display
from bnn.training.sweeps import queue

COLUMNS = ("point", "state", "epochs", "val", "test", "left")
COMPLETE, TRAINING, STARTING, QUEUED = "complete", "training", "starting", "queued"
FAILED, INTERRUPTED, MISSING = "failed", "interrupted", "not begun"
ACTIVE = (TRAINING, STARTING, QUEUED)


@dataclass(frozen=True)
class State:
    """How far a point is.

    Attributes:
        point: Point.
        state: str, "complete", "training", "starting", "queued", "failed", "interrupted" or "not begun".
        epochs: int, the epochs that are trained.
        val_accuracy: float in [0, 1], the best; None before the first epoch.
        test_accuracy: float in [0, 1]; None if it was not measured.
        seconds_left: float, by the mean duration of its epochs; None if it is not trained now.
        why: str, the last line of a failed job, or why a job waits; "" otherwise.
    """

    point: object
    state: str
    epochs: int = 0
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    seconds_left: float | None = None
    why: str = ""

    @property
    def is_active(self):
        """Whether a job trains it or waits to."""
        return self.state in ACTIVE


def is_complete(sweep, point):
    """Return whether a point has a run that is trained to its end."""
    try:
        run = runs.open_run(sweep.run_dir(point))
        return _is_complete(run, run.log())
    except runs.RunError:
        return False


def _is_complete(run, log):
    """The last row of the log precedes the last checkpoint; summary.txt, or metrics.json, follows it."""
    done = bool(log) and log[-1]["epoch"] >= run.training.epochs
    return done and any((run.folder / name).is_file() for name in (summary.NAME, "metrics.json"))


def states(sweep, waiting=None):
    """Return the State of each point of a Sweep.

    Args:
        sweep: Sweep.
        waiting: dict from the name of each point that has a SLURM job to (state, reason); None: ask SLURM if it has.
    """
    waiting = queue.active(sweep) if waiting is None else waiting
    return [of_point(sweep, point, waiting.get(point.name)) for point in sweep.points]


def of_point(sweep, point, job=None):
    """Return the State of a Point; `job` is its entry in what `queue.active` returns, None without a SLURM job."""
    try:
        run = (
            runs.open_run(sweep.run_dir(point)) if (sweep.run_dir(point) / "config.json").is_file() else None
        )
        log = run.log() if run else []
    except runs.RunError as error:
        return State(point, FAILED, why=str(error))
    found = {"epochs": log[-1]["epoch"] if log else 0}
    found["val_accuracy"] = max((row["val_accuracy"] for row in log), default=None)
    if run and _is_complete(run, log):
        return State(point, COMPLETE, test_accuracy=test_accuracy(run), **found)
    if run and lock.is_held(run.folder):
        left = run.training.epochs - found["epochs"]
        seconds = left * sum(row["seconds"] for row in log) / len(log) if log else None
        return State(point, TRAINING, seconds_left=seconds, **found)
    if job:
        state, reason = job
        return State(point, QUEUED if state == "PENDING" else STARTING, why=reason, **found)
    if queue.is_alive(sweep, point):
        return State(point, STARTING, **found)
    failed = sweep.record(point, "failed")
    if failed.is_file():
        return State(point, FAILED, why=failed.read_text(errors="replace").strip(), **found)
    return State(point, INTERRUPTED if run else MISSING, **found)


def rows(found):
    """Return the table of states as rows of texts, the first one the headings."""
    return [[*COLUMNS], *(_row(state) for state in found)]


def _row(state):
    numbers = [
        "-" if value is None else f"{value:.4f}" for value in (state.val_accuracy, state.test_accuracy)
    ]
    left = "-" if state.seconds_left is None else display.duration(state.seconds_left)
    epochs = f"{state.epochs}/{state.point.config.training.epochs}"
    return [state.point.name, state.state, epochs, *numbers, left]


def text(found):
    """Return the table of states, the last lines of what failed and a line with the sums, as text."""
    lines = [aligned(rows(found), left=True)]
    lines += [f"{state.point.name}: {state.state}: {state.why}" for state in found if state.why]
    return "\n".join([*lines, totals(found)])


def html(found):
    """Return the table of states as HTML."""
    return html_table(rows(found), totals(found))


def totals(found):
    """Return one line: "3 of 6 complete, 1 training, 2 queued; about 5 min left"."""
    counts = [
        (name, sum(state.state == name for state in found))
        for name in (*ACTIVE, FAILED, INTERRUPTED, MISSING)
    ]
    complete = sum(state.state == COMPLETE for state in found)
    parts = [f"{complete} of {len(found)} complete", *(f"{n} {name}" for name, n in counts if n)]
    left = _left(found)
    return ", ".join(parts) + (f"; about {display.duration(left)} left" if left else "")


def _left(found):
    """The seconds until the end, if as many points are trained at once as now; None if that is not known."""
    training = [state for state in found if state.state == TRAINING]
    known = [state for state in training if state.seconds_left is not None]
    if not known:
        return None
    epochs = [state.point.config.training.epochs - state.epochs for state in known]
    per_epoch = sum(state.seconds_left for state in known) / max(sum(epochs), 1)
    waiting = [state for state in found if state.state in (QUEUED, STARTING)]
    behind = sum(state.point.config.training.epochs - state.epochs for state in waiting) * per_epoch
    return max(state.seconds_left for state in known) + behind / len(training)
