"""Time and memory of the statistics for each kind of layer, per million multiply-accumulates.

    python benchmarks/layer_kinds.py

A kernel is multiplied about five times: quantized, latent and rotated, and the first two with permuted inputs. The
benchmark counts one of these, the layer's own. Time is processor time. Memory is how much the peak of the process
grows by the analysis, per million multiply-accumulates of a batch. Every case runs in a separate process, after a
first analysis of two images, which compiles what is compiled. `r_scores` is left out.
"""

import argparse
import resource
import statistics
import sys
import time

from measuring import ROOT, in_turns, machine, spread

BATCH = 50
FEW = 2
UNITS = 256


def cases():
    """A dict from the name of a kind to (shape of the inputs, function that makes the layer).

    Of all but the depthwise layer an image takes about four million multiply-accumulates, at d of 256 to 288.
    """
    from keras import layers

    rows, line, image = (64, UNITS), (128, 96), (16, 16, 32)
    return {
        "Dense": (rows, lambda: layers.Dense(UNITS)),
        "Conv1D": (line, lambda: layers.Conv1D(128, 3, padding="same")),
        "Conv2D": (image, lambda: layers.Conv2D(64, 3, padding="same")),
        "DepthwiseConv2D": ((32, 32, 64), lambda: layers.DepthwiseConv2D(3, padding="same")),
        "SeparableConv2D": ((32, 32, 64), lambda: layers.SeparableConv2D(64, 3, padding="same")),
        "Conv1DTranspose": ((64, 96), lambda: layers.Conv1DTranspose(128, 3, strides=2, padding="same")),
        "Conv2DTranspose": ((8, 8, 32), lambda: layers.Conv2DTranspose(64, 3, strides=2, padding="same")),
        "EinsumDense": (rows, lambda: layers.EinsumDense("abc,cde->abde", (None, 4, UNITS // 4))),
        "MultiHeadAttention": ((16, UNITS), self_attention),
        "SimpleRNN": ((32, UNITS), lambda: layers.SimpleRNN(UNITS)),
        "LSTM": ((8, UNITS), lambda: layers.LSTM(UNITS)),
        "GRU": ((10, UNITS), lambda: layers.GRU(UNITS)),
        "GRU, reset before": ((10, UNITS), lambda: layers.GRU(UNITS, reset_after=False)),
        "Bidirectional LSTM": ((4, UNITS), lambda: layers.Bidirectional(layers.LSTM(UNITS))),
        "TimeDistributed Dense": (rows, lambda: layers.TimeDistributed(layers.Dense(UNITS))),
    }


def self_attention():
    """A function from a tensor to what it attends to in itself."""
    from keras import layers

    layer = layers.MultiHeadAttention(4, UNITS // 4)
    return lambda x: layer(x, x)


def measure(kind, n):
    """Print milliseconds and MB per million multiply-accumulates, and the millions of one image."""
    sys.path.insert(0, str(ROOT))
    import numpy as np

    from bnn import backend

    backend.load()
    import keras

    from bnn.analysis import analyze

    shape, make = cases()[kind]
    inputs = keras.Input(shape)
    model = keras.Model(inputs, make()(inputs))
    images = np.random.default_rng(0).standard_normal((n, *shape)).astype(np.float32)
    analyze(model, images[:FEW], score_images=0)
    before, start = peak(), time.process_time()
    report = analyze(model, images, batch_size=BATCH, score_images=0)
    report.rows()
    seconds, grown = time.process_time() - start, peak() - before
    millions = sum(layer.weights.count * layer.d for layer in report) / n / 1e6
    print(1e3 * seconds / (millions * n), grown / (millions * BATCH), millions)


def peak():
    """The largest memory of this process so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # macOS reports bytes, other systems KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main():
    """Measure all kinds alternately and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=300, metavar="N", help="images (default: 300)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="measurements (default: 3)")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    programs = {kind: [sys.executable, __file__, "--measure", kind, args.images] for kind in cases()}
    figures = in_turns(programs, args.repeats)
    print(f"{machine('tensorflow', 'keras')}; medians of {args.repeats}, batches of {BATCH}")
    print("                 kind  million/image  ms/million        range  MB/million")
    for kind, values in figures.items():
        times, memories, (millions, *_) = zip(*values, strict=True)
        time_ms, memory_mb = statistics.median(times), statistics.median(memories)
        print(f"{kind:>21}  {millions:13.2f}  {time_ms:10.2f}  {spread(times, 2):>11}  {memory_mb:10.3f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], int(sys.argv[3]))
    else:
        main()
