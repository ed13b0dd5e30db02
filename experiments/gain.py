"""Where does the gain come from: why are trained kernels aligned with their inputs?

The experiment trains the narrow network, binary and continuous, with the same epochs and seeds. It measures the gain g
of every layer during the training. It tests five claims, each with a result that would refute it:

1. Training creates the gain: g is 1 at the start and grows with the epochs. Refuted if g of the initial kernels, or g
   of the change by training, is as large as g of the trained kernels.
2. Binary training gives a larger gain than continuous training of the same network, about twice as large in conv_2 to
   conv_6. Refuted if the ratio of the two, over seeds, includes 1.
3. Latent kernels have more energy along eigenvectors with large eigenvalues, but the rounding error e does not: the
   slope of log energy against log eigenvalue is clearly positive for w_c and about 0 for e. Refuted if the slope for e
   is not about 0.
4. The gain is an alignment of individual weights with individual inputs: a permutation removes it. Refuted if g remains
   after a permutation of channels, taps or all entries.
5. The gain predicts the cost of binarizing a layer of the continuous network: the rank correlation of g with the lost
   accuracy is negative. Refuted if it is not.
"""

import numpy as np
from scipy.stats import linregress, spearmanr

from bnn.console import run_program
from experiments import runner

SEEDS = 3
LOGGED_IMAGES = 500
MOMENT_IMAGES = 5000  # training images for the covariance of each layer's inputs
PLACES = 4  # positions per image
SMALLEST = 1e-3  # eigenvalues below this fraction of the largest are left out of slopes
BINS = 12
NETWORKS = {"binary": {}, "continuous": {"continuous": True}}
SHOWN = "conv_4"  # the layer whose spectrum the figure shows, if the network has it


def measure(experiment):
    """Train all networks and measure; return (rows, function that draws them)."""
    rows, history, spectra = [], [], []
    for seed in experiment.seeds(SEEDS):
        for network, changes in NETWORKS.items():
            labels = {"network": network, "seed": seed}
            run, log = trained(experiment, f"{network}-seed{seed}", seed=seed, **changes)
            history += [labels | row for row in log]
            layers, energies = examined(experiment, run, network)
            last = {row["layer"]: row for row in log if row["epoch"] == log[-1]["epoch"]}
            rows += [labels | last[row["layer"]] | row for row in layers]
            spectra += [labels | row for row in energies]
    experiment.write_table(history, "history")
    experiment.write_table(spectra, "spectra")
    tell(rows)
    return rows, lambda: draw(rows, history, spectra)


def trained(experiment, name, **changes):
    """Train a network, or load it; return (run, rows of its log of the gain)."""
    from experiments import gain_log

    images = experiment.data.validation.images[:LOGGED_IMAGES]
    log = gain_log.GainLog(experiment.runs / name, images)
    run = experiment.trained(name, callbacks=[log], **changes)
    return run, gain_log.read(run.folder)


def examined(experiment, run, network):
    """Measure the kernels of a trained network along their inputs; return (rows of layers, rows of spectra)."""
    from bnn.analysis.keras import kernels
    from bnn.geometry.named_quantizers import SIGN

    model = run.load_model("last")
    found = kernels.find(model, SIGN)
    count = 100 if experiment.quick else MOMENT_IMAGES
    covariances = input_covariances(model, found, experiment.data.train.images[:count])
    costs = binarization_costs(experiment, model) if network == "continuous" else {}
    rows, spectra = [], []
    for product, covariance in zip(found, covariances, strict=True):
        energies = energy(covariance, *(kernel[:, 0] for kernel in product.kernels))
        rows.append(
            {"layer": product.name, "d": len(covariance)}
            | slopes(energies)
            | permuted_gains(covariance, product)
            | {"accuracy_lost": costs.get(product.name)}
        )
        spectra += [{"layer": product.name} | row for row in binned(energies)]
    return rows, spectra


def input_covariances(model, found, images):
    """Return the (d, d) input covariance of each kernel, from `PLACES` random positions per image."""
    from bnn.analysis.keras import capture
    from bnn.geometry import SecondMoments

    rng = np.random.default_rng(0)
    moments = [SecondMoments(len(product.kernels.latent)) for product in found]
    for _, batch in capture.stream(model, found, images):
        for product, calls, moment in zip(found, batch, moments, strict=True):
            ((inputs, *_),) = calls
            positions = int(np.prod(product.linear.positions(inputs.shape)))
            samples = np.repeat(np.arange(len(inputs)), min(PLACES, positions))
            places = np.stack([samples, rng.integers(positions, size=len(samples))], axis=1)
            moment.update(product.linear.patches(inputs, places)[0])
    return [moment.covariance for moment in moments]


def energy(covariance, quantized, latent):
    """Return (eigenvalues over their mean, energies of w_c, energies of e); random kernels have energy 1 on average."""
    values, vectors = np.linalg.eigh(covariance)
    alpha = np.sum(quantized * latent, axis=0) / np.sum(latent**2, axis=0)
    shares = [
        np.mean((vectors.T @ kernel) ** 2 / np.sum(kernel**2, axis=0), axis=1) * len(values)
        for kernel in (latent, quantized - alpha * latent)
    ]
    return values / values.mean(), *shares


def slopes(energies):
    """Fit the slopes of log energy against log eigenvalue for w_c and e."""
    values, *shares = energies
    kept = values > SMALLEST * values.max()
    names = ("latent_slope", "residual_slope")
    return {
        name: float(linregress(np.log(values[kept]), np.log(share[kept])).slope)
        for name, share in zip(names, shares, strict=True)
    }


def binned(energies):
    """Average the energies in bins of the eigenvalue; return a list of dicts."""
    values, latent, residual = energies
    positive = values > SMALLEST * values.max()
    edges = np.geomspace(values[positive].min(), values.max() * 1.001, BINS + 1)
    places = np.digitize(values, edges)
    return [
        {
            "eigenvalue": float(values[places == i].mean()),
            "latent_energy": float(latent[places == i].mean()),
            "residual_energy": float(residual[places == i].mean()),
        }
        for i in range(1, BINS + 1)
        if np.any(places == i)
    ]


def permuted_gains(covariance, product, repeats=5):
    """Compute the mean gain after a permutation of a kernel's channels, its taps, or all its entries."""
    latent, rng = product.kernels.latent[:, 0].astype(np.float64), np.random.default_rng(0)
    taps = int(np.prod(getattr(product.linear, "kernel_size", (1,))))
    form = latent.reshape(taps, -1, latent.shape[1])
    ways = {
        "gain_channels_permuted": lambda: form[:, rng.permutation(form.shape[1])],
        "gain_taps_permuted": lambda: form[rng.permutation(taps)],
        "gain_all_permuted": lambda: latent[rng.permutation(len(latent))],
    }
    return {
        name: float(np.mean([gain(covariance, way().reshape(latent.shape)) for _ in range(repeats)]))
        for name, way in ways.items()
    } | {"gain_of_covariance": float(gain(covariance, latent))}


def gain(covariance, latent):
    """Compute the mean gain of (d, units) kernels for inputs with a given covariance."""
    caught = np.sum(latent * (covariance @ latent), axis=0) / np.sum(latent**2, axis=0)
    return np.mean(caught) * len(latent) / np.trace(covariance)


def binarization_costs(experiment, model):
    """Measure the accuracy that the continuous network loses by binarizing each layer, with refitted batch norm."""
    from bnn.analysis.keras import ablation
    from bnn.models import accuracy

    def refitted_accuracy(*layers):
        copy = ablation.binarized(model, layers)
        experiment.refit(copy)
        return accuracy(copy, experiment.data.test, progress=runner.testing)

    whole = refitted_accuracy()
    names = [layer.name for layer in model.layers if hasattr(layer, "kernel_quantizer")]
    return {name: whole - refitted_accuracy(name) for name in names}


def tell(rows):
    """Print the results for the claims 2 and 5."""
    for layer in dict.fromkeys(row["layer"] for row in rows):
        binary, twin = (
            np.array([row["gain"] for row in rows if (row["network"], row["layer"]) == (network, layer)])
            for network in NETWORKS
        )
        ratio = binary / twin
        print(
            f"{layer:>8}: gain {binary.mean():6.2f} binary, {twin.mean():6.2f} continuous, "
            f"ratio {runner.with_spread(ratio.mean(), runner.spread(ratio), 2)}"
        )
    costs = [(row["gain"], row["accuracy_lost"]) for row in rows if row["accuracy_lost"] is not None]
    rho = spearmanr(*zip(*costs, strict=True)).statistic
    print(f"rank correlation of gain with accuracy lost, over {len(costs)} layers: {rho:.2f}")


def draw(rows, history, spectra):
    """Draw the gain over the epochs, the energy along the eigenvectors, and the gain after permutations."""
    from bnn import plots

    figure, (left, middle, right) = plots.figure(3, height=4)
    names = list(dict.fromkeys(row["layer"] for row in rows))
    for name, color in zip(names, plots.sequence(len(names)), strict=True):
        for network, line in zip(NETWORKS, ("-", ":"), strict=True):
            epochs, gains = over_seeds(history, network, name)
            label = name if network == "binary" else None
            left.plot(epochs, gains, line, color=color, label=label)
    left.set(xlabel="epoch (dotted: continuous network)", ylabel="gain g", yscale="log")
    plots.legend_below(figure, left, columns=min(5, len(names)))
    shown = SHOWN if SHOWN in names else names[-1]
    mine = [row for row in spectra if (row["network"], row["layer"]) == ("binary", shown)]
    for key, marker, label in (("latent_energy", "o", "latent kernel"), ("residual_energy", "D", "residual")):
        middle.plot([row["eigenvalue"] for row in mine], [row[key] for row in mine], marker, label=label)
    middle.axhline(1, color=plots.GRAY, linestyle=":", zorder=0)
    middle.set(xscale="log", yscale="log", xlabel="eigenvalue over mean", ylabel=f"energy, {shown}")
    middle.legend()
    ways = {
        "gain_of_covariance": "as trained",
        "gain_channels_permuted": "channels permuted",
        "gain_taps_permuted": "taps permuted",
        "gain_all_permuted": "all permuted",
    }
    for (key, label), marker in zip(ways.items(), "oD^s", strict=True):
        means = [
            np.mean([row[key] for row in rows if (row["network"], row["layer"]) == ("binary", name)])
            for name in names
        ]
        right.plot(range(len(names)), means, marker, label=label)
    right.set(yscale="log", ylabel="gain g, binary")
    right.set_xticks(range(len(names)), names, rotation=60)
    right.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def over_seeds(history, network, layer):
    """Return (epochs, mean gains over the seeds) of one layer of one network."""
    mine = [row for row in history if (row["network"], row["layer"]) == (network, layer)]
    epochs = sorted({row["epoch"] for row in mine})
    return epochs, [np.mean([row["gain"] for row in mine if row["epoch"] == epoch]) for epoch in epochs]


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("gain", __doc__, 8, argv), measure)


if __name__ == "__main__":
    run_program("gain", main)
