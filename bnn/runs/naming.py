"""The default name of a run directory."""

import dataclasses
from pathlib import Path

from bnn import presets

# Settings whose values are in the name if they differ from the preset of the data.
TOLD = ("clip", "bn_scale", "bn_decay", "bn_epsilon", "clip_gradients")


def default_name(model, training, with_seed=True):
    """Return a readable name: mnist-5k-binary-conv32-32-64-64-fc256-30epochs-seed0.

    It has no place for learning rate, batch size and the like: runs that differ only in these need names of their own.
    """
    sizes = [
        f"{name}{'-'.join(map(str, values))}"
        for name, values in (("conv", model.conv), ("fc", model.fc))
        if values
    ]
    kind = model.kind if model.estimator == "ste" else model.estimator
    kind += str(model.threshold) if kind == "ternary" else ""
    quantizers = {"kernel": model.kernel_quantizer, "activation": model.activation_quantizer}
    ends = {"first": model.first_layer, "last": model.last_layer}
    own = [f"{place}-{name.rpartition('>')[2]}" for place, name in quantizers.items() if name]
    own += [f"{layer}-{place}" for place, layer in ends.items() if layer != "quantized"]
    own += [training.optimizer] * (training.optimizer != "adam")
    own += _told(model, training)
    data_set = Path(training.data_set).name.removesuffix(".npz")
    parts = [data_set, kind, *own, *sizes, f"{training.epochs}epochs"]
    parts += [f"seed{training.seed}"] * with_seed
    return "-".join(parts + ["debug"] * training.debug)


def _told(model, training):
    """Return words for the settings `TOLD` that differ from the preset: ["clip-glorot", "bn_scale", "bn_decay0.9"]."""
    preset = presets.PRESETS.get(training.data_set)
    if preset is None:
        preset = presets.for_images(model.input_shape, model.classes, presets.BATCH)
    usual = {f.name: f.default for config in (model, training) for f in dataclasses.fields(config)} | preset
    values = vars(model) | vars(training)
    return [_word(name, values[name]) for name in TOLD if values[name] != usual[name]]


def _word(name, value):
    if isinstance(value, bool):
        return name if value else f"no-{name}"
    return f"{name}{value:g}" if isinstance(value, int | float) else f"{name}-{value or 'none'}"
