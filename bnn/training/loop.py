"""Fit a network: loss, optimizer, and continuing from the last checkpoint."""

import keras

from bnn.analysis import GeometryLogger
from bnn.backend import standard_settings
from bnn.layers.optimizers import Adam, Bop, binarize
from bnn.models import altered_copy
from bnn.training.batches import Batches, one_hot
from bnn.training.distribution import ALONE
from bnn.training.journal import Journal
from bnn.training.schedule import RateSchedule, watched
from bnn.training.signals import Interrupted, StopRequests

if keras.backend.backend() == "jax":
    from bnn.training import jax_epoch
else:
    jax_epoch = None

EVALUATION_BATCH = 500
GEOMETRY_IMAGES = 500  # with 50 images, the gain of a unit would vary by 8 %


@standard_settings()
def compile_model(model, config):
    """Give a network its loss and its optimizer, by default the paper's: Adam with gradients clipped by value to +-1.

    `clip_gradients` of the config is that limit; None: gradients are not clipped.

    Args:
        model: keras.Model.
        config: TrainConfig.
    """
    losses = {
        # Keras turns the 0/1 of one-hot targets into -1/+1 for hinge losses.
        "hinge-loss": keras.losses.SquaredHinge(),
        "softmax": keras.losses.CategoricalCrossentropy(from_logits=True),
    }
    options = {"epsilon": 1e-8, "clipvalue": config.clip_gradients}
    if config.optimizer == "bop":
        binarize(model.trainable_variables)
        optimizer = Bop(config.lr_start, config.bop_gamma, config.bop_threshold, **options)
    else:
        optimizer = Adam(config.lr_start, weight_decay=config.weight_decay or None, **options)
    # TensorFlow traces the first step twice if that step creates variables, so all are created here.
    optimizer.build(model.trainable_variables)
    accuracy = keras.metrics.CategoricalAccuracy("accuracy")
    model.compile(optimizer, losses[config.loss_mode], metrics=[accuracy])


@standard_settings()
def fit(model, run, data_set, tensorboard=False, callbacks=(), opening="", team=ALONE):
    """Train a compiled network from the step that its optimizer has reached to the end.

    Args:
        model: keras.Model, as built and compiled or as loaded from the run's last checkpoint.
        run: Run, whose log and checkpoints are kept.
        data_set: DataSet.
        tensorboard: write events to the run directory.
        callbacks: more keras.callbacks.Callbacks, which must not set the learning rate. On JAX, with an accelerator, a
            "batch" may be many steps.
        opening: str, lines to print before the first epoch.
        team: Team, the processes and devices that train together; the model was made within its scope.

    Raises:
        ConfigError: a callback sets the learning rate.
        Interrupted: SIGINT or SIGTERM came, perhaps in the last step of all; every finished step is saved.
        RunError: loss, validation loss or weights are no longer finite.
    """
    config = run.training
    steps = config.steps(len(data_set.train))
    epoch, first_step = divmod(int(model.optimizer.iterations), steps)
    validation = (data_set.validation.images, one_hot(data_set.validation.labels, run.config.inputs.classes))
    schedule = RateSchedule(config, steps)

    def batches(epoch, first_step):
        return Batches(
            data_set.train,
            config.batch_size,
            config.seed,
            epoch,
            first_step,
            config.augment,
            run.config.inputs.classes,
            config.label_smoothing,
            team.share(config.batch_size),
            steps,
        )

    feed = _feed(model, batches(epoch, first_step), schedule, config.deterministic, team)
    if team.distribution is not None:
        validation = jax_epoch.install_evaluation(model, *validation, EVALUATION_BATCH, team)
    with StopRequests(team.largest if team.count > 1 else None) as requests:
        journal = Journal(run, steps, epoch, first_step, requests, opening, team)
        hooks = [schedule, *_observers(journal, data_set, tensorboard, team), *watched(callbacks), journal]
        while epoch < config.epochs:
            last = epoch + 1 if first_step else config.epochs
            model.fit(
                feed(batches(epoch, first_step)),
                validation_data=validation,
                validation_batch_size=EVALUATION_BATCH if team.distribution is None else None,
                epochs=last,
                initial_epoch=epoch,
                callbacks=hooks,
                shuffle=False,
                verbose=0,
            )
            epoch, first_step = last, 0
        requests.look()
    if requests.signal is not None:  # in the last step, too: what would follow the training must not begin
        raise Interrupted(run, requests.signal)


def _feed(model, batches, schedule, deterministic, team):
    """Function from `Batches` to what `model.fit` takes: them, or chunks of many steps on JAX.

    The targets of all sequences of a text would not fit into the memory of a device.
    """
    if jax_epoch is None or not jax_epoch.worthwhile() or batches.split.unit == "sequence":
        return lambda batches: batches
    return jax_epoch.install(model, batches.split, batches.targets, schedule.rate, deterministic, team)


def _observers(journal, data_set, tensorboard, team):
    """The callbacks that only observe, if the settings ask for them."""
    if journal.run.training.log_geometry:
        yield RunGeometry(journal, data_set.validation.images, tensorboard and team.writes, team)
    if tensorboard and team.writes:
        yield keras.callbacks.TensorBoard(journal.run.folder / "tensorboard")


class RunGeometry(GeometryLogger):
    """A run's geometry.csv, which continues exactly, even in the middle of an epoch.

    It comes before the journal, so that no checkpoint is ahead of the file.

    Args:
        journal: Journal, which has the kernels at the start of an interrupted epoch.
        images: uint8 array of validation images; the first `GEOMETRY_IMAGES` are used.
        tensorboard: write events to the run directory.
        team: Team.
    """

    def __init__(self, journal, images, tensorboard, team=ALONE):
        folder = journal.run.folder
        super().__init__(
            images[:GEOMETRY_IMAGES],
            folder / "geometry.csv",
            journal.run.training.log_geometry,
            folder / "tensorboard" / "geometry" if tensorboard else None,
        )
        self.journal, self.team, self.copy = journal, team, None

    def starts_anew(self, epoch):
        return int(self.model.optimizer.iterations) == 0

    def kernels_at_start(self):
        return self.journal.kernels

    def _log(self, epoch, flip_ratios):
        with self.journal.announced("measuring the geometry"):
            super()._log(epoch, flip_ratios)

    def _write(self):
        if self.team.writes:
            super()._write()

    def measured(self):
        """Return the network to measure: every process measures a copy of its own, so that none waits for others."""
        if self.team.distribution is None:
            return self.model
        with self.team.outside():
            self.copy = self.copy or altered_copy(self.model, lambda layer: {})
            self.copy.set_weights(self.model.get_weights())
            return self.copy
