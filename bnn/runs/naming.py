"""The default name of a run directory."""

from pathlib import Path


def default_name(model, training, with_seed=True):
    """Return a readable name: mnist-5k-binary-conv32-32-64-64-fc256-30epochs-seed0.

    It has no place for learning rate, clip and the like: runs that differ only in these need names of their own.
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
    data_set = Path(training.data_set).name.removesuffix(".npz")
    parts = [data_set, kind, *own, *sizes, f"{training.epochs}epochs"]
    parts += [f"seed{training.seed}"] * with_seed
    return "-".join(parts + ["debug"] * training.debug)
