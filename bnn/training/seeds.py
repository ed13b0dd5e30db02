"""The same training with several seeds, one after the other, in the sub-folders seed0, seed1, ... of one folder."""

from pathlib import Path

from bnn import runs
from bnn.console.arguments import expanded
from bnn.console.spelling import argument
from bnn.datasets.own import redrawn
from bnn.training import start


def train(
    seeds, run_dir=None, *, overwrite=False, data_dir=None, tensorboard=False, command=None, **settings
):
    """Train a network once per seed. Interrupted runs continue, and complete ones stay as they are.

    Args:
        seeds: list of different int.
        run_dir: str or Path of the folder of the runs. None: `runs/` and a name made from the settings.
        overwrite: train all again.
        data_dir: as for `training.train`.
        tensorboard: as for `training.train`.
        command: list of str, what config.json keeps as the command.
        **settings: as for `training.train`, without the seed.

    Returns:
        List of Run, in the order of the seeds.

    Raises:
        ConfigError: a run that exists has other settings, or an error of `training.train`.
        RunError: the folder is a run itself, or an error of `training.train`.
    """
    start.expect_tensorboard(tensorboard)
    first, *_ = seeds = list(dict.fromkeys(seeds))
    # The user's data are read once, for the first seed.
    config, data_set = start.resolved(settings | {"seed": first}, data_dir)
    folder = expanded(run_dir or Path("runs") / runs.default_name(config, with_seed=False))
    if (folder / "config.json").is_file():
        raise runs.RunError(
            f"{folder}: expected a folder for one run per seed, received a run; use another {argument('run_dir')}"
        )
    trained = []
    for seed in seeds:
        run_of = folder / f"seed{seed}"
        given = config.replace(seed=seed)
        data = None if data_set is None else redrawn(data_set, seed)
        if (run_of / "config.json").is_file() and not overwrite:
            # All settings: one that is not given has its default here, and may have another value in the run.
            training = start.go_on(run_of, _flat(given, data), data_dir=data_dir)
        else:
            training = start.begin_with(given, run_of, data, command, overwrite, data_dir=data_dir)
        if training.complete:
            print(f"{run_of} is complete")
        trained.append(training.run_to_end(tensorboard))
    return trained


def _flat(config, data_set):
    return config.flat() | ({} if data_set is None else {"data_set": data_set})
