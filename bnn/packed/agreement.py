"""How well a packed network and the float32 network that it was made from agree on images."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from bnn import bits
from bnn.console import silent
from bnn.packed import chain
from bnn.packed.network import BATCH


@dataclass(frozen=True)
class Agreement:
    """The result of `compare`.

    Attributes:
        images: int, number of images.
        same: int, number of images that both put into the same class.
        largest: float, the largest difference of a score.
        others: dict from a layer's name to the number of its activations that differ. In the first layer the cause
            is float32 sums that Keras rounds to the other side of a threshold, in later layers earlier differences.
        unexplained: int, how many activations of later layers differ in images in which no activation of the first
            layer does. Both networks compute these layers exactly, so it is 0, unless kernels have a scale. Then
            Keras rounds the sums of these layers, too.
        activations: dict from a layer's name to the number of its activations.
    """

    images: int
    same: int
    largest: float
    others: dict
    unexplained: int
    activations: dict


def reference(run):
    """The network that a Run is packed from, as `Run.load_in_float32` gives it."""
    return run.load_in_float32()


def compare(network, model, images, batch_size=BATCH, progress=silent):
    """Run a packed network and the Keras model that it was made from, and count differences.

    Args:
        network: PackedNetwork.
        model: keras.Model, in float32; otherwise differences of rounding are counted too.
        images: (n, ...) array.
        batch_size: int, maximum number of images at a time.
        progress: function that shows progress over the batches, such as `console.progress`.

    Returns:
        Agreement
    """
    names = [layer.name for layer in network.layers[:-1]]
    tap = keras.Function(model.inputs, [link.output for link in chain.read(model).links])
    same, largest, unexplained = 0, 0.0, 0
    others, activations = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    parts = np.array_split(images, -(-len(images) // batch_size))
    for part in progress(parts, total=len(parts), unit="batch"):
        *expected, scores = (ops.convert_to_numpy(ops.cast(t, "float32")) for t in tap([part]))
        *found, own = network.outputs(part)
        explained = np.zeros(len(part), bool)
        for name, theirs, ours in zip(names, expected, found, strict=True):
            different = (bits.unpack(ours) != theirs).reshape(len(part), -1).sum(axis=1)
            others[name] += int(different.sum())
            activations[name] += theirs.size
            if name == names[0]:
                explained = different > 0
            unexplained += int(different[~explained].sum())
        same += int((own.argmax(axis=1) == scores.argmax(axis=1)).sum())
        largest = max(largest, float(np.abs(own - scores).max()))
    return Agreement(len(images), same, largest, others, unexplained, activations)
