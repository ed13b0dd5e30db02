"""Inference of the paper's CIFAR-10 network as bits, in Keras, onnxruntime and OpenVINO: speed, latency, size, memory.

    python benchmarks/inference_speed.py
    python benchmarks/inference_speed.py --onnxruntime PYTHON --openvino PYTHON  # of requirements-peers.txt

packed         `bnn.packed`, compiled by numba
packed-1       the same on one thread
numpy          the same without numba
float32        Keras, the same weights in float32: `predict` at batch 100, a compiled call at batch 1
bfloat16       the same in bfloat16, where the processor has it
onnxruntime    the ONNX graph that bnn export writes, in float32
openvino       the graph of bits that bnn export --format openvino writes
openvino-1     the same on one thread
openvino-int8  that graph with products of 8-bit numbers instead of bits, from -1 to 1 in 255 levels
ternary        a packed network of the same sizes with ternary weights and activations, not trained

Every case runs in a process of its own, and the cases take turns, so that a busy moment of the machine strikes all. All
but the last are the same network; the column "scores" is the largest difference from those of the packed network. CPU
time, of all threads, hardly depends on what else the machine does. At batch 1, median and 99th percentile are those of
--calls calls, or of those of six seconds. Memory is the process's peak. The limit is that of XOR, popcount and addition
on registers, `bnn.bits.popcount_limit`, on one core; what is compared with it is all binary products for an image in
its CPU time. At the end stands the time from `import bnn.packed` to the first answer, with compiled code on the disk or
without.
"""

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import ROOT, in_turns, machine, spread

RUN = ROOT / "results" / "cifar-10-binary" / "seed0"
FILES = {
    "packed": "packed.npz",
    "packed-1": "packed.npz",
    "numpy": "packed.npz",
    "float32": "float32.keras",
    "bfloat16": "bfloat16.keras",
    "onnxruntime": "network.onnx",
    "openvino": "openvino.xml",
    "openvino-1": "openvino.xml",
    "openvino-int8": "int8.xml",
    "ternary": "ternary.npz",
}
PEERS = ("onnxruntime", "openvino")  # the first parts of the names of their cases
BATCH = 100
COMPARED = 20  # images
PATIENCE = 4  # seconds for all calls at batch 1


def prepare(run, folder):
    """Write the network in every form and its scores, and print the binary operations for one image."""
    import numpy as np
    import onnx

    import bnn
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
        network = packed.pack(model)
        network.save(folder / FILES["packed"])
        packed.pack(bnn.build(input_shape=(32, 32, 3), levels=3)).save(folder / FILES["ternary"])
        np.save(folder / "scores.npy", network.scores(images_of(COMPARED)))
    onnx.save(packed.onnx_model(model), folder / FILES["onnxruntime"])
    write_openvino(network, folder)
    macs = models.summary(model).total.macs
    print(2 * sum(count for (weights, inputs), count in macs.items() if inputs == weights == 1))


def images_of(n):
    """Random images."""
    import numpy as np

    return np.random.default_rng(0).integers(256, size=(n, 32, 32, 3), dtype=np.uint8)


def write_openvino(network, folder):
    """Write the OpenVINO graph of bits, and one that multiplies 8-bit numbers instead."""
    import numpy as np
    import openvino
    from openvino import opset8

    from bnn.packed import openvino_graph

    class Int8(openvino_graph._Graph):
        def activations(self, x, layer, copies):
            super().activations(x, layer, copies)
            x = self.signs[-1][1]
            x = self.flat(x) if layer.dense else self.transposed(x, [0, 3, 1, 2])
            low, high = np.full((1, 1, 1, 1), -1, np.float32), np.full((1, 1, 1, 1), 1, np.float32)
            return self.ops.fake_quantize(x, *map(self.constant, (low, high, low, high)), 255)

        def binary_convolution(self, x, weights, dense):
            levels = self.ops.convert(self.constant(weights.astype(np.int8)), "f32")
            levels = self.ops.multiply(levels, self.constant(np.ones((len(weights), 1, 1, 1), np.float32)))
            return self.ops.convolution(x, levels, [1, 1], *openvino_graph._pads(weights, dense), [1, 1])

    for name, graph in (("openvino", openvino_graph._Graph), ("int8", Int8)):
        built = graph(openvino, opset8)
        model = built.model(network, [("scores", built.of(network))])
        openvino.serialize(model, folder / f"{name}.xml", folder / f"{name}.bin")


def packed_network(path, threads=None):
    """(function for many images, function for one) of a packed network, on all threads or that many."""
    import numba

    from bnn import packed

    numba.set_num_threads(threads or numba.get_num_threads())
    network = packed.PackedNetwork.load(path)
    return network.scores, network.scores


def without_numba(path):
    """The same with NumPy alone."""
    from bnn import packed

    sys.modules["numba"] = None
    network = packed.PackedNetwork.load(path)
    return network.scores, network.scores


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
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    run = lambda x: session.run(None, {"images": x})[0]  # noqa: E731
    return lambda x: np.concatenate([run(x[i : i + BATCH]) for i in range(0, len(x), BATCH)]), run


def openvino_network(path, threads=None):
    """The same of an OpenVINO graph, one for each batch size; imports nothing of this package."""
    import numpy as np
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    options |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
    requests = {}

    def run(x):
        if len(x) not in requests:
            graph = core.read_model(path)
            graph.reshape(list(x.shape))
            requests[len(x)] = core.compile_model(graph, "CPU", options).create_infer_request()
        return requests[len(x)].infer([x])[0].copy()

    return lambda x: np.concatenate([run(x[i : i + BATCH]) for i in range(0, len(x), BATCH)]), run


NETWORKS = {
    "packed": packed_network,
    "packed-1": lambda path: packed_network(path, 1),
    "numpy": without_numba,
    "float32": keras_network,
    "bfloat16": keras_network,
    "onnxruntime": onnx_network,
    "openvino": openvino_network,
    "openvino-1": lambda path: openvino_network(path, 1),
    "openvino-int8": openvino_network,
    "ternary": packed_network,
}


def measure(way, path, n, calls):
    """Print what `report` shows: speeds, latencies, memory, the limit of one core if packed, difference of scores."""
    import numpy as np

    images = images_of(n)
    many, one = NETWORKS[way](path)
    difference = np.abs(many(images_of(COMPARED)) - np.load(path.parent / "scores.npy")).max()
    many(images[:BATCH])
    one(images[:1])
    seconds, cpu = timed(many, images)
    singles, end = [], time.perf_counter() + PATIENCE
    while len(singles) < calls and time.perf_counter() < end:
        singles.append(timed(one, images[len(singles) % n][None]))
    single, cpu_single = np.median(singles, axis=0)
    slow = np.quantile([wall for wall, _ in singles], 0.99)
    most = limit() if way == "packed" else 0
    print(
        n / seconds, 1000 * cpu / n, 1000 * single, 1000 * slow, 1000 * cpu_single, peak(), most, difference
    )


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


FIRST_ANSWER = """
import sys, time
start = time.perf_counter()
import numpy as np, bnn.packed
from bnn import bits
network = bnn.packed.load(sys.argv[1])
image = np.zeros((1, 32, 32, 3), np.uint8)
if sys.argv[2] == "numpy":
    with bits.numpy_alone():
        network.scores(image)
else:
    network.scores(image)
print(time.perf_counter() - start)
"""


def first_answers(path):
    """Print the seconds from `import bnn.packed` to the first answer."""
    with tempfile.TemporaryDirectory() as cache:
        cases = [("numba, nothing compiled", "numba", cache), ("numba, compiled before", "numba", cache)]
        for name, way, folder in [*cases, ("NumPy alone", "numpy", cache)]:
            line = [sys.executable, "-c", FIRST_ANSWER, path, way]
            environment = os.environ | {"NUMBA_CACHE_DIR": folder}
            done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
            print(f"first answer, {name}: {float(done.stdout):.2f} s")


def programs(args, folder):
    """The command of each case that this machine has, or that was asked for."""
    present = {way: folder / file for way, file in FILES.items() if (folder / file).is_file()}
    pythons = {"onnxruntime": args.onnxruntime, "openvino": args.openvino}
    return {
        way: [
            pythons.get(way.partition("-")[0], sys.executable),
            *(__file__, "--measure", way, path, args.images, args.calls),
        ]
        for way, path in present.items()
        if way in (args.cases or present)
    }


def main():
    """Measure all cases in turns and print the table."""
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--run",
        type=Path,
        default=RUN,
        metavar="RUN",
        help="run of a network for CIFAR-10 (default: the published one)",
    )
    for peer in ("onnxruntime", "openvino"):
        add(
            f"--{peer}",
            default=sys.executable,
            metavar="PYTHON",
            help=f"interpreter of an environment with {peer}, as of requirements-peers.txt (default: this one)",
        )
    add(
        "--cases",
        nargs="+",
        choices=FILES,
        metavar="CASE",
        help=f"only these of {', '.join(FILES)}, packed among them",
    )
    add(
        "--images",
        type=int,
        default=300,
        metavar="N",
        help="images per measurement at batch 100 (default: 300)",
    )
    add("--calls", type=int, default=2000, metavar="N", help="calls at batch 1 (default: 2000)")
    add("--repeats", type=int, default=3, metavar="N", help="measurements (default: 3)")
    add("--figure", type=Path, metavar="FILE", help="draw sizes and CPU times to this PNG file")
    args = parser.parse_args()
    if args.cases and "packed" not in args.cases:
        parser.error(f"argument --cases: expected packed among them, received {' '.join(args.cases)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = {"prepare": [sys.executable, __file__, "--measure", "prepare", args.run.resolve(), folder]}
        ((operations,),) = in_turns(prepared, 1)["prepare"]
        cases = programs(args, folder)
        figures = in_turns(cases, args.repeats)
        sizes = {way: size_of(folder / FILES[way]) for way in cases}
        print(
            f"{machine('keras', 'numba')}; medians of {args.repeats}, batches of {BATCH}, {args.calls} calls at batch 1"
        )
        report(figures, sizes, operations)
        first_answers(folder / FILES["packed"])
    if args.figure:
        draw(figures, sizes, args.figure)


def size_of(path):
    """The bytes of a file, and of the weights that OpenVINO has in another one."""
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)


def report(figures, sizes, operations):
    """Print the table."""
    median = {
        way: [statistics.median(column) for column in zip(*rows, strict=True)]
        for way, rows in figures.items()
    }
    print("               images/s        range  CPU ms/image  ms at batch 1        range    99%  CPU ms  MB on disk"
          "  peak MB   scores")  # fmt: skip
    for way, rows in figures.items():
        speeds, _, singles, *_ = zip(*rows, strict=True)
        speed, cpu, single, slow, cpu_single, memory, _, difference = median[way]
        same = "another" if way == "ternary" else f"{difference:.0e}"
        print(
            f"{way:>13}  {speed:8.1f}  {spread(speeds, 1):>11}  {cpu:12.2f}  {single:13.2f}  {spread(singles, 2):>11}"
            f"  {slow:5.2f}  {cpu_single:6.2f}  {sizes[way] / 1e6:10.2f}  {memory:7.0f}  {same:>7}"
        )
    cpu, most = median["packed"][1], median["packed"][6]
    reached = 1000 * operations / cpu
    print(
        f"packed: {reached / 1e12:.2f} of {most / 1e12:.2f} TOP/s on a core, {reached / most:.0%} of the limit"
    )
    for other in figures:
        own = "packed-1" if other == "openvino-1" and "packed-1" in figures else "packed"
        if other in ("packed", "packed-1"):
            continue
        batch, batch_cpu, one, slow, one_cpu = (median[own][i] / median[other][i] for i in range(5))
        print(
            f"{own} takes of {other}: {1 / batch:.2f} of the time at batch {BATCH}, {batch_cpu:.2f} of the CPU time; "
            f"at batch 1 {one:.2f} of the time, {slow:.2f} at the 99th percentile, {one_cpu:.2f} of the CPU time"
        )


def draw(figures, sizes, path):
    """Files as squares to scale beside bars of CPU time."""
    from matplotlib.figure import Figure

    from bnn.plots import style

    names = {
        "float32": "Keras, float32",
        "bfloat16": "Keras, bfloat16",
        "onnxruntime": "onnxruntime, float32",
        "openvino-int8": "OpenVINO, 8 bits",
        "openvino": "OpenVINO, bits",
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
        if not way.startswith(PEERS):
            sys.path.insert(0, str(ROOT))
        if way == "prepare":
            prepare(Path(path), Path(rest[0]))
        else:
            measure(way, Path(path), *map(int, rest))
    else:
        main()
