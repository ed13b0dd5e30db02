"""A model on paper of data-parallel training, from measured pieces, and its check on this machine.

    step(P) = t(b) + 2 (P - 1) / P G / beta + k lambda(P)

t(b) is the time of a step on one device with its b images. G bytes of gradients go through a ring all-reduce among P
devices, over links of bandwidth beta. lambda is the time of the smallest all-reduce, and k their number in a step: four
for each batch norm, whose moments and their gradients are of the whole batch and wait for each other, two for the loss
and the accuracy, and those of the gradients, which XLA combines on accelerators but not on a processor. Nothing
overlaps, so real times can be smaller.

    python benchmarks/scaling.py                          # the table of docs/sweeps.md, in Markdown
    KERAS_BACKEND=jax python benchmarks/scaling.py check  # measures the pieces and jobs of 2 and 4 processes here
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RATE = 41_000  # images per second of the paper's network on one H200, bfloat16, batch 50: docs/speed.md
MACS, WEIGHTS = 617.0e6, 14.02e6  # of the paper's network per image: train.py --summary
# Multiply-accumulates per image, weights, batch norms, images per device. The second is a network of ImageNet's size:
# Bi-Real net with 18 layers, Liu et al. 2018.
NETWORKS = {"paper, CIFAR-10": (MACS, WEIGHTS, 9, 50), "ImageNet-sized": (1.81e9, 11.7e6, 20, 64)}
# Assumed, not measured: (devices, bandwidth in bytes per second, seconds of the smallest all-reduce).
LINKS = ((8, 360e9, 20e-6), (64, 40e9, 80e-6))
BATCH, STEPS, SMALL, LARGE = 64, 30, 1, 1 << 20


class Link(NamedTuple):
    """The links among devices: bytes per second, and seconds of the smallest all-reduce."""

    bandwidth: float
    smallest: float


def all_reduce(devices, size, number, link):
    """Seconds of a number of all-reduces of some bytes together."""
    return 2 * (devices - 1) / devices * size / link.bandwidth + number * link.smallest


def in_a_step(norms, gradients):
    """The number of all-reduces in a step, with those of the gradients."""
    return 4 * norms + 2 + gradients


def fitted(devices, small, large):
    """The Link that explains the times of two all-reduces, of `SMALL` and `LARGE` float32 numbers."""
    seconds = max(large - small, 1e-9)
    return Link(2 * (devices - 1) / devices * 4 * (LARGE - SMALL) / seconds, small)


def table():
    """The lines of a Markdown table for the networks on 1, 8 and 64 accelerators."""
    lines = [
        "| network, images per device | devices | compute, ms | all-reduce, ms | images/s | efficiency | equal at |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, (macs, weights, norms, images) in NETWORKS.items():
        each = macs / MACS / RATE
        for devices, *link in ((1, 1.0, 0.0), *LINKS):
            number = in_a_step(norms, 1)
            reduced = all_reduce(devices, 4 * weights, number, Link(*link)) if devices > 1 else 0.0
            step = images * each + reduced
            cells = [
                f"{name}, {images}",
                devices,
                f"{1e3 * images * each:.2f}",
                f"{1e3 * reduced:.2f}",
                f"{devices * images / step:,.0f}",
                f"{images * each / step:.2f}",
                f"{reduced / each:.0f} images" if reduced else "",
            ]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def check(processes):
    """Measure one process with all and with parts of the batch, then jobs, and print model and measurement."""
    alone = {part: run(1, BATCH // part)["step"] for part in (1, *processes)}
    cores = len(os.sched_getaffinity(0))
    print(
        f"{cores} cores; one process, ms: "
        + ", ".join(f"{BATCH // p} images {1e3 * t:.1f}" for p, t in alone.items())
    )
    for count in processes:
        found = run(count, BATCH)
        link = fitted(count, found["small"], found["large"])
        reduced = all_reduce(count, found["bytes"], in_a_step(found["norms"], found["gradients"]), link)
        turns = max(1, count / cores)  # processes that share a core wait for each other
        print(
            f"{count} processes: compute {1e3 * turns * alone[count]:.1f} + all-reduce {1e3 * reduced:.1f} = "
            f"{1e3 * (turns * alone[count] + reduced):.1f} ms, measured {1e3 * found['step']:.1f} ms "
            f"(bandwidth {link.bandwidth / 1e9:.2f} GB/s, smallest all-reduce {1e3 * link.smallest:.2f} ms)"
        )


def run(count, batch_size):
    """What process 0 of a job of `count` processes measured, a dict."""
    with socket.socket() as listener, tempfile.TemporaryDirectory() as folder:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        listener.close()
        one = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        environment = os.environ | {"XLA_FLAGS": one, "KERAS_BACKEND": "jax"}
        result = Path(folder) / "result.json"
        lines = [
            [sys.executable, __file__, "work", address, str(count), str(i), str(batch_size), str(result)]
            for i in range(count)
        ]
        jobs = [subprocess.Popen(line, env=environment, stderr=subprocess.PIPE) for line in lines]
        for job in jobs:
            _, error = job.communicate()
            if job.returncode:
                sys.exit(error.decode()[-500:])
        return json.loads(result.read_text())


def work(address, count, index, batch_size, result):
    """Time the steps of a small network as one process of a job, and in process 0 write the result."""
    sys.path.insert(0, str(ROOT))
    import keras
    import numpy as np

    from bnn.datasets import Split
    from bnn.models import build_model
    from bnn.settings.config import ModelConfig, TrainConfig
    from bnn.training import Batches, Processes, compile_model, distribution

    team = distribution.start(Processes(address, count, index) if count > 1 else None)
    rng, n = np.random.default_rng(0), STEPS * batch_size
    split = Split(
        rng.integers(0, 256, (n, 28, 28, 1), dtype=np.uint8), rng.integers(10, size=n).astype(np.uint8)
    )
    ends = []
    timer = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append((float(logs["loss"]), time.perf_counter()))
    )
    with team.scope():
        keras.utils.set_random_seed(0)
        model = build_model(ModelConfig(input_shape=(28, 28, 1), conv=(16, 32), max_pool=(1, 1), fc=(128,)))
        compile_model(model, TrainConfig(batch_size=batch_size))
        batches = Batches(split, batch_size, 0, share=team.share(batch_size))
        model.fit(batches, epochs=2, callbacks=[timer], shuffle=False, verbose=0)
    times = [time for _, time in ends]
    steps = np.diff(times[len(times) // 2 :])
    found = {"step": statistics.median(steps), "bytes": 4 * model.count_params()}
    found["gradients"] = len(model.trainable_variables)
    found["norms"] = sum(layer.name.endswith("_norm") for layer in model.layers)
    if count > 1:
        found |= {name: reduced(team, size) for name, size in (("small", SMALL), ("large", LARGE))}
    if team.writes:
        Path(result).write_text(json.dumps(found))


def reduced(team, size):
    """Median seconds of an all-reduce of float32 numbers."""
    import jax
    import numpy as np

    from bnn.training.jax_epoch import placed

    rows = placed(np.ones((team.devices, size), np.float32), team, "batch")
    whole = placed(np.zeros(()), team).sharding
    summed = jax.jit(lambda rows: rows.sum(axis=0), out_shardings=whole)
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        jax.block_until_ready(summed(rows))
        times.append(time.perf_counter() - begin)
    return statistics.median(times[5:])


def main():
    """Print the table, or measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=("table", "check", "work"),
        default="table",
        help="table: print the table of docs/sweeps.md; check: compare the formula with trainings of 2 and 4 processes "
        "on this machine; work: one of these processes",
    )
    parser.add_argument("job", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.what == "work":
        address, count, index, batch_size, result = args.job
        work(address, int(count), int(index), int(batch_size), result)
    elif args.what == "check":
        check([int(count) for count in args.job] or [2, 4])
    else:
        print("\n".join(table()))


if __name__ == "__main__":
    main()
