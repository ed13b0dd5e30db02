"""What a run must have, and with which settings, to be continued."""

from bnn import runs
from bnn.console.spelling import argument, option
from bnn.networks.quantization import spelled_out
from bnn.settings.config import ConfigError, expect_names, network_of, plain


def expect_checkpoint(run):
    """Raise `RunError` for a published run, which would be trained again from its start and lose its network.

    The first epoch always writes last.keras, and does so before the second row of the log.
    """
    if len(run.log()) > 1 and not run.checkpoint("last").is_file():
        raise runs.RunError(
            f"{run.folder}: expected last.keras, from which a training continues, received a run without it; "
            f"to begin a new training with its best weights, use {option('init_from', run.folder)}"
        )


def expect_agreement(run, given):
    """Raise a `ConfigError` unless a run was begun with the given settings."""
    stored, typed = run.config.flat(), spelled_out(plain(given))
    given = dict(typed)
    if "network" in typed:
        kind, named = network_of(typed)
        given = named | typed | {"network": kind.name}
    given |= type(run.config.network).implied(stored | given, typed)
    expect_names(given, [type(part) for part in run.config.parts.values()])
    for name, value in given.items():
        if value != stored[name] and (name, value) != ("precision", "auto"):
            raise ConfigError(
                f"{argument(name)}: expected {stored[name]!r}, with which {run.folder} was begun, received {value!r}; "
                f"other settings need another {argument('run_dir')}, and {option('init_from', run.folder)} begins "
                "with its weights"
            )
