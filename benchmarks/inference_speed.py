"""Inference of the paper's CIFAR-10 network: as bits, in Keras, in onnxruntime. Speed, size and memory.

    python benchmarks/inference_speed.py
    python benchmarks/inference_speed.py --onnxruntime ENVIRONMENT/bin/python   # with onnxruntime and numpy alone

packed       `bnn.packed`, compiled by numba
numpy        the same without numba
float32      Keras, the same weights in float32: `predict` at batch 100, a compiled call at batch 1
bfloat16     the same in bfloat16, where the processor has it
onnxruntime  the ONNX graph that bnn export writes, in float32

Every case runs in a process of its own, and the cases take turns, so that a busy moment of the machine strikes all.
CPU time, of all threads, hardly depends on what else the machine does. Memory is the process's peak. The limit is that
of XOR, popcount and addition on registers, `bnn.bits.popcount_limit`, on one core; what is compared with it is all
binary products for an image in its CPU time.
"""

import argparse
import re
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measuring import ROOT, in_turns, machine, spread

RUN = ROOT / "results" / "cifar-10-binary" / "seed0"
FILES = {
    "packed": "packed.npz",
    "numpy": "packed.npz",
    "float32": "float32.keras",
    "bfloat16": "bfloat16.keras",
    "onnxruntime": "network.onnx",
}
BATCH = 100


def prepare(run, folder):
    """Write the network in every form, and print the binary operations for one image."""
    import onnx

    from bnn import bits, models, packed, runs
    from bnn.backend import resolve_precision

    opened = runs.open_run(run)
    model = packed.reference(opened)
    model.save(folder / FILES["float32"])
    if resolve_precision("auto") == "bfloat16":
        twin = opened.config.build("bfloat16")
        twin.set_weights(model.get_weights())
        twin.save(folder / FILES["bfloat16"])
    with bits.numpy_alone():
        packed.pack(model).save(folder / FILES["packed"])
    onnx.save(packed.onnx_model(model), folder / FILES["onnxruntime"])
    macs = models.summary(model).total.macs
    print(2 * sum(count for (weights, inputs), count in macs.items() if inputs == weights == 1))


def packed_network(path):
    """(function for many images, function for one) of a packed network."""
    from bnn import packed

    network = packed.PackedNetwork.load(path)
    return network.scores, network.scores


def without_numba(path):
    """The same with NumPy alone."""
    sys.modules["numba"] = None
    return packed_network(path)


def keras_network(path):
    """The same of a Keras model."""
    from bnn import backend

    backend.load()
    import tensorflow as tf

    from bnn.models import load_model

    model = load_model(path)
    one = tf.function(lambda x: model(x, training=False))
    return lambda x: model.predict(x, batch_size=BATCH, verbose=0), lambda x: one(x).numpy()


def onnx_network(path):
    """The same of an ONNX graph; imports nothing of this package."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    run = lambda x: session.run(None, {"images": x})[0]  # noqa: E731
    return lambda x: [run(x[i : i + BATCH]) for i in range(0, len(x), BATCH)], run


NETWORKS = {
    "packed": packed_network,
    "numpy": without_numba,
    "float32": keras_network,
    "bfloat16": keras_network,
    "onnxruntime": onnx_network,
}


def measure(way, path, n):
    """Print images/s, CPU ms per image, both times at batch 1, peak MB and, if packed, the limit of one core."""
    import numpy as np

    images = np.random.default_rng(0).integers(256, size=(n, 32, 32, 3), dtype=np.uint8)
    many, one = NETWORKS[way](path)
    many(images[:BATCH])
    one(images[:1])
    seconds, cpu = timed(many, images)
    singles = np.median([timed(one, images[i : i + 1]) for i in range(15)], axis=0)
    print(n / seconds, 1000 * cpu / n, *(1000 * singles), peak(), limit() if way == "packed" else 0)


def timed(function, x):
    """(seconds that a call takes, seconds of all its threads on a processor)."""
    start, cpu = time.perf_counter(), time.process_time()
    function(x)
    return time.perf_counter() - start, time.process_time() - cpu


def peak():
    """The most memory that the process held, in MB; that of `resource` counts its parent's before it began, too."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def limit():
    """Operations on bits per second that one core reaches at most."""
    import numba

    from bnn import bits

    numba.set_num_threads(1)
    return bits.popcount_limit()


def programs(args, folder):
    """The command of each case that this machine has."""
    present = {way: folder / file for way, file in FILES.items() if (folder / file).is_file()}
    pythons = dict.fromkeys(present, sys.executable) | {"onnxruntime": args.onnxruntime}
    return {
        way: [pythons[way], __file__, "--measure", way, path, args.images] for way, path in present.items()
    }


def main():
    """Measure all cases in turns and print the table."""
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--run",
        type=Path,
        default=RUN,
        metavar="RUN",
        help="run of a network for CIFAR-10 (default: the published one)",
    )
    parser.add_argument(
        "--onnxruntime",
        default=sys.executable,
        metavar="PYTHON",
        help="interpreter of an environment with onnxruntime (default: this one)",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=300,
        metavar="N",
        help="images per measurement at batch 100 (default: 300)",
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="measurements (default: 3)")
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="draw sizes and CPU times to this PNG file"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = {"prepare": [sys.executable, __file__, "--measure", "prepare", args.run.resolve(), folder]}
        ((operations,),) = in_turns(prepared, 1)["prepare"]
        cases = programs(args, folder)
        figures = in_turns(cases, args.repeats)
        sizes = {way: (folder / FILES[way]).stat().st_size for way in cases}
    print(f"{machine('keras', 'numba')}; medians of {args.repeats}, batches of {BATCH}")
    report(figures, sizes, operations)
    if args.figure:
        draw(figures, sizes, args.figure)


def report(figures, sizes, operations):
    """Print the table."""
    median = {
        way: [statistics.median(column) for column in zip(*rows, strict=True)]
        for way, rows in figures.items()
    }
    print(
        "             images/s        range  CPU ms/image  ms at batch 1        range  CPU ms  MB on disk  peak MB"
    )
    for way, rows in figures.items():
        speeds, _, singles, *_ = zip(*rows, strict=True)
        speed, cpu, single, cpu_single, memory, _ = median[way]
        print(
            f"{way:>11}  {speed:8.1f}  {spread(speeds, 1):>11}  {cpu:12.2f}  {single:13.1f}"
            f"  {spread(singles, 1):>11}  {cpu_single:6.1f}  {sizes[way] / 1e6:10.2f}  {memory:7.0f}"
        )
    cpu, most = median["packed"][1], median["packed"][-1]
    reached = 1000 * operations / cpu
    print(
        f"packed: {reached / 1e12:.2f} of {most / 1e12:.2f} TOP/s on a core, {reached / most:.0%} of the limit"
    )
    for other in figures.keys() - {"packed"}:
        batch, batch_cpu, one, one_cpu = (median[other][i] / median["packed"][i] for i in range(4))
        print(
            f"packed / {other}: {1 / batch:.1f} x at batch {BATCH} ({batch_cpu:.1f} x by CPU time), "
            f"{one:.1f} x at batch 1 ({one_cpu:.1f} x)"
        )


def draw(figures, sizes, path):
    """Files as squares to scale beside bars of CPU time."""
    from matplotlib.figure import Figure

    from bnn.plots import style

    names = {
        "float32": "Keras, float32",
        "bfloat16": "Keras, bfloat16",
        "onnxruntime": "onnxruntime, float32",
        "packed": "packed, numba",
    }
    with style.in_style():
        figure = Figure(figsize=(style.WIDTH, 2.6), layout="constrained")
        files, bars = figure.subplots(1, 2, width_ratios=[1, 1.3])
        draw_files(files, {"float32": sizes["float32"], "packed": sizes["packed"]})
        shown = {way: name for way, name in names.items() if way in figures}
        times = [statistics.median(row[1] for row in figures[way]) for way in shown]
        colors = [style.BLUE if way == "packed" else style.GRAY for way in shown]
        bars.barh(list(shown.values()), times, color=colors)
        for i, value in enumerate(times):
            bars.annotate(f" {value:.1f}", (value, i), va="center")
        bars.set(title="CPU time of one image (ms)", xlim=(0, 1.2 * max(times)))
        bars.invert_yaxis()
        figure.savefig(path)


def draw_files(axes, sizes):
    """Squares whose areas are the files' sizes."""
    from matplotlib.patches import Rectangle

    from bnn.plots import style

    left = 0
    for (name, size), color in zip(sizes.items(), (style.GRAY, style.BLUE), strict=True):
        side = (size / 1e6) ** 0.5
        axes.add_patch(Rectangle((left, 0), side, side, color=color))
        axes.annotate(f"{name}\n{size / 1e6:.2f} MB", (left + side / 2, -0.3), ha="center", va="top")
        left += side + 2.5
    axes.set(xlim=(-0.5, left), ylim=(-3, 8), title="The file, to scale", aspect="equal")
    axes.axis("off")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        way, path, *rest = sys.argv[2:]
        if way != "onnxruntime":
            sys.path.insert(0, str(ROOT))
        if way == "prepare":
            prepare(Path(path), Path(rest[0]))
        else:
            measure(way, Path(path), int(rest[0]))
    else:
        main()
