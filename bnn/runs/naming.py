"""The default name of a run directory."""

import re
from pathlib import Path

# Settings whose values are in the name if they differ from the preset of the data.
TOLD = ("clip", "bn_scale", "bn_decay", "bn_epsilon", "clip_gradients")


def default_name(config, training=None, *, with_seed=True):
    """Return a readable name: mnist-5k-binary-conv32-32-64-64-fc256-30epochs-seed0.

    It has no place for learning rate, batch size and the like: runs that differ only in these need names of their own.

    Args:
        config: Config.
        training: TrainConfig if `config` is a ModelConfig, the form of earlier versions; else None.
        with_seed: whether the seed is part of it.
    """
    config = config if training is None else config.with_training(training)
    quantization, training = config.quantization, config.training
    kind = quantization.kind if quantization.estimator == "ste" else quantization.estimator
    kind += str(quantization.threshold) if kind == "ternary" else ""
    quantizers = {"kernel": quantization.kernel_quantizer, "activation": quantization.activation_quantizer}
    ends = {"first": quantization.first_layer, "last": quantization.last_layer}
    label = config.network.label
    own = [f"{place}-{_bare(name)}" for place, name in quantizers.items() if name]
    own += [f"{layer}-{place}" for place, layer in ends.items() if layer != "quantized"]
    own += [training.optimizer] * (training.optimizer != "adam")
    own += _told(config)
    data_set = Path(training.data_set).name.removesuffix(".npz")
    parts = [data_set, kind, *own, *[label] * bool(label), f"{training.epochs}epochs"]
    parts += [f"seed{training.seed}"] * with_seed
    return "-".join(parts + ["debug"] * training.debug)


def _bare(quantizer):
    """Return the name of a quantizer without what a folder should not be called: "TanhSign-beta-2.0"."""
    return "-".join(re.findall(r"[\w.]+", quantizer.rpartition(">")[2]))


def _told(config):
    """Return words for the settings `TOLD` that differ from the preset: ["clip-glorot", "bn_scale", "bn_decay0.9"]."""
    values, usual = config.flat(), config.preset().flat()
    return [_word(name, values[name]) for name in TOLD if name in values and values[name] != usual[name]]


def _word(name, value):
    if isinstance(value, bool):
        return name if value else f"no-{name}"
    return f"{name}{value:g}" if isinstance(value, int | float) else f"{name}-{value or 'none'}"
