"""Do shortcuts change the geometry of binary convolutions, or what it costs to binarize one?

In Bi-Real net, a shortcut around each binary convolution carries real values. The experiment trains such a network of
ten convolutions (16, 32 and 64 channels), the same network without its shortcuts, and with the layers of ReActNet, on
CIFAR-10. Each is trained with binary kernels and activations, and once more as its real twin, without quantizers (hard
tanh in place of the sign). Each has its own learning rate, chosen by the validation accuracy with the first seed.

Angle, gain and r within units are those of the hidden convolutions, all but the first one and those in shortcuts. In
the twins, each hidden convolution alone is binarized after training, as in `verdict`: the sign of its kernel times the
slope of its dot products, with refitted batch norm. The lost accuracy is what it costs. Expectations, and what would
refute each ("clear" means more than twice the standard deviation over the seeds):

- Behind shortcuts the gain is smaller. Refuted if the mean of log gain over the hidden convolutions is not clearly
  below that of the plain binary network.
- There it is near 1, as in the pretrained text encoder of `pretrained` (0.75 to 1.6). Refuted if fewer than half of
  the hidden convolutions of the binary network with shortcuts are in that range.
- Shortcuts do not change the angle. Refuted if the mean angles of the hidden convolutions of the binary networks with
  and without them differ by 2 degrees or more.
- Angle and gain give r in all three binary networks. Refuted if the mean r within units of a hidden convolution differs
  from that of the two numbers by more than 0.03.
- With shortcuts, binarizing one convolution costs less. Refuted if the mean lost accuracy is not clearly smaller than
  in the plain twin.
- Shortcuts improve the accuracy of the binary network. Refuted if they do not clearly.

The default is the first 20,000 training images. All 30 trainings of 20 epochs then take about ten hours of one core.
"""

import dataclasses
import itertools

import numpy as np

from bnn.console import run_program
from bnn.geometry.gain import TOLERANCE
from experiments import runner, verdict

SEEDS = 3
TRAINING_IMAGES = 20_000
VALIDATION = 5000
RATES = (2e-3, 5e-3, 1e-2)
FALL = 0.01  # ratio of the learning rates at the end and at the start
COMMON = {
    "stages": (16, 32, 64),
    "depth": 3,
    "batch_size": 100,
    "schedule": "cosine",
    "warmup": 1,
    "loss_mode": "softmax",
    "bn_decay": 0.99,
    "log_geometry": 1,
}
PHOTOGRAPHS = {"augment": "flips-and-crops"}
SHORTCUTS, PLAIN, REACT = "shortcuts", "plain", "ReActNet"
ARMS = {
    SHORTCUTS: {"network": "bi-real"},
    PLAIN: {"network": "bi-real", "plain": True},
    REACT: {"network": "reactnet"},
}
KERNELS = {"binary": {"first_layer": "real", "last_layer": "real"}, "real": {"continuous": True}}
STATISTICS = ("d", "angle_mean_deg", "gain", "r_within", "r_two_numbers", "residual_gain", "kappa")
LOGGED = ("angle_mean_deg", "gain", "r_within")
COSTS = verdict.COSTS
NEAR_ONE, MOST_DEGREES, CLEAR = (0.75, 1.6), 2, 2


def measure(experiment):
    """Train every network and measure; return (rows, function that draws them)."""
    photographs = PHOTOGRAPHS if experiment.data.name == "cifar-10" else {}
    small = {"stages": (16, 16), "depth": 1} if experiment.quick else {}
    settings = experiment.settings | COMMON | photographs | small
    experiment = dataclasses.replace(experiment, settings=settings)
    rows, history = [], []
    rates, tried = chosen(experiment)
    for seed in experiment.seeds(SEEDS):
        for (arm, kernels), rate in rates.items():
            labels = {"network": arm, "kernels": kernels, "seed": seed}
            run = trained(experiment, arm, kernels, rate, seed)
            rows += [labels | {"learning_rate": rate, **row} for row in measured(experiment, run)]
            history += [labels | row for row in by_epoch(run)]
    experiment.write_table(tried, "rates")
    experiment.write_table(history, "history")
    tell(rows)
    return rows, lambda: draw(rows, history)


def chosen(experiment):
    """Train each network once with each rate; return (dict from (network, kernels) to the best rate, rows of all)."""
    best, rows = {}, []
    seed = experiment.seeds(1)[0]
    for arm, kernels in itertools.product(ARMS, KERNELS):
        rates = RATES[1:2] if experiment.quick else RATES
        best[arm, kernels], found = runner.choose_rate(
            rates, lambda rate, arm=arm, kernels=kernels: trained(experiment, arm, kernels, rate, seed)
        )
        labels = {"network": arm, "kernels": kernels, "seed": seed}
        rows += [labels | {"learning_rate": k, "validation_accuracy": v} for k, v in found.items()]
        print(f"{arm}, {kernels}: learning rate {best[arm, kernels]:g}")
    return best, rows


def trained(experiment, arm, kernels, rate, seed):
    """Train one network, and return its run."""
    name = runner.run_name(f"{arm} {kernels} rate{rate:g} {experiment.training_images}images", seed)
    settings = ARMS[arm] | KERNELS[kernels] | {"lr_start": rate, "lr_end": rate * FALL, "seed": seed}
    return experiment.trained(name, **settings)


def is_hidden(layer):
    """Whether a layer's name is that of a hidden convolution: not the first, and not in a shortcut."""
    return layer.startswith("conv_") and layer != "conv_1" and not layer.endswith("_shortcut")


def measured(experiment, run):
    """Measure a trained network, one row per hidden convolution; in a twin also what it costs to binarize it alone."""
    from bnn.models import accuracy, evaluation

    model, data, twin = run.load_model("last"), experiment.data, run.config.quantization.continuous
    common = {
        "validation_accuracy": accuracy(model, data.validation, progress=runner.testing),
        "test_accuracy": accuracy(model, data.test, progress=runner.testing),
    }

    def judged(layer=None):
        copy = verdict.with_binary_kernel(model, layer)
        experiment.refit(copy)
        return verdict.judge(
            evaluation.scores(copy, data.test.images, progress=runner.testing), data.test.labels
        )

    whole = judged() if twin else None
    rows = []
    for layer in experiment.layers(model, quantizer="sign" if twin else None):
        if not is_hidden(layer.name):
            continue
        found, costs = layer.statistics(), (None, None)
        if twin:
            right, cross_entropy = judged(layer)
            costs = whole[0] - right, cross_entropy - whole[1]
        statistics = {key: found[key] for key in STATISTICS}
        rows.append(common | {"layer": layer.name} | statistics | dict(zip(COSTS, costs, strict=True)))
    return rows


def by_epoch(run):
    """Return the means over the hidden convolutions, one row per epoch; of real kernels only the gain is known."""
    from bnn.analysis.keras import geometry_log

    twin, log = run.config.quantization.continuous, geometry_log.read(run.folder)
    rows = []
    for epoch in dict.fromkeys(row["epoch"] for row in log):
        layers = [row for row in log if row["epoch"] == epoch and is_hidden(row["layer"])]
        values = {
            key: None if twin and key != "gain" else float(np.mean([row[key] for row in layers]))
            for key in LOGGED
        }
        rows.append({"epoch": epoch, **values})
    return rows


def tell(rows):
    """Print the accuracy of every network, and the verdict on every expectation."""
    for arm, kernels in itertools.product(ARMS, KERNELS):
        values = by_seed(rows, arm, kernels, "test_accuracy")
        print(
            f"{arm}, {kernels}: test accuracy {runner.with_spread(np.mean(values), runner.spread(values), 4)}"
        )
    logs = [by_seed(rows, arm, "binary", lambda row: np.log(row["gain"])) for arm in (SHORTCUTS, PLAIN)]
    smaller, text = clearly_positive(logs[1] - logs[0])
    runner.verdict("behind shortcuts the gain is smaller", smaller, f"log gain smaller by {text}")
    gains = np.array([row["gain"] for row in select(rows, SHORTCUTS, "binary")])
    inside = float(np.mean((gains >= NEAR_ONE[0]) & (gains <= NEAR_ONE[1])))
    runner.verdict(
        "there the gain is near 1", inside >= 0.5, f"{inside:.0%} of {gains.min():.2f} to {gains.max():.2f}"
    )
    angles = [np.mean(by_seed(rows, arm, "binary", "angle_mean_deg")) for arm in (SHORTCUTS, PLAIN)]
    same = abs(angles[0] - angles[1]) < MOST_DEGREES
    runner.verdict("shortcuts do not change the angle", same, "{:.1f} and {:.1f} degrees".format(*angles))
    worst = max(
        abs(np.mean([row["r_within"] - row["r_two_numbers"] for row in mine]))
        for arm in ARMS
        for mine in of_each_layer(select(rows, arm, "binary"))
    )
    runner.verdict("angle and gain give r", worst <= TOLERANCE, f"largest error {worst:.3f}")
    costs = [100 * by_seed(rows, arm, "real", COSTS[0]) for arm in (SHORTCUTS, PLAIN)]
    less, text = clearly_positive(costs[1] - costs[0])
    means = "{:.2f} and {:.2f} points".format(*map(np.mean, costs))
    runner.verdict("with shortcuts a binary convolution costs less", less, f"{means}, less by {text}")
    found = [100 * by_seed(rows, arm, "binary", "test_accuracy") for arm in (SHORTCUTS, PLAIN)]
    better, text = clearly_positive(found[0] - found[1])
    runner.verdict("shortcuts improve the accuracy", better, f"{text} points")


def clearly_positive(differences):
    """Return (whether the mean over the seeds is more than twice the standard deviation, both as text)."""
    mean, spread = float(np.mean(differences)), runner.spread(differences)
    return mean > CLEAR * np.nan_to_num(spread), runner.with_spread(mean, spread, 2)


def select(rows, arm, kernels):
    """Return the rows of one network."""
    return [row for row in rows if (row["network"], row["kernels"]) == (arm, kernels)]


def of_each_layer(rows):
    """Split rows by layer; a list of lists."""
    return [
        [row for row in rows if row["layer"] == layer] for layer in dict.fromkeys(r["layer"] for r in rows)
    ]


def by_seed(rows, arm, kernels, value):
    """Return the mean over the layers of a column, or of a function of a row, for each seed: (seeds,)."""
    value = value if callable(value) else (lambda row, key=value: row[key])
    mine = select(rows, arm, kernels)
    seeds = dict.fromkeys(row["seed"] for row in mine)
    return np.array([np.mean([value(row) for row in mine if row["seed"] == seed]) for seed in seeds])


def draw(rows, history):
    """Draw gain and cost of each hidden convolution, and the mean gain by epoch; means over the seeds."""
    from bnn import plots

    figure, (left, middle, right) = plots.figure(3, width=12, height=4)
    colors = dict(zip(ARMS, (plots.BLUE, plots.ORANGE, plots.GREEN), strict=True))
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    for arm, color in colors.items():
        for kernels, form in (("binary", "o-"), ("real", "D--")):
            groups = of_each_layer(select(rows, arm, kernels))
            gains = [np.mean([row["gain"] for row in mine]) for mine in groups]
            left.plot(range(len(layers)), gains, form, color=color, label=f"{arm}, {kernels}")
            log = select(history, arm, kernels)
            epochs = sorted({row["epoch"] for row in log})
            means = [np.mean([row["gain"] for row in log if row["epoch"] == epoch]) for epoch in epochs]
            right.plot(epochs, means, form[1:], color=color)
        lost = [100 * np.mean([row[COSTS[0]] for row in mine]) for mine in groups]
        middle.plot(range(len(layers)), lost, form, color=color)
    middle.axhline(0, color=plots.GRAY, linestyle=":", zorder=0)
    for ax in (left, middle):
        ax.set_xticks(range(len(layers)), layers, rotation=60)
    for ax in (left, right):
        ax.set(yscale="log", ylabel="gain")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("{x:g}")
    middle.set(ylabel="points of accuracy lost", title="one layer binarized")
    right.set(xlabel="epoch", title="mean over the layers")
    plots.legend_below(figure, left, columns=3)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    sizes = {"training_images": TRAINING_IMAGES, "validation": VALIDATION}
    return runner.perform(runner.begin("residual", __doc__, 20, argv, own_networks=True, **sizes), measure)


if __name__ == "__main__":
    run_program("residual", main)
