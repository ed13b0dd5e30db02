"""The same training with several seeds, one after the other, in the sub-folders seed0, seed1, ... of one folder."""

from pathlib import Path

from bnn import runs
from bnn.paths import expanded
from bnn.spelling import argument
from bnn.training import own_data, start


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
    folder = expanded(run_dir or Path("runs") / _name(settings, data_dir))
    if (folder / "config.json").is_file():
        raise runs.RunError(
            f"{folder}: expected a folder for one run per seed, received a run; use another {argument('run_dir')}"
        )
    return [
        _train(
            seed, folder / f"seed{seed}", settings | {"seed": seed}, overwrite, data_dir, tensorboard, command
        )
        for seed in dict.fromkeys(seeds)
    ]


def _train(seed, folder, settings, overwrite, data_dir, tensorboard, command):
    if (folder / "config.json").is_file() and not overwrite:
        # All settings, because one that is not given has its default here, and may have another value in the run.
        model, config, data_set = _configs(settings, data_dir)
        settings = vars(model) | vars(config) | ({} if data_set is None else {"data_set": data_set})
        training = start.go_on(folder, settings, data_dir=data_dir)
    else:
        training = start.begin(folder, settings, command=command, overwrite=overwrite, data_dir=data_dir)
    if training.complete:
        print(f"{folder} is complete")
    return training.run_to_end(tensorboard)


def _configs(settings, data_dir):
    given, data_set = start.split(settings)
    return own_data.configs(given, data_set, data_dir)


def _name(settings, data_dir):
    model, config, _ = _configs(settings, data_dir)
    return runs.default_name(model, config, with_seed=False)
