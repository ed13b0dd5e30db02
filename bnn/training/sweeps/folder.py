"""The folder of a sweep: sweep.json with its points, their run directories, and the records of its jobs.

sweep.json          settings, points, code of the user and folder of the data
POINT/seedN/        the run directory of a point, see `bnn.runs.directory`
jobs/POINT.json     the job that was submitted last for a point
jobs/POINT.log      what its jobs printed
jobs/POINT.failed   the last line of the last job, if it ended with an error
jobs/submitit/      the files of submitit
"""

import json
from dataclasses import dataclass
from pathlib import Path

from bnn import runs
from bnn.console.arguments import expanded
from bnn.console.errors import ConfigError, RunError
from bnn.console.spelling import argument, words
from bnn.files import lock
from bnn.files.atomic import write_json
from bnn.settings.config import config_from_json
from bnn.training.sweeps import plan, status

NAME = "sweep.json"
JOBS = "jobs"
FORMAT = 1


@dataclass(frozen=True)
class Sweep:
    """A sweep and its folder. Printed, and as the last line of a notebook's cell, it is the table of its points.

    Attributes:
        folder: Path.
        points: tuple of Point.
        settings: dict, what is common to all points, as it was given.
        use: tuple of str, the Python files that make the user's networks, quantizers and data sets known.
        data_dir: str or None, the folder of the data sets.
        jobs: dict, how jobs were submitted last: "cluster" and its options.
    """

    folder: Path
    points: tuple[plan.Point, ...]
    settings: dict
    use: tuple[str, ...] = ()
    data_dir: str | None = None
    jobs: dict | None = None

    @property
    def runs(self):
        """The runs of the points that are complete, a list of Run."""
        return [
            runs.open_run(self.run_dir(point)) for point in self.points if status.is_complete(self, point)
        ]

    def status(self):
        """Return how far each point is, a list of `status.State`."""
        return status.states(self)

    def compare(self, data_dir=None):
        """Return the Comparison of the complete runs, which are analyzed if they are not yet; see `bnn.compare`."""
        from bnn.training.sweeps.results import compare

        return compare(self, data_dir)

    def __repr__(self):
        return status.text(self.status())

    def _repr_html_(self):  # IPython's hook
        return status.html(self.status())

    def run_dir(self, point):
        """Return the Path of the run directory of a Point."""
        return self.folder / point.name

    def record(self, point, kind):
        """Return the Path of a file about the jobs of a Point: "json", "log", "failed" or "lock"."""
        return self.folder / JOBS / f"{point.name}.{kind}"

    @property
    def submitit(self):
        """The Path of the folder with the files of submitit."""
        return self.folder / JOBS / "submitit"

    def point(self, name):
        """Return the Point of a name; raises `ConfigError` if there is none."""
        found = {point.name: point for point in self.points}
        if name not in found:
            hint = plan.did_you_mean(name, found) or f"; the first is {next(iter(found))}"
            raise ConfigError(
                f"{argument('point')}: expected a point of {self.folder}, received {name}{hint}"
            )
        return found[name]

    def save(self):
        """Write sweep.json."""
        points = [
            {"name": point.name, "settings": _plain(point.settings), "config": point.config.to_json()}
            for point in self.points
        ]
        content = {
            "format": FORMAT,
            "settings": _plain(self.settings),
            "use": list(self.use),
            "data_dir": self.data_dir,
            "jobs": self.jobs,
            "points": points,
        }
        write_json(self.folder / NAME, content)


def _plain(settings):
    return json.loads(json.dumps(settings, default=str))


def is_sweep(folder):
    """Return whether a folder holds a sweep."""
    return (expanded(folder) / NAME).is_file()


def open_sweep(folder):
    """Open the sweep in a folder.

    Raises:
        RunError: there is none, or sweep.json is damaged.
    """
    folder = expanded(folder)
    path = folder / NAME
    if not path.is_file():
        kind = (
            "a folder without one" if folder.is_dir() else "a file" if folder.is_file() else "no such folder"
        )
        raise RunError(f"{folder}: expected the folder of a sweep, with {NAME}, received {kind}")
    try:
        content = json.loads(path.read_text())
        points = tuple(
            plan.Point(one["name"], _settings(one["settings"]), config_from_json(one["config"]))
            for one in content["points"]
        )
        names = [part for point in points for part in Path(point.name).parts]
        if content["format"] != FORMAT or not points or ".." in names or any(map(_is_absolute, points)):
            raise ValueError("another format")
        return Sweep(
            folder,
            points,
            _settings(content["settings"]),
            tuple(content["use"]),
            content["data_dir"],
            content["jobs"],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = str(error) if isinstance(error, ConfigError) else "a damaged file or one of another version"
        raise RunError(f"{path}: expected the points of a sweep, received {what}") from None


def _is_absolute(point):
    return Path(point.name).is_absolute()


def _settings(held):
    return {name: tuple(value) if isinstance(value, list) else value for name, value in held.items()}


def merged(old, new):
    """Return a sweep that also has the points that another one of the same folder has.

    Args:
        old: Sweep as it is in the folder.
        new: Sweep with points of now; it may have other values of the same varied settings.

    Raises:
        ConfigError: it has other settings.
    """
    given, begun = _plain(new.settings), _plain(old.settings)
    for name in [*begun, *given]:
        expect_same(old.folder, name, begun.get(name), given.get(name), name in begun, name in given)
    varied = [sorted({name for point in sweep.points for name in point.settings}) for sweep in (old, new)]
    if varied[0] != varied[1]:
        before, now = (", ".join(names) or "no setting" for names in varied)
        raise ConfigError(
            f"{old.folder}: expected the sweep over {before} that is there, received one over {now}; "
            f"use another {argument('sweep_dir')}"
        )
    held = {point.name: point for point in old.points}
    for point in new.points:
        expect_config(old.folder, held.get(point.name, point).config, point.config)
    added = [point for point in new.points if point.name not in held]
    return Sweep(old.folder, (*old.points, *added), old.settings, new.use, new.data_dir, new.jobs)


def expect_same(folder, name, begun, given, was_given=True, is_given=True):
    """Raise `ConfigError` unless a setting is the one with which a sweep was begun."""
    if begun != given or was_given != is_given:
        before, now = (
            words(value) if held else "none" for value, held in ((begun, was_given), (given, is_given))
        )
        raise ConfigError(
            f"{argument(name)}: expected {before}, with which the sweep in {folder} was begun, received {now}; "
            f"use another {argument('sweep_dir')}"
        )


def expect_config(folder, begun, given):
    """Raise `ConfigError` unless a Config is the one with which a sweep or a run in a folder was begun."""
    held = given.flat()
    for name, value in begun.flat().items():
        auto = name == "precision" and "auto" in (value, held.get(name))
        if not auto and value != held.get(name):
            raise ConfigError(
                f"{argument(name)}: expected {words(value)}, with which {folder} was begun, received "
                f"{words(held.get(name))}; use another {argument('sweep_dir')}"
            )


def expect_runs(sweep):
    """Raise an error if a run directory of a point holds a run of other settings or other files."""
    for point in sweep.points:
        folder = sweep.run_dir(point)
        if (folder / "config.json").is_file():
            expect_config(folder, runs.open_run(folder).config, point.config)
        else:
            runs.expect_free(folder)


def expect_free(folder):
    """Raise `RunError` unless a new sweep may start in a folder: it may hold the runs of the seeds, nothing else."""
    if (folder / "config.json").is_file():
        raise RunError(
            f"{folder}: expected the folder of a sweep, received a run; use another {argument('sweep_dir')}"
        )
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: expected the folder of a sweep, received a file")
    others = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    others = [name for name in others if name not in (lock.NAME, JOBS) and not name.startswith(".")]
    if others and not runs.find(folder):
        raise RunError(
            f"{folder}: expected a new or empty folder, or that of a sweep, received one with other files, such as "
            f"{sorted(others)[0]}; use another {argument('sweep_dir')}"
        )
