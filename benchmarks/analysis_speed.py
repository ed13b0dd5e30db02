"""Time and memory of the statistics on the paper's CIFAR-10 network: our method, only the products, the authors'.

    python benchmarks/analysis_speed.py

ours        `report.analyze`: streams the images, for any number of them
products    only the forward pass and the products for the statistics, which are computed and discarded
authors     the method of the paper's code: the inputs of a layer for all images at once, every product in memory,
            SciPy's `pearsonr`, one permutation of the whole activation tensor; no slopes, flips, histograms or
            predictions

The network is not trained, and its batch norm is fitted to random images. Time and memory do not depend on this. Every
case runs in a separate process. The memory is the peak of the process, including 0.6 GB of TensorFlow.
"""

import argparse
import resource
import statistics
import sys
import time

from measuring import ROOT, in_turns, machine, spread

BATCH = 50


def network_and_images(n):
    """Create the paper's network in float32 and n random images."""
    import numpy as np

    from bnn.models import build_model, refit_batch_norm
    from bnn.settings.config import ModelConfig

    images = np.random.default_rng(0).integers(256, size=(n, 32, 32, 3), dtype=np.uint8)
    model = build_model(ModelConfig())
    refit_batch_norm(model, images[:BATCH])
    return model, images


def ours(model, images):
    """Compute what analyze.py computes."""
    from bnn.analysis import analyze

    analyze(model, images, batch_size=BATCH, score_images=0).rows()


def taps(model):
    """Yield both kernels of each quantized layer, and the symbolic tensors after and before its input's quantizer."""
    from keras import ops

    for layer in model.layers:
        if hasattr(layer, "kernel_quantizer"):
            kernels = [ops.convert_to_tensor(k) for k in (layer.quantized_kernel(), layer.kernel)]
            quantizer = layer.input._keras_history.operation
            while not (hasattr(quantizer, "quantizer") or quantizer.name == "scale"):
                quantizer = quantizer.input._keras_history.operation  # skip flatten
            before = None if quantizer.name == "scale" else quantizer.input
            yield kernels, layer.input, before


def multiply(inputs, kernel):
    """Multiply a batch by a kernel."""
    from keras import ops

    return ops.conv(inputs, kernel, padding="same") if len(kernel.shape) == 4 else ops.matmul(inputs, kernel)


def products(model, images):
    """Multiply inputs and permuted inputs by both kernels, and continuous inputs by the quantized kernel."""
    import keras
    from keras import ops

    found = list(taps(model))
    tap = keras.Function(model.inputs, [t for _, *ts in found for t in ts if t is not None])
    for start in range(0, len(images), BATCH):
        values = iter(tap([images[start : start + BATCH]]))
        for kernels, _, before in found:
            inputs, both = next(values), ops.concatenate(kernels, axis=-1)
            multiply(inputs, both)
            multiply(inputs, both)  # in place of the permuted inputs
            if before is not None:
                multiply(ops.reshape(next(values), inputs.shape), kernels[0])


def authors(model, images):
    """Compute Pearson's r for the three figures with complete arrays in memory."""
    import keras
    import numpy as np
    from scipy.stats import pearsonr

    rng = np.random.default_rng(0)
    for (binary, latent), source, before in taps(model):
        tap = keras.Function(model.inputs, [t for t in (source, before) if t is not None])
        batches = [tap([images[start : start + BATCH]]) for start in range(0, len(images), BATCH)]
        inputs, *real = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        pearsonr(*(np.ravel(multiply(inputs, kernel)) for kernel in (binary, latent)))
        permuted = rng.permutation(inputs.reshape(-1)).reshape(inputs.shape)
        pearsonr(*(np.ravel(multiply(permuted, kernel)) for kernel in (binary, latent)))
        for continuous in real:
            pearsonr(*(np.ravel(multiply(x, binary)) for x in (inputs, continuous.reshape(inputs.shape))))


def measure(way, n):
    """Print the seconds and the peak memory in MB of one method for n images."""
    sys.path.insert(0, str(ROOT))
    model, images = network_and_images(n)
    start = time.perf_counter()
    {"ours": ours, "products": products, "authors": authors}[way](model, images)
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024  # macOS reports bytes, other systems KiB
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def main():
    """Measure all cases alternately and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--images", type=int, default=10_000, metavar="N", help="images of the long case (default: 10000)"
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="measurements (default: 3)")
    args = parser.parse_args()
    cases = [
        ("ours", 500),
        ("products", 500),
        ("authors", 500),
        ("ours", args.images),
        ("products", args.images),
    ]
    programs = {case: [sys.executable, __file__, "--measure", *case] for case in dict.fromkeys(cases)}
    figures = in_turns(programs, args.repeats)
    print(f"{machine('tensorflow', 'keras')}; medians of {args.repeats}, batches of {BATCH}")
    print("     way  images  seconds        range  x products  peak MB")
    for (way, n), values in figures.items():
        seconds, peak = zip(*values, strict=True)
        ratio = statistics.median(s / p for s, (p, _) in zip(seconds, figures["products", n], strict=True))
        time_s, memory_mb = statistics.median(seconds), statistics.median(peak)
        print(f"{way:>8}  {n:6}  {time_s:7.1f}  {spread(seconds, 1):>11}  {ratio:10.2f}  {memory_mb:7.0f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], int(sys.argv[3]))
    else:
        main()
