"""Does a formula foretell the gain of trained kernels, for any optimizer?

Training changes a kernel from w_0 to w = w_0 + D. Let S be the covariance of the layer's inputs, with eigenvalues l.
Three assumptions give the gain g of w: the start w_0 is random, so its gain is 1; the change D is not correlated with
it; and the energy of D along an eigenvector grows as a power p of the eigenvalue. Then

    g = (1 + c g_D) / (1 + c),    c = |D|^2 / |w_0|^2,    g_D = (sum l^(1 + p) / sum l^p) / (sum l / d).

The optimizer matters only by c. The experiment trains the narrow network with four optimizers, and the binary network
with Adam. After the first epoch it measures S, and p as the slope of log energy against log eigenvalue. From these and
from c of the last epoch it foretells g of the last epoch.

The formula is refuted for a kind of layer if a quarter of its predictions or more are wrong by a factor of 1.5 or more.
To find out which assumption fails, a second prediction does without the power law: g_D is the gain that the change has
after the first epoch.
The claim that optimizers differ by c alone is refuted if the mean slope p of one of them, over the hidden
convolutions, differs from that of another by 0.2 or more.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import linregress

from bnn import backend
from bnn.console import run_program
from experiments import gain, runner

SEEDS = 3
TRAINING_IMAGES = 20_000
BATCH = 50
FACTOR = 1.5
LARGEST_SHARE = 0.25
PREDICTIONS = {"gain_foretold": "with the power law", "gain_mixed": "with the gain of the early change"}
# Optimizers of Keras with usual rates for batches of 50.
OPTIMIZERS = {
    "sgd": ("SGD", {"learning_rate": 0.02, "momentum": 0.9}),
    "adam": ("Adam", {"learning_rate": 1e-3}),
    "rmsprop": ("RMSprop", {"learning_rate": 1e-3}),
    "lion": ("Lion", {"learning_rate": 1e-4}),
}
ARMS = {f"continuous, {name}": ({"continuous": True}, name) for name in OPTIMIZERS} | {
    "binary, adam": ({}, "adam")
}


def mixed(of_change, ratio):
    """The gain of kernels whose start has a gain of 1, from the gain of their change; `ratio` as for `foretold`."""
    return (1 + ratio * of_change) / (1 + ratio)


def foretold(values, power, ratio):
    """Compute the gain of kernels whose change by training follows a power law.

    Args:
        values: (d,) array, the eigenvalues of the covariance of the inputs.
        power: float, p.
        ratio: float, the energy of the change over that of the start.

    Returns:
        Float.
    """
    kept = values[values > 0]
    of_change = np.sum(kept ** (1 + power)) / np.sum(kept**power) * len(values) / np.sum(values)
    return float(mixed(of_change, ratio))


def measure(experiment):
    """Train every network and compare; return (rows, function that draws them)."""
    rows = experiment.of_each(ARMS, SEEDS, lambda arm, seed: trained(experiment, arm, seed))
    tell(rows)
    return rows, lambda: draw(rows)


def trained(experiment, arm, seed):
    """Train one network; return one row per layer."""
    import keras

    from bnn.settings.config import resolve
    from experiments.gain_log import latent_kernels

    changes, optimizer = ARMS[arm]
    settings = {
        key: experiment.settings[key] for key in ("conv", "max_pool", "fc") if key in experiment.settings
    }
    images, labels = experiment.data.train.images, experiment.data.train.labels
    count = 500 if experiment.quick else TRAINING_IMAGES
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = resolve(settings | changes | {"data_set": experiment.settings["data_set"]}).build(
        backend.resolve_precision("auto")
    )
    name, options = OPTIMIZERS[optimizer]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(getattr(keras.optimizers, name)(**options), loss, metrics=["accuracy"])
    start = latent_kernels(model)
    model.fit(images[:count], labels[:count], BATCH, 1, verbose=2)
    early = spectra(experiment, model, start)
    model.fit(
        images[:count], labels[:count], BATCH, experiment.settings["epochs"], initial_epoch=1, verbose=2
    )
    late = spectra(experiment, model, start)
    rows = []
    for layer, before in early.items():
        after = late[layer]
        rows.append(
            {"layer": layer, "d": len(before.values), "power_early": before.power, "power": after.power}
            | {
                "ratio": after.ratio,
                "gain_change_early": before.gain_change,
                "gain_change": after.gain_change,
            }
            | {"gain_foretold": foretold(before.values, before.power, after.ratio)}
            | {"gain_mixed": mixed(before.gain_change, after.ratio), "gain": after.gain}
        )
    return rows


class Spectrum(NamedTuple):
    """What `spectra` measures of a layer.

    Attributes:
        values: (d,) array, the eigenvalues of the covariance of the inputs.
        power: float, the slope p.
        ratio: float, the energy of the change over that of the start, c.
        gain: float, of the kernel.
        gain_change: float, of the change, g_D.
    """

    values: np.ndarray
    power: float
    ratio: float
    gain: float
    gain_change: float


def spectra(experiment, model, start):
    """Measure each layer; return a dict from its name to a Spectrum."""
    from bnn.analysis.keras import kernels
    from bnn.geometry.named_quantizers import SIGN
    from bnn.models import in_float32

    model = in_float32(model)
    found = kernels.find(model, SIGN)
    images = experiment.data.train.images[: 100 if experiment.quick else gain.MOMENT_IMAGES]
    measured = {}
    for product, covariance in zip(found, gain.input_covariances(model, found, images), strict=True):
        latent, before = (k[:, 0].astype(np.float64) for k in (product.kernels.latent, start[product.name]))
        change = latent - before
        values, vectors = np.linalg.eigh(covariance)
        values = np.maximum(values, 0)
        shares = np.mean((vectors.T @ change) ** 2 / np.sum(change**2, axis=0), axis=1)
        kept = values > gain.SMALLEST * values.max()
        power = linregress(np.log(values[kept]), np.log(shares[kept])).slope
        ratio = np.sum(change**2) / np.sum(before**2)
        gains = (float(gain.gain(covariance, kernel)) for kernel in (latent, change))
        measured[product.name] = Spectrum(values, float(power), float(ratio), *gains)
    return measured


def kind(layer, rows):
    """The kind of a layer: first, hidden convolution, hidden dense or last."""
    names = list(dict.fromkeys(row["layer"] for row in rows))
    if layer in (names[0], names[-1]):
        return "first layer" if layer == names[0] else "last layer"
    return "hidden convolutions" if layer.startswith("conv") else "hidden dense layers"


def tell(rows):
    """Print the verdict on both claims."""
    for group in dict.fromkeys(kind(row["layer"], rows) for row in rows):
        mine = [row for row in rows if kind(row["layer"], rows) == group]
        for key, name in PREDICTIONS.items():
            factors = np.exp(np.abs([np.log(row[key] / row["gain"]) for row in mine]))
            wrong = float(np.mean(factors >= FACTOR))
            verdict = "refuted" if wrong >= LARGEST_SHARE else "holds"
            print(f"{group}, {name}: {verdict}; median factor {np.median(factors):.2f}, {wrong:.0%} wrong")
    for arm in ARMS:
        powers = [
            row["power"]
            for row in rows
            if row["network"] == arm and kind(row["layer"], rows) == "hidden convolutions"
        ]
        if powers:
            print(f"{arm}: p of the hidden convolutions {np.mean(powers):.2f} ± {np.std(powers):.2f}")


def draw(rows):
    """Draw the measured gain against the foretold one, and the slopes p of each optimizer."""
    from bnn import plots

    figure, (*axes, right) = plots.figure(3, width=12, height=4)
    groups = list(dict.fromkeys(kind(row["layer"], rows) for row in rows))
    for ax, key in zip(axes, PREDICTIONS, strict=True):
        for group, marker in zip(groups, "s^oD", strict=False):
            mine = [row for row in rows if kind(row["layer"], rows) == group]
            ax.plot([row[key] for row in mine], [row["gain"] for row in mine], marker, label=group)
        gains = [row[name] for row in rows for name in ("gain", key)]
        ends = np.array([min(gains) / FACTOR, max(gains) * FACTOR])
        ax.fill_between(ends, ends / FACTOR, ends * FACTOR, color=plots.GRAY, alpha=0.2, zorder=0)
        ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, title=PREDICTIONS[key])
        ax.set(xlabel="gain foretold", ylabel="gain measured")
    plots.legend_below(figure, axes[0], columns=4)
    names = list(dict.fromkeys(row["layer"] for row in rows))
    for arm, marker in zip(ARMS, "oD^sv", strict=True):
        means = [
            np.mean([row["power"] for row in rows if (row["network"], row["layer"]) == (arm, name)])
            for name in names
        ]
        right.plot(range(len(names)), means, marker, label=arm)
    right.set_xticks(range(len(names)), names, rotation=60)
    right.set(ylabel="slope p of the change")
    right.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("gain_formula", __doc__, 4, argv), measure)


if __name__ == "__main__":
    run_program("gain_formula", main)
