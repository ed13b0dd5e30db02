"""Which statistic foretells what binarizing a layer costs?

Trains three networks in full precision, of plain Keras layers: convolutions one after another, a residual network and
a dense one. Then binarizes the kernel of one layer at a time: its sign, times the slope of the layer's dot products.
Batch norm is measured anew, and the accuracy lost and the cross-entropy gained on the test images are compared, by
Spearman's rank correlation over the layers, with what each statistic of the untouched network foretold.
"""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import rankdata, spearmanr

from bnn.console import run_program
from experiments import runner

SEEDS = 2
TRAINING_IMAGES = 20_000
REFIT_IMAGES = 2000
KEPT = (
    "layer",
    "d",
    "units",
    "angle_mean_deg",
    "r_weights",
    "sign_flips",
    "r_permuted",
    "r_within",
    "r_two_numbers",
    "gain",
    "r_scores",
)
COSTS = ("accuracy lost", "cross-entropy gained")
# What each statistic of a layer foretells: the larger, the worse.
FORETOLD = {
    "1 - r": lambda row: 1 - row["r_weights"],
    "sign flips": lambda row: row["sign_flips"],
    "1 - r within units": lambda row: 1 - row["r_within"],
    "1 - r from two numbers": lambda row: 1 - row["r_two_numbers"],
    "1 / gain": lambda row: 1 / row["gain"],
    "angle": lambda row: row["angle_mean_deg"],
    "1 - r permuted": lambda row: 1 - row["r_permuted"],
    "1 / d": lambda row: 1 / row["d"],
    "1 - r of the scores": lambda row: 1 - row["r_scores"],
}


def measure(experiment):
    """Train every network, binarize every layer: (rows, figure)."""
    rows, first = [], experiment.settings["seed"]
    for seed in range(first, first + (1 if experiment.quick else SEEDS)):
        for name in NETWORKS:
            model = trained(experiment, name, seed)
            rows += [{"network": name, "seed": seed, **row} for row in binarized(experiment, model)]
    for cost in COSTS:
        print(f"\nrank correlation with {cost}, over so many layers")
        for name, ranks in rank_correlations(rows, cost).items():
            print(
                f"{name:>16}",
                *(f"{network} {rho:5.2f} ({n})" for network, (rho, n) in ranks.items()),
                sep="  ",
            )
    return rows, draw(rows)


def trained(experiment, name, seed):
    """A network of full precision, from its file if it was trained before."""
    import keras

    path = experiment.runs / f"{name}-seed{seed}.keras"
    if path.is_file():
        print(f"{path}: is finished")
        return keras.saving.load_model(path)
    data, epochs = experiment.data, experiment.settings["epochs"]
    split = data.train[: 500 if experiment.quick else TRAINING_IMAGES]
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(split.images.shape[1:], dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    model = keras.Model(inputs, NETWORKS[name](scaled, 4 if experiment.quick else 32), name=name)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * (len(split) // 100))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(split.images, split.labels, 100, epochs, verbose=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    model.save(temporary)
    temporary.replace(path)
    return model


def binarized(experiment, model):
    """Each layer's statistics with what binarizing it costs, a list of dicts."""
    from bnn.models import evaluation, refit_batch_norm

    data, rows = experiment.data, []

    def scores(layer=None):
        copy = with_binary_kernel(model, layer)
        refit_batch_norm(copy, data.train.images[:REFIT_IMAGES])
        return evaluation.scores(copy, data.test.images, progress=runner.testing)

    accuracy, cross_entropy = judge(scores(), data.test.labels)
    for layer in experiment.layers(model, quantizer="sign"):
        with_layer, row = judge(scores(layer), data.test.labels), layer.statistics()
        costs = {
            "accuracy lost": accuracy - with_layer[0],
            "cross-entropy gained": with_layer[1] - cross_entropy,
        }
        rows.append({name: row[name] for name in KEPT} | {"accuracy": accuracy} | costs)
        print(
            f"{model.name} {layer.name}: r {row['r_weights']:.3f}, "
            + ", ".join(f"{k} {v:.3f}" for k, v in costs.items())
        )
    return rows


def judge(scores, labels):
    """Accuracy, and the mean cross-entropy in nats, of (n, classes) scores."""
    right = scores[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.mean(scores.argmax(axis=1) == labels)), float(np.mean(logsumexp(scores, axis=1) - right))


def with_binary_kernel(model, layer=None):
    """A copy of a model with one layer's kernel binarized, to the scale that its dot products ask for.

    Args:
        model: keras.Model.
        layer: LayerReport of the layer; None: all stay as they are.
    """
    import keras

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    if layer is not None:
        kernel = copy.get_layer(layer.name).kernel
        kernel.assign(np.reshape(layer.kernels.quantized * layer.slope, kernel.shape))
    return copy


def rank_correlations(rows, cost):
    """Spearman's correlation of what each statistic foretells with a cost, one of `COSTS`.

    Returns:
        dict from the statistic's name to a dict from each network, and "all" their layers, to (correlation, layers).
        Over all layers, foretold and found are ranked within each network and seed, for networks differ in how much
        they lose at all.
    """
    networks = list(dict.fromkeys(row["network"] for row in rows))
    ranks = {}
    for name, foretell in FORETOLD.items():
        pairs = {network: [] for network in networks}
        for network, seed in dict.fromkeys((row["network"], row["seed"]) for row in rows):
            group = [row for row in rows if (row["network"], row["seed"]) == (network, seed)]
            columns = [[foretell(row) for row in group], [row[cost] for row in group]]
            pairs[network].append(np.stack([rankdata(column) / len(group) for column in columns]))
        pairs = {network: np.concatenate(parts, axis=1) for network, parts in pairs.items()}
        pairs["all"] = np.concatenate(list(pairs.values()), axis=1)
        ranks[name] = {
            network: (float(spearmanr(*pair).statistic), pair.shape[1]) for network, pair in pairs.items()
        }
    return ranks


def draw(rows):
    """What each layer costs against 1 - r, a colour a network; the rank correlations of every statistic."""
    from bnn import plots

    figure, (left, *others) = plots.figure(3, width=12, height=4.2)
    networks = list(dict.fromkeys(row["network"] for row in rows))
    colours = dict(zip(networks, (plots.BLUE, plots.ORANGE, plots.GREEN), strict=False))
    for network, colour in colours.items():
        mine = [row for row in rows if row["network"] == network]
        points = [100 * row["accuracy lost"] for row in mine]
        left.plot([FORETOLD["1 - r"](row) for row in mine], points, "o", color=colour, label=network)
    left.set(xlabel="1 - r of the layer's dot products", ylabel="points of accuracy lost")
    for ax, cost in zip(others, COSTS, strict=True):
        ranks = rank_correlations(rows, cost)
        for network, colour in (colours | {"all": plots.BLACK}).items():
            values = [ranks[name][network][0] for name in FORETOLD]
            marker = "D" if network == "all" else "o"
            ax.plot(values, range(len(FORETOLD)), marker, color=colour, label=network)
        ax.axvline(0, color=plots.GRAY, linewidth=1, zorder=0)
        ax.set_yticks(range(len(FORETOLD)), FORETOLD if ax is others[0] else [""] * len(FORETOLD))
        ax.invert_yaxis()
        ax.set(xlabel=f"rank correlation with\n{cost}", xlim=(-1.05, 1.05))
    plots.legend_below(figure, others[0], columns=4)
    return figure


def plain(x, width):
    """Six convolutions in pairs, pooling after each pair, and two dense layers."""
    from keras import layers

    for filters in (width, 2 * width, 4 * width):
        for _ in range(2):
            x = normalized(layers.Conv2D(filters, 3, padding="same", use_bias=False)(x))
        x = layers.MaxPooling2D()(x)
    x = normalized(layers.Dense(4 * width, use_bias=False)(layers.Flatten()(x)))
    return layers.Dense(10)(x)


def residual(x, width):
    """Six blocks of two convolutions each with a shortcut around them, as in ResNet-14 of He et al. (2016)."""
    from keras import layers

    x = normalized(layers.Conv2D(width // 2, 3, padding="same", use_bias=False)(x))
    for filters, strides in ((1, 1), (1, 1), (2, 2), (2, 1), (4, 2), (4, 1)):
        filters *= width // 2
        y = normalized(layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x))
        y = layers.BatchNormalization(momentum=0.9)(
            layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)
        )
        if strides > 1:
            x = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(filters, 1, strides, use_bias=False)(x))
        x = layers.ReLU()(layers.Add()([x, y]))
    return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))


def dense(x, width):
    """Five dense layers."""
    from keras import layers

    x = layers.Flatten()(x)
    for _ in range(4):
        x = normalized(layers.Dense(16 * width, use_bias=False)(x))
    return layers.Dense(10)(x)


def normalized(x):
    """Batch norm and ReLU."""
    from keras import layers

    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


NETWORKS = {"plain": plain, "residual": residual, "dense": dense}


def main(argv=None):
    """Do the experiment as the command line says."""
    return runner.perform(runner.begin("verdict", __doc__, 12, argv), measure)


if __name__ == "__main__":
    run_program("verdict", main)
