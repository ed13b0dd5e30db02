"""How well a packed network and the float32 network that it was made from agree on images."""

from collections import Counter
from dataclasses import dataclass, field

import keras
import numpy as np
from keras import ops

from bnn import bits
from bnn.console import silent
from bnn.packed import chain, rounding
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
        wrong: dict from a layer's name to the number of its activations, or scores, that differ by more than rounding
            explains in images in which no earlier layer differs; empty if both networks are the same.
        classes: (n,) int array, the classes of the images by the Keras model.
        packed_classes: (n,) int array, the same by the packed network.
    """

    images: int
    same: int
    largest: float
    others: dict
    unexplained: int
    activations: dict
    wrong: dict = field(default_factory=dict)
    classes: np.ndarray | None = field(default=None, compare=False)
    packed_classes: np.ndarray | None = field(default=None, compare=False)


def reference(run):
    """The network that a Run is packed from, as `Run.load_in_float32` gives it."""
    return run.load_in_float32()


def _outputs_of(read, model):
    """A function from images to the outputs of all layers of a chain, a list of float32 arrays."""
    tap = keras.Function(model.inputs, [link.output for link in read.links])
    return lambda images: [ops.convert_to_numpy(ops.cast(t, "float32")) for t in tap([images])]


def wrong_in_graph(graph, model, images, progress=silent):
    """Run an ONNX or QONNX graph in NumPy, and count differences to the network that rounding does not explain.

    Args:
        graph: onnx.ModelProto, from `onnx_model`.
        model: keras.Model that it was made from, in float32.
        images: (n, ...) array.
        progress: function that shows progress over the images, such as `console.progress`.

    Returns:
        Dict from a layer's name to a number, as `Agreement.wrong`.
    """
    from bnn.packed import onnx_run

    read = chain.read(model)
    outputs = _outputs_of(read, model)
    names = [*(link.name for link in read.links[:-1]), "scores"]
    single = graph.graph.input[0].type.tensor_type.elem_type == onnx_run.FLOAT
    wrong = Counter()
    for image in progress(images[:, None], total=len(images), unit="image"):
        expected = outputs(image)
        values = onnx_run.run(graph, image.astype(np.float32) if single else image)
        found = [values[name] for name in names]
        found = [np.moveaxis(value, 1, -1) if value.ndim == 4 else value for value in found]
        wrong.update(rounding.unexplained(read, image, expected, found, exact_norms=False))
    return dict(wrong)


def wrong_in_openvino(graph, network, model, images):
    """Run an OpenVINO graph, and count differences to the network that rounding does not explain.

    Args:
        graph: openvino.Model, from `openvino_model`; its batch becomes the number of images.
        network: PackedNetwork that it was made from. A second graph, which differs only in its outputs, gives the
            activations.
        model: keras.Model that it was made from, in float32.
        images: (n, ...) array.

    Returns:
        Dict from a layer's name to a number, as `Agreement.wrong`.
    """
    from bnn.packed import openvino_graph

    read = chain.read(model)
    expected = _outputs_of(read, model)(images)
    (scores,) = openvino_graph.run(graph, images)
    *found, _ = openvino_graph.run(openvino_graph.openvino_model(network, activations=True), images)
    return rounding.unexplained(read, images, expected, [*found, scores], exact_norms=True)


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
    read = chain.read(model)
    outputs = _outputs_of(read, model)
    wrong = Counter()
    largest, unexplained, classes = 0.0, 0, []
    others, activations = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    parts = np.array_split(images, -(-len(images) // batch_size))
    for part in progress(parts, total=len(parts), unit="batch"):
        *expected, scores = outputs(part)
        *found, own = network.outputs(part)
        explained = np.zeros(len(part), bool)
        found = [bits.unpack(ours) for ours in found]
        wrong.update(rounding.unexplained(read, part, [*expected, scores], [*found, own], exact_norms=True))
        for name, theirs, ours in zip(names, expected, found, strict=True):
            different = (ours != theirs).reshape(len(part), -1).sum(axis=1)
            others[name] += int(different.sum())
            activations[name] += theirs.size
            if name == names[0]:
                explained = different > 0
            unexplained += int(different[~explained].sum())
        classes.append((scores.argmax(axis=1), own.argmax(axis=1)))
        largest = max(largest, float(np.abs(own - scores).max()))
    saved, ours = map(np.concatenate, zip(*classes, strict=True))
    same = int((saved == ours).sum())
    return Agreement(len(images), same, largest, others, unexplained, activations, dict(wrong), saved, ours)
