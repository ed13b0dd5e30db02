"""Do recurrent kernels have the geometry of others, and do their rounding errors accumulate over the time steps?

An LSTM and a GRU of 128 units read digits row by row. Each is trained with real, binary and ternary kernels, and with
binary kernels while the state that the recurrent kernel multiplies stays real. Each of them has its own learning rate,
chosen by the validation accuracy with the first seed.

After training, both kernels are replaced: latent kernels take the place of quantized ones, and signs that of the real
kernels. Each unit's products are fitted to those that they replace, by a factor and a bias. r within units of the
recurrent products is then measured at each time step in two ways: "forced", with the states of the trained network fed
into the replaced kernel, and "free", where the network with replaced kernels follows its own states. Only the
difference of the two is accumulation. Expectations, and what would refute each:

- Training aligns both kernels with what they multiply. Refuted if the mean gain of either, in any of the networks, is
  less than 2 after training.
- Angle and gain give r. Refuted if the mean r within units of either kernel, in any of the networks, differs from that
  of the two numbers by more than 0.03.
- Errors accumulate little, since the gates forget. Refuted if at the last time step the forced r is more than 0.1
  larger than the free one in any of the networks.
- The binary kernels cost more accuracy than the binary state does. Refuted if the state costs as much or more in either
  cell.
- Ternary is better than binary. Refuted if its test accuracy is not clearly higher in both cells: by more than twice
  the standard deviation of the differences over the seeds.

By default the networks learn from the first 10,000 images of MNIST only, so that all 40 trainings take less than an
hour of one core.
"""

import dataclasses
import itertools

import numpy as np

from bnn.console import run_program
from bnn.geometry.gain import TOLERANCE
from experiments import runner

SEEDS = 3
TRAINING_IMAGES = 10_000
VALIDATION = 2000
CELLS = ("lstm", "gru")
RATES = (3e-3, 1e-2, 3e-2)
FALL = 0.01  # ratio of the learning rates at the end and at the start
COMMON = {
    "batch_size": 100,
    "schedule": "cosine",
    "loss_mode": "softmax",
    "precision": "float32",
    "log_geometry": 1,
}
STATE = "binary, real state"
ARMS = {
    "real": {"continuous": True},
    "binary": {},
    "ternary": {"levels": 3},
    STATE: {"real_state": True},
}
STATISTICS = ("d", "angle_mean_deg", "gain", "r_within", "r_two_numbers", "residual_gain", "kappa")
LOGGED = ("angle_mean_deg", "gain", "r_within")
LEAST_GAIN, MOST_ACCUMULATED, CLEAR = 2, 0.1, 2


def measure(experiment):
    """Train every network and measure; return (rows, function that draws them)."""
    own = {"units": (8,)} if experiment.quick else {}
    experiment = dataclasses.replace(experiment, settings=experiment.settings | COMMON | own)
    rows, steps, history = [], [], []
    rates, tried = chosen(experiment)
    for seed in experiment.seeds(SEEDS):
        for (cell, arm), rate in rates.items():
            labels = {"cell": cell, "network": arm, "seed": seed}
            run = trained(experiment, cell, arm, rate, seed)
            found, by_step = measured(experiment, run)
            rows += [labels | {"learning_rate": rate, **row} for row in found]
            steps += [labels | row for row in by_step]
            history += [labels | row for row in by_epoch(run)]
    experiment.write_table(tried, "rates")
    experiment.write_table(steps, "steps")
    experiment.write_table(history, "history")
    tell(rows, steps)
    return rows, lambda: draw(rows, steps, history)


def chosen(experiment):
    """Train each network once with each rate; return (dict from (cell, network) to the best rate, rows of all)."""
    best, rows = {}, []
    seed = experiment.seeds(1)[0]
    for cell, arm in itertools.product(CELLS, ARMS):
        rates = RATES[1:2] if experiment.quick else RATES
        best[cell, arm], found = runner.choose_rate(
            rates, lambda rate, cell=cell, arm=arm: trained(experiment, cell, arm, rate, seed)
        )
        labels = {"cell": cell, "network": arm, "seed": seed}
        rows += [labels | {"learning_rate": k, "validation_accuracy": v} for k, v in found.items()]
        print(f"{cell}, {arm}: learning rate {best[cell, arm]:g}")
    return best, rows


def trained(experiment, cell, arm, rate, seed):
    """Train one network, and return its run."""
    name = runner.run_name(f"{cell} {arm} rate{rate:g} {experiment.training_images}images", seed)
    settings = ARMS[arm] | {"lr_start": rate, "lr_end": rate * FALL, "seed": seed}
    return experiment.trained(name, network=cell, **settings)


def measured(experiment, run):
    """Measure a trained network; return (one row per kernel, one row per time step)."""
    from bnn.models import accuracy

    model, data = run.load_model("last"), experiment.data
    count = 200 if experiment.quick else runner.REFIT_IMAGES
    copy = replaced(model, sequences(model, data.train.images[:count]))
    experiment.refit(copy)
    inputs = sequences(model, data.test.images[: experiment.analyzed])
    common = {
        "validation_accuracy": accuracy(model, data.validation, progress=runner.testing),
        "test_accuracy": accuracy(model, data.test, progress=runner.testing),
        "replaced_accuracy": accuracy(copy, data.test, progress=runner.testing),
        "r_state": correlation_of_state(recurrent(model).cell, inputs),
    }
    rows, quantizer = [], "sign" if run.config.quantization.continuous else None
    for layer in (layer for layer in experiment.layers(model, quantizer=quantizer) if "/" in layer.name):
        found = layer.statistics()
        kernel = {"kernel": layer.name.partition("/")[2]}
        rows.append(common | kernel | {key: found[key] for key in STATISTICS})
    return rows, along_time(recurrent(model).cell, recurrent(copy).cell, inputs)


def recurrent(model):
    """Return the recurrent layer of a network."""
    from bnn.layers import QuantGRU, QuantLSTM

    return next(layer for layer in model.layers if isinstance(layer, QuantLSTM | QuantGRU))


def sequences(model, images):
    """Return what the recurrent layer gets, (n, steps, features)."""
    import keras

    from bnn.models import evaluation

    return evaluation.scores(keras.Model(model.inputs, recurrent(model).input), images)


def stepped(cell, inputs):
    """Step through sequences.

    Args:
        cell: QuantCell.
        inputs: (n, steps, features) array.

    Returns:
        (states, products): (n, steps, units) array of the states before each step, as they are kept, and
        (n, steps, gates x units) array of their products with the recurrent kernel.
    """
    from keras import ops

    kernel, recurrent_kernel = cell.quantized_kernels()
    sums, states = cell.of_inputs(inputs, kernel), cell.get_initial_state(len(inputs))
    before, products = [], []
    for step in range(inputs.shape[1]):
        before.append(ops.convert_to_numpy(states[0]))
        products.append(ops.convert_to_numpy(cell.of_state(states[0], recurrent_kernel)))
        states = cell.step(sums[:, step], states, recurrent_kernel)[1]
    return np.stack(before, axis=1), np.stack(products, axis=1)


def replaced(model, inputs):
    """Copy a network with its latent kernels in place of the quantized ones, or with signs in place of real kernels.

    Each unit's products get the factor and the bias that fit them best to the products before, at all time steps of
    the given sequences and with the states of the network before.

    Args:
        model: keras.Model with one recurrent layer.
        inputs: (n, steps, features) array, what that layer gets.

    Returns:
        keras.Model. Call `refit_batch_norm` before you use it.
    """
    from bnn.models import altered_copy

    before = recurrent(model)
    none = {"kernel_quantizer": None, "recurrent_kernel_quantizer": None}
    copy = altered_copy(model, lambda layer: none if layer.name == before.name else {})
    old, new = before.cell, recurrent(copy).cell
    states, _ = stepped(old, inputs)
    multiplied = np.asarray(old.multiplied(states))
    biases = []
    for name, values, quantized in zip(
        ("kernel", "recurrent_kernel"), (inputs, multiplied), old.quantized_kernels(), strict=True
    ):
        latent = np.asarray(getattr(old, name))
        real = getattr(old, f"{name}_quantizer") is None
        other = np.where(latent < 0, -1, 1).astype(np.float32) if real else latent
        scale = 1 / np.sqrt(len(latent)) if old.scaled else 1
        products = [
            (values @ kernel * scale).reshape(-1, kernel.shape[1])
            for kernel in (np.asarray(quantized), other)
        ]
        factor, bias = fitted(*products)
        getattr(new, name).assign(other * factor)
        biases.append(bias)
    total = np.stack(biases) if old.bias_rows == 2 else sum(biases)
    new.bias.assign(np.asarray(old.bias) + total)
    return copy


def fitted(wanted, products):
    """Return the factors and the biases of each unit, (units,) arrays, that fit (m, units) products to wanted ones."""
    means = products.mean(axis=0), wanted.mean(axis=0)
    centered = products - means[0]
    variance = np.mean(centered**2, axis=0)
    covariance = np.mean(centered * (wanted - means[1]), axis=0)
    factor = np.where(variance > 0, covariance / np.where(variance > 0, variance, 1), 1)
    return factor, means[1] - factor * means[0]


def along_time(cell, other, inputs):
    """Compare the recurrent products of two cells at each time step.

    Returns:
        List of dicts, one per time step from the first at which any unit's products vary over the sequences: "step"
        (from 1), and the means over the units of r, "r_forced" where the other cell multiplies the states of the first,
        and "r_free" where it follows its own.
    """
    states, products = stepped(cell, inputs)
    _, free = stepped(other, inputs)
    _, kernel = other.quantized_kernels()
    forced = np.asarray(other.of_state(states, kernel))
    rows = []
    for step in range(inputs.shape[1]):
        pairs = {"r_forced": forced[:, step], "r_free": free[:, step]}
        row = {key: within_units(products[:, step], values) for key, values in pairs.items()}
        if np.isfinite(row["r_forced"]):
            rows.append({"step": step + 1, **row})
    return rows


def correlation_of_state(cell, inputs):
    """Return r within units of the products of the quantized state and of the real one; None if the state is real."""
    if cell.state_quantizer is None:
        return None
    states, products = stepped(cell, inputs)
    kernel = np.asarray(cell.quantized_kernels()[1])
    return within_units(*(x.reshape(-1, kernel.shape[1]) for x in (products, states @ kernel)))


def within_units(ours, theirs):
    """Return the mean over the units of the correlation of (m, units) arrays; NaN if no unit varies."""
    from bnn.analysis.core.statistics import defined_mean
    from bnn.geometry import UnitMoments

    return defined_mean(UnitMoments(ours.shape[1]).update(ours, theirs).r)


def by_epoch(run):
    """Return the log of both kernels, one row per epoch and kernel; of real kernels only the gain is known."""
    from bnn.analysis.keras import geometry_log

    real = run.config.quantization.continuous
    rows = []
    for row in geometry_log.read(run.folder):
        if "/" in row["layer"]:
            values = {key: None if real and key != "gain" else row[key] for key in LOGGED}
            rows.append({"epoch": row["epoch"], "kernel": row["layer"].partition("/")[2], **values})
    return rows


def tell(rows, steps):
    """Print the accuracy of every network, and the verdict on every expectation."""
    for cell in CELLS:
        for arm in ARMS:
            shown = runner.with_spread(*over_seeds(accuracies(rows, cell, arm)), 4)
            print(f"{cell}, {arm}: test accuracy {shown}")
    kernels = {(row["cell"], row["network"], row["kernel"]) for row in rows}
    gains = {key: kernel_mean(rows, key, lambda row: row["gain"]) for key in kernels}
    errors = {
        key: abs(kernel_mean(rows, key, lambda row: row["r_within"] - row["r_two_numbers"]))
        for key in kernels
    }
    lost = {(cell, arm): accumulated(steps, cell, arm) for cell in CELLS for arm in ARMS}
    least, worst, most = min(gains, key=gains.get), max(errors, key=errors.get), max(lost, key=lost.get)
    runner.verdict(
        "both kernels are aligned", gains[least] >= LEAST_GAIN, f"least gain {gains[least]:.2f}, {least}"
    )
    runner.verdict(
        "angle and gain give r", errors[worst] <= TOLERANCE, f"largest error {errors[worst]:.3f}, {worst}"
    )
    runner.verdict(
        "errors accumulate little", lost[most] <= MOST_ACCUMULATED, f"at most {lost[most]:.3f}, {most}"
    )
    for cell in CELLS:
        real, binary, ternary, state = (accuracies(rows, cell, arm) for arm in ARMS)
        costs = [100 * over_seeds(a - b)[0] for a, b in ((real, state), (state, binary))]
        text = "{}: kernels {:.2f} points, state {:.2f}".format(cell, *costs)
        runner.verdict("kernels cost more than the state", costs[0] > costs[1], text)
        mean, spread = over_seeds(100 * (ternary - binary))
        clear = mean > CLEAR * np.nan_to_num(spread)
        runner.verdict("ternary is better", clear, f"{cell}: {runner.with_spread(mean, spread, 2)} points")


def accuracies(rows, cell, arm):
    """Return the test accuracies of a network, (seeds,)."""
    found = {
        row["seed"]: row["test_accuracy"] for row in rows if (row["cell"], row["network"]) == (cell, arm)
    }
    return np.array([*found.values()])


def over_seeds(values):
    """Return the mean and the standard deviation of values over the seeds."""
    return float(np.mean(values)), runner.spread(values)


def kernel_mean(rows, key, value):
    """Return the mean over the seeds of a value of the rows of one kernel, (cell, network, kernel)."""
    return float(np.mean([value(row) for row in rows if (row["cell"], row["network"], row["kernel"]) == key]))


def accumulated(steps, cell, arm):
    """Return the mean over the seeds of the forced r less the free one, at the last time step."""
    mine = [row for row in steps if (row["cell"], row["network"]) == (cell, arm)]
    last = max(row["step"] for row in mine)
    return float(np.mean([row["r_forced"] - row["r_free"] for row in mine if row["step"] == last]))


def draw(rows, steps, history):
    """Draw accuracies, the gain of both kernels by epoch, and r by time step for each cell."""
    from bnn import plots

    figure, ((left, right), *below) = plots.figure(2, 2, height=4)
    colors = dict(zip(ARMS, (plots.BLACK, plots.BLUE, plots.GREEN, plots.ORANGE), strict=True))
    places = [(cell, arm) for cell in CELLS for arm in ARMS]
    for place, (cell, arm) in enumerate(places):
        values = accuracies(rows, cell, arm)
        left.plot(100 * values, [place] * len(values), "o", color=colors[arm])
    left.set_yticks(range(len(places)), [f"{cell.upper()}, {arm}" for cell, arm in places])
    left.invert_yaxis()
    left.set(xlabel="test accuracy (%)")
    for arm, color in colors.items():
        for kernel, form in (("kernel", "--"), ("recurrent_kernel", "-")):
            mine = [row for row in history if (row["network"], row["kernel"]) == (arm, kernel)]
            right.plot(*means(mine, "epoch", "gain"), form, color=color)
    right.set(yscale="log", xlabel="epoch", ylabel="gain", title="kernels: input (dashed), recurrent")
    right.yaxis.set_major_formatter("{x:g}")
    right.yaxis.set_minor_formatter("{x:g}")
    for ax, cell in zip(below[0], CELLS, strict=True):
        for arm, color in colors.items():
            mine = [row for row in steps if (row["cell"], row["network"]) == (cell, arm)]
            ax.plot(*means(mine, "step", "r_forced"), "--", color=color)
            ax.plot(*means(mine, "step", "r_free"), "-", color=color, label=arm)
        ax.set(
            xlabel="time step",
            ylabel="r within units",
            title=f"{cell.upper()}: forced (dashed), free (solid)",
        )
    plots.legend_below(figure, below[0][0], columns=4)
    return figure


def means(rows, along, key):
    """Return the sorted values of a column, and the means of another one for each of them."""
    places = sorted({row[along] for row in rows})
    return places, [np.mean([row[key] for row in rows if row[along] == place]) for place in places]


def main(argv=None):
    """Run the experiment with the options of the command line."""
    options = {"own_networks": True, "data_set": "MNIST"}
    sizes = {"training_images": TRAINING_IMAGES, "validation": VALIDATION}
    return runner.perform(runner.begin("recurrent", __doc__, 10, argv, **options, **sizes), measure)


if __name__ == "__main__":
    run_program("recurrent", main)
