"""A check that the parts of a packed network fit together, since those of a file may not."""

from math import isfinite, prod

from bnn.bits import Kernel, Thresholds

POOLS = ("none", "sums", "bits")


def expect_fit(network):
    """Raise a `ValueError` unless every layer fits the output of the one before, and the last layer gives scores."""
    shape = network.input_shape
    _expect(len(shape) in (1, 3) and all(isinstance(n, int) and n > 0 for n in shape), "input_shape", shape)
    _expect(all(type(n) in (int, float) for n in (network.pixels.factor, network.pixels.summand)), "pixels")
    ends = (0, 1) if network.image_range is None else network.image_range
    _expect(len(ends) == 2 and all(type(x) in (int, float) for x in ends), "image_range", ends)
    _expect(isfinite(ends[1] - ends[0]) and ends[0] < ends[1], "image_range", ends)
    _expect(network.layers, "layers", "none")
    for i, layer in enumerate(network.layers):
        _expect(isinstance(layer.name, str) and layer.pool in POOLS, "layer", (layer.name, layer.pool))
        last = i == len(network.layers) - 1
        _expect(i == 0 or last or isinstance(layer.kernel, Kernel), layer.name, "real weights")
        shape = _output_shape(layer, shape, first=i == 0, integers=network.pixels.integers)
        _expect(
            isinstance(layer.output, Thresholds) == (not last),
            layer.name,
            "another output",
        )
    names = network.class_names
    _expect(all(isinstance(name, str) for name in names) and shape == (len(names),), "class_names", names)


def _output_shape(layer, shape, first, integers):
    """The shape of a layer's output."""
    bits = isinstance(layer.kernel, Kernel)
    _expect(bits == integers or not first or not bits, layer.name, "binary weights for real pixels")
    axes, units = _axes_and_units(layer)
    out = _multiplied(layer, shape, axes, units, flat=first or not bits)
    outputs = (
        [layer.output.at[0]]
        if isinstance(layer.output, Thresholds)
        else [layer.output.factor, layer.output.summand]
    )
    _expect(all(values.shape == (units,) for values in outputs), layer.name, "an output of other units")
    if layer.pool == "none":
        return out
    _expect(len(out) == 3 and min(out[:2]) >= 2, layer.name, f"a pooling of {out}")
    return out[0] // 2, out[1] // 2, units


def _axes_and_units(layer):
    """(input axes of a unit: all axes for a dense layer, else the channels; number of units)."""
    if not isinstance(layer.kernel, Kernel):
        return layer.kernel.shape[-2:-1], layer.kernel.shape[-1]
    return layer.kernel.bits.shape[1:] if layer.dense else layer.kernel.bits.shape[-1:], layer.kernel.units


def _multiplied(layer, shape, axes, units, flat):
    if layer.dense:
        _expect(axes == ((prod(shape),) if flat else shape), layer.name, f"a kernel of {axes} for {shape}")
        return (units,)
    _expect(len(shape) == 3 and axes == shape[2:], layer.name, f"a kernel of {axes} for {shape}")
    return (*shape[:2], units)


def _expect(fits, name, received="another"):
    if not fits:
        raise ValueError(f"{name}: expected parts that fit together, received {received}")
