"""Why do the kernels of a text encoder have a gain of 1, and those of convolutional networks a larger one?

In `pretrained`, MiniLM has a gain of 0.8 to 1.7. It differs from the paper's network in many ways, among them layer
norm in place of batch norm, and weight decay. The experiment trains the narrow convolutional network in full precision
with each and with both. Weight decay (AdamW) is so strong that a weight without a gradient would shrink to 1/e, as in
long trainings of encoders.

A cause explains the encoder only if it takes away most of the gain. So it is refuted if the geometric mean of the gains
of the hidden convolutions, over their layers and seeds, is larger than the square root of that of batch norm without
decay. The formula of `gain_formula` expects the opposite of decay: it removes the random start of the kernels, whose
gain is 1, so the gain should rise.
"""

import math

import numpy as np

from bnn.console import run_program
from experiments import runner

SEEDS = 3
TRAINING_IMAGES = 10_000
BATCH = 50
RATE = 2e-3
ARMS = {
    "batch norm": ("batch", False),
    "batch norm, weight decay": ("batch", True),
    "layer norm": ("layer", False),
    "layer norm, weight decay": ("layer", True),
}
KEPT = ("d", "angle_mean_deg", "gain", "residual_gain", "r_within", "r_two_numbers")


def measure(experiment):
    """Train every network and measure it; return (rows, function that draws them)."""
    rows = experiment.of_each(ARMS, SEEDS, lambda arm, seed: measured(experiment, arm, seed))
    tell(rows)
    return rows, lambda: draw(rows)


def measured(experiment, arm, seed):
    """Train one network; return one row per layer."""
    from bnn.models import accuracy

    model = trained(experiment, *ARMS[arm], seed)
    right = accuracy(model, experiment.data.test, progress=runner.testing)
    rows = []
    for layer in experiment.layers(model, quantizer="sign", score_images=0):
        found = layer.statistics()
        rows.append({"layer": layer.name, "test_accuracy": right} | {key: found[key] for key in KEPT})
    gains = ", ".join(f"{row['gain']:.2f}" for row in rows)
    print(f"{arm}, seed {seed}: test accuracy {right:.4f}, gains {gains}", flush=True)
    return rows


def trained(experiment, norm, decay, seed):
    """Train the narrow network in full precision, with a norm and perhaps with weight decay."""
    import keras

    split = experiment.data.train[: 500 if experiment.quick else TRAINING_IMAGES]
    epochs = experiment.settings["epochs"]
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = network(split.images.shape[1:], norm, experiment.settings)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(epochs * math.ceil(len(split) / BATCH), decay), loss, metrics=["accuracy"])
    model.fit(split.images, split.labels, BATCH, epochs, verbose=2)
    return model


def optimizer(steps, decay):
    """AdamW with a cosine schedule, without decay or with one that leaves 1/e of a weight without a gradient."""
    import keras

    rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
    # The mean of the rate is half of RATE.
    return keras.optimizers.AdamW(rate, weight_decay=2 / (RATE * steps) if decay else 0.0)


def network(shape, norm, settings):
    """Build the layers of the narrow network with ReLU and a norm, "batch" or "layer"."""
    from keras import Input, Model, layers

    def normalized(x):
        made = layers.BatchNormalization(momentum=0.9) if norm == "batch" else layers.LayerNormalization()
        return layers.ReLU()(made(x))

    inputs = Input(shape, dtype="uint8")
    x = layers.Rescaling(1 / 127.5, -1)(inputs)
    for number, filters in enumerate(settings["conv"], 1):
        x = normalized(layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv_{number}")(x))
        x = layers.MaxPooling2D()(x) if number % 2 == 0 else x
    x = layers.Flatten()(x)
    for number, units in enumerate(settings["fc"], 1):
        x = normalized(layers.Dense(units, use_bias=False, name=f"dense_{number}")(x))
    return Model(inputs, layers.Dense(10, name=f"dense_{len(settings['fc']) + 1}")(x))


def hidden_gain(rows, arm):
    """The geometric mean of the gains of the hidden convolutions of an arm, over layers and seeds."""
    found = [
        row["gain"]
        for row in rows
        if row["network"] == arm and row["layer"].startswith("conv") and row["layer"] != "conv_1"
    ]
    return float(np.exp(np.mean(np.log(found))))


def tell(rows):
    """Print what became of each cause."""
    usual, *others = ARMS
    bound = np.sqrt(hidden_gain(rows, usual))
    print(
        f"{usual}: gain of the hidden convolutions {hidden_gain(rows, usual):.2f}; a cause has less than {bound:.2f}"
    )
    for arm in others:
        found = hidden_gain(rows, arm)
        print(f"{arm}: {found:.2f}, {'refuted' if found > bound else 'may be a cause'}")


def draw(rows):
    """Draw the gain and r within units of each layer, one line per network."""
    from bnn import plots

    figure, axes = plots.figure(2, height=4)
    names = list(dict.fromkeys(row["layer"] for row in rows))
    for ax, (key, label) in zip(axes, {"gain": "gain", "r_within": "r within units"}.items(), strict=True):
        for arm, marker in zip(ARMS, "oD^s", strict=True):
            values = [
                [row[key] for row in rows if (row["network"], row["layer"]) == (arm, name)] for name in names
            ]
            spread = np.std(values, axis=1)
            ax.errorbar(range(len(names)), np.mean(values, axis=1), spread, fmt=f"{marker}-", label=arm)
        ax.set_xticks(range(len(names)), names, rotation=60)
        ax.set(ylabel=label)
    axes[0].set(yscale="log")
    axes[0].axhline(1, color=plots.GRAY, linestyle=":", zorder=0)
    plots.legend_below(figure, axes[0], columns=2)
    return figure


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(runner.begin("gain_controls", __doc__, 4, argv), measure)


if __name__ == "__main__":
    run_program("gain_controls", main)
