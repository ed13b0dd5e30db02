"""What does quantization cost a language model of characters, and does the geometry say which kernels it costs most?

nanoGPT's smallest network (4 blocks, width 128, context 64, batches of 12) is trained on tiny-shakespeare: in full
precision, ternary (absmean) and binary (centered sign), with BitNet's layers; for 2,000 steps and for twice as many;
with a weight decay of 0 and of 0.1. The learning rate of each of the three networks is the one with the lowest
validation loss of the first seed, after the shorter training without decay. After every second epoch, angle, zeros,
gain and r within units of each kernel are measured. Then each kernel of the networks in full precision is quantized
after the shorter training, by itself: the loss that this adds on the test text is compared with 1 - r within units,
1 - r_scores and `cost`, by rank.

- The network in full precision is that of nanoGPT. Refuted if its validation loss after 2,000 steps is more than 0.05
  nats per character above nanoGPT's 1.88.
- Quantization costs steps, not quality: with 4,000 steps, the ternary network reaches the full-precision network of
  2,000. Refuted if its mean test loss is higher.
- Weights begin uniform, and training gives them the geometry of Gaussian ones. Refuted for a kind of kernel of the
  ternary networks if its mean angle differs from 27.5 degrees by more than 3, or its zeros from 31 % by 5 points.
- Behind a residual stream the gain is small, as in the text encoder that others trained (0.75 to 1.6). Refuted for
  query, key, value or up if its mean gain in full precision is 2 or more.
- The statistics rank the kernels. Refuted for one if its mean rank correlation with the added loss is below 0.7.
"""

import csv

import numpy as np
from scipy.stats import spearmanr

from bnn.console import run_program
from bnn.datasets.catalog import TINY_SHAKESPEARE
from bnn.files import atomic
from experiments import runner

SEEDS = 3
STEPS_PER_EPOCH = 250
EVERY = 2  # epochs between two measurements
RATES = (1e-3, 2e-3, 4e-3)
DECAYS = (0.0, 0.1)
ARMS = {"full precision": {"continuous": True}, "ternary": {}, "binary": {"levels": 2}}
QUANTIZERS = {"ternary": "absmean", "binary": "centered_sign"}  # by name, of kernels after training
KINDS = ("query", "key", "value", "output", "up", "down", "scores")
STREAM = ("query", "key", "value", "up")  # kinds behind the residual stream
PREDICTIONS = {
    "1 - r within units": lambda row: 1 - row["r_within"],
    "1 - r_scores": lambda row: 1 - row["r_scores"],
    "cost": lambda row: row["cost"],
}
NANOGPT, TOLERANCE = 1.88, 0.05
GAUSSIAN = {"angle_mean_deg": (27.5, 3.0), "zeros": (0.31, 0.05)}  # expected, and the largest difference
LARGEST_GAIN, LEAST_RANK = 2.0, 0.7
SAMPLE = 60  # characters
LEAST_LOSS = 1e-5  # in the figure, whose axis is logarithmic


def measure(experiment):
    """Train every network and compare; return (rows, function that draws them)."""
    rates = {arm: chosen_rate(experiment, arm) for arm in ARMS}
    rows, kernels, quantized = [], [], []
    for seed in experiment.seeds(SEEDS):
        for longer in (1, 2):
            for decay in DECAYS:
                for arm in ARMS:
                    run = trained(experiment, arm, rates[arm], longer, decay, seed)
                    steps = STEPS_PER_EPOCH * run.training.epochs
                    about = {"network": arm, "steps": steps, "weight_decay": decay, "seed": seed}
                    rows.append(about | {"learning_rate": rates[arm]} | losses(experiment, run))
                    kernels += [about | row for row in geometry(run)]
                    if arm == "full precision" and longer == 1:
                        quantized += [about | row for row in after_training(experiment, run)]
    experiment.write_table(kernels, "kernels")
    experiment.write_table(quantized, "quantized")
    tell(rows, kernels, quantized)
    return rows, lambda: draw(rows, kernels, quantized)


# ---- trainings ----


def trained(experiment, arm, rate, longer, decay, seed):
    """Train one network, `longer` times the epochs of the experiment, or find it trained; the Run."""
    epochs = longer * experiment.settings["epochs"]
    name = runner.run_name(f"{arm}-rate{rate:g}-decay{decay:g}-{epochs}epochs", seed)
    changes = {"epochs": epochs, "lr_start": rate, "lr_end": rate / 10, "weight_decay": decay, "seed": seed}
    return experiment.trained(name, log_geometry=EVERY, **ARMS[arm], **changes)


def chosen_rate(experiment, arm):
    """The learning rate with the lowest validation loss after the last epoch."""
    seed = experiment.settings["seed"]
    found = {rate: trained(experiment, arm, rate, 1, 0.0, seed).log()[-1]["val_loss"] for rate in RATES}
    for rate, loss in found.items():
        print(f"{arm}, learning rate {rate:g}: validation loss {loss:.4f}")
    return min(found, key=found.get)


# ---- measurements ----


def losses(experiment, run):
    """The losses of the last network on validation and test text, its test accuracy, and a line that it writes."""
    from bnn import generate, models

    test = experiment.data.test
    scores = models.scores(run.load_model("last"), test.images)
    return {
        "val_loss": run.log()[-1]["val_loss"],
        "test_loss": models.cross_entropy(scores, test.labels),
        "test_accuracy": float(np.mean(scores.argmax(axis=-1) == test.labels)),
        "sample": " / ".join(generate(run, "\n", SAMPLE).split("\n")),
    }


def kind(layer):
    """The kind of a kernel: "query" for block_1_query."""
    return layer.rpartition("_")[2]


def geometry(run):
    """The logged statistics of every kernel by epoch, a list of rows."""
    from bnn.analysis.keras import geometry_log

    rows = geometry_log.read(run.folder)
    return [{"kind": kind(row["layer"]), **{key: blank(value) for key, value in row.items()}} for row in rows]


def blank(value):
    """A value of a table; an empty text for one that was not logged."""
    return "" if value is None else value


def after_training(experiment, run):
    """Quantize each kernel of a network by itself; rows with the added test loss and what is to predict it."""
    path = run.folder / "quantized.csv"
    if path.is_file():
        with path.open(newline="") as file:
            texts = ("quantizer", "layer", "kind")
            return [
                {k: v if k in texts else float(v) for k, v in row.items()} for row in csv.DictReader(file)
            ]
    from bnn import models
    from bnn.layers import latent_kernels, quantizers

    model, test = run.load_model("last"), experiment.data.test
    if experiment.quick:
        test = test[:50]

    def loss():
        return models.cross_entropy(models.scores(model, test.images), test.labels)

    before, rows = loss(), []
    for name, quantizer in QUANTIZERS.items():
        images = {"score_images": experiment.analyzed // 5, "cost_images": experiment.analyzed}
        for row in experiment.layers(model, quantizer=quantizer, **images):
            (kernel,) = latent_kernels(model.get_layer(row.name))
            latent = np.array(kernel.variable.numpy())
            kernel.variable.assign(quantizers.get(quantizer)(kernel.variable.value))
            added = loss() - before
            kernel.variable.assign(latent)
            found = {
                key: getattr(row, key) for key in ("angle_mean_deg", "gain", "r_within", "r_scores", "cost")
            }
            rows.append(
                {"quantizer": name, "layer": row.name, "kind": kind(row.name), "added_loss": added} | found
            )
    atomic.write_csv(path, list(rows[0]), rows)
    return rows


# ---- verdicts ----


def mean(rows, key, **wanted):
    """The mean of a column over the rows with some values; NaN without rows."""
    values = [row[key] for row in rows if all(row[name] == value for name, value in wanted.items())]
    return float(np.mean(values)) if values else np.nan


def ranks(quantized, predict):
    """The rank correlations of a prediction with the added loss, one for each network and quantizer."""
    groups = {}
    for row in quantized:
        key = tuple(row[name] for name in ("steps", "weight_decay", "seed", "quantizer"))
        groups.setdefault(key, []).append((predict(row), row["added_loss"]))
    return [float(spearmanr(*zip(*pairs, strict=True)).statistic) for pairs in groups.values()]


def tell(rows, kernels, quantized):
    """Print the verdict on every expectation."""
    few, many = sorted({row["steps"] for row in rows})
    real = mean(rows, "val_loss", network="full precision", steps=few, weight_decay=0.0)
    text = f"validation loss {real:.3f} after {few:,} steps"
    runner.verdict("the network in full precision is that of nanoGPT", real <= NANOGPT + TOLERANCE, text)
    for decay in DECAYS:
        ternary = mean(rows, "test_loss", network="ternary", steps=many, weight_decay=decay)
        real = mean(rows, "test_loss", network="full precision", steps=few, weight_decay=decay)
        text = f"decay {decay:g}: {ternary:.3f} after {many:,} steps, full precision {real:.3f} after {few:,}"
        runner.verdict("ternary costs steps", ternary <= real, text)
    end = {steps: max(row["epoch"] for row in kernels if row["steps"] == steps) for steps in (few, many)}
    last = [row for row in kernels if row["epoch"] == end[row["steps"]]]
    for name in KINDS[:-1]:
        found = {key: mean(last, key, network="ternary", kind=name) for key in GAUSSIAN}
        holds = all(abs(found[key] - value) <= most for key, (value, most) in GAUSSIAN.items())
        text = f"{name}: {found['angle_mean_deg']:.1f} degrees, {found['zeros']:.0%} zeros"
        runner.verdict("ternary kernels have Gaussian geometry", holds, text)
    for name in STREAM:
        gain = mean(last, "gain", network="full precision", kind=name)
        runner.verdict("the gain behind the stream is small", gain < LARGEST_GAIN, f"{name}: {gain:.2f}")
    for name, predict in PREDICTIONS.items():
        rank = float(np.nanmean(ranks(quantized, predict)))
        runner.verdict(f"{name} ranks the kernels", rank >= LEAST_RANK, f"rank correlation {rank:.2f}")


def draw(rows, kernels, quantized):
    """Draw the test losses, the gain by epoch, and the added loss against its predicted cost."""
    from bnn import plots

    figure, (left, middle, right) = plots.figure(3, height=4)
    for arm, color in zip(ARMS, (plots.BLUE, plots.ORANGE, plots.GREEN), strict=True):
        for decay, marker in zip(DECAYS, "ox", strict=True):
            mine = [row for row in rows if (row["network"], row["weight_decay"]) == (arm, decay)]
            places = [str(row["steps"]) for row in mine]
            label = arm if decay == 0 else None
            left.plot(places, [row["test_loss"] for row in mine], marker, color=color, label=label)
    left.set(xlabel="steps (x: with decay)", ylabel="test loss (nats)")
    left.margins(x=0.5)
    left.legend()
    longest = max(row["steps"] for row in kernels)
    for name, marker in zip(KINDS, "os^vD*x", strict=True):
        mine = [
            row
            for row in kernels
            if (row["network"], row["kind"], row["steps"]) == ("ternary", name, longest)
        ]
        epochs = sorted({row["epoch"] for row in mine})
        middle.plot(epochs, [mean(mine, "gain", epoch=epoch) for epoch in epochs], marker=marker, label=name)
        points = [
            (row["cost"], max(row["added_loss"], LEAST_LOSS)) for row in quantized if row["kind"] == name
        ]
        right.plot(*zip(*points, strict=True), marker)
    middle.set(xlabel="epoch", ylabel="gain, ternary", yscale="log")
    right.set(xscale="log", yscale="log", xlabel="cost (nats)", ylabel="added loss (nats)")
    plots.legend_below(figure, middle, columns=7)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    made = runner.begin(
        "language", __doc__, 2000 // STEPS_PER_EPOCH, argv, own_networks=True, data_set=TINY_SHAKESPEARE.name
    )
    return runner.perform(made, measure)


if __name__ == "__main__":
    run_program("language", main)
