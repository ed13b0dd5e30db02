"""Conversion of the chain of a trained network to packed bits and integer thresholds."""

from dataclasses import replace
from fractions import Fraction
from math import prod

import numpy as np

from bnn import bits
from bnn.packed import chain, thresholds
from bnn.packed.floats import LARGEST, numbered
from bnn.packed.network import PackedNetwork
from bnn.packed.parts import Layer, PackError, Pixels, Scores

LARGEST_PIXEL = 255
LARGEST_SUM = 2**31 - 2  # so that thresholds beyond it are int32 too


def pack(model, class_names=None, image_range=PackedNetwork.image_range):
    """Convert a trained network to bits. It computes what the float32 network with the same weights does.

    It does not round the sums of bits. Keras rounds those of the first layer, and all sums of a kernel with a scale.

    Args:
        model: keras.Model, a chain of `bnn.layers` with any backend and precision, from `bnn.build` or sequential.
            User-defined quantizers must give activations -1 and +1, or -1, 0 and +1, that increase with the value.
            Stochastic quantizers become signs.
        class_names: sequence of str in the order of the scores; None: "0", "1", ...
        image_range: (low, high), the values of black and white in float images that are classified from a file. It
            counts only if the model takes uint8 pixels.

    Returns:
        PackedNetwork

    Raises:
        PackError: the model is not such a chain; the message names the layer.
    """
    read = chain.read(model)
    pixels, unit = _pixels(read)
    first = _first_layer(read.links[0], unit)
    layers = [first, *map(_later_layer, read.links[1:])]
    if pixels is None or not isinstance(first.kernel, bits.Kernel):
        pixels = Pixels(*read.scaling)
    names = class_names_of(read, class_names)
    image_range = tuple(image_range) if read.dtype == "uint8" else None
    return PackedNetwork(read.input_shape, pixels, layers, names, image_range)


fold = pack  # the earlier name


def class_names_of(read, names=None):
    """The names of the classes of a Chain, a tuple of str; by default "0", "1", ...

    Raises:
        PackError: there are more or fewer names than classes.
    """
    classes = read.links[-1].kernel.shape[-1]
    names = tuple(map(str, range(classes) if names is None else names))
    if len(names) != classes:
        raise PackError(f"class_names: expected {classes}, received {len(names)}")
    return names


def split(kernel):
    """Split a kernel into (int8 array of -1, 0 and +1, (units,) float32 scale >= 0); None if it has other values."""
    scale = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    levels = np.sign(kernel)
    return (
        (levels.astype(np.int8), np.where(scale, scale, 1))
        if np.array_equal(levels * scale, kernel)
        else None
    )


def _pixels(read):
    """(integer Pixels, the float that multiplies them), or (None, None) if images are not multiples of integers."""
    factor, summand = read.scaling
    if read.dtype != "uint8" or not factor > 0:
        return None, None
    ratio = Fraction(summand / factor).limit_denominator(LARGEST_PIXEL)
    pixels = Pixels(ratio.denominator, ratio.numerator)
    ends = pixels.summand, LARGEST_PIXEL * pixels.factor + pixels.summand
    exact = abs(float(ratio) * factor - summand) <= 1e-9 * abs(summand)
    return (
        (pixels, factor / pixels.factor) if exact and max(map(abs, ends)) <= LARGEST_PIXEL else (None, None)
    )


def _first_layer(link, unit):
    """The first layer; it uses float32 unless pixels are integers times `unit` and weights are bits."""
    parts = None if unit is None else split(link.kernel)
    if parts is None:
        return _real_layer(link)
    levels, scale = parts
    return _layer_of_bits(replace(link, axes=None), levels, scale.astype(np.float64) * unit, LARGEST_PIXEL)


def _later_layer(link):
    parts = split(link.kernel)
    if parts is not None:
        return _layer_of_bits(link, *parts, 1)
    if link.quantizer is not None:
        expected = "a binary or ternary kernel, as in every layer except the first and last"
        raise chain.refusal(link.name, expected, "real weights")
    return _real_layer(link)


def _real_layer(link):
    return Layer(link.name, link.kernel, _output(link, numbered, LARGEST, 1.0), link.pool)


def _layer_of_bits(link, levels, scale, largest):
    """A layer with weights `levels` times `scale`, (units,), for inputs of at most `largest`."""
    largest *= prod(levels.shape[:-1])
    if largest > LARGEST_SUM:
        raise chain.refusal(link.name, f"sums of at most {LARGEST_SUM}", f"up to {largest}")
    output = _output(link, lambda sums: sums * scale.astype(np.float64), largest, scale)
    return Layer(link.name, _kernel_of_bits(levels, link.axes), output, link.pool)


def _output(link, value, largest, scale):
    """The thresholds for integers n from -largest to largest, which represent the sums `value(n)`; or the scores."""
    if link.quantizer is None:
        factor, summand = link.affine()
        return Scores((factor * scale).astype(np.float32), summand)
    try:
        return thresholds.search(lambda n: link.activations(value(n)), largest, link.kernel.shape[-1])
    except ValueError as error:
        raise chain.refusal(link.name, str(error), "others") from None


def _kernel_of_bits(levels, axes):
    """The Kernel of levels in the layout of Keras; `axes` are those of the flattened input of a dense layer."""
    convolution = levels.ndim == 4
    units = levels.swapaxes(2, 3) if convolution else levels.T.reshape(-1, *(axes or levels.shape[:1]))
    with bits.numpy_alone():  # compiling a loop would take longer
        packed = bits.pack(units, ternary=not levels.all())
    return (bits.convolution_kernel if convolution else bits.dense_kernel)(packed)
