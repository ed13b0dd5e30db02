"""Training speed of the paper's CIFAR-10 network, images a second; with --larq beside Larq's on the same machine.

Medians of 4 repeats of 14 steps on 2 cores of an AMD EPYC with AVX512-BF16 and no AMX, a machine that others used too,
with TensorFlow 2.21 and Keras 3.15; the ratios are to Larq 0.14 in the same precision and in float32:

    precision  batch  images/s  larq  x Larq  x Larq float32
    float32       50       103   101    1.02            1.02
    bfloat16      50       167   163    1.03            1.65
    float32      128       109   111    0.98            0.98
    bfloat16     128       189   180    1.05            1.70

There bfloat16 multiplies only twice as fast as float32. The convolutions alone, timed one by one, take about 210 of a
bfloat16 step's 300 ms at batch 50 (222 with TensorFlow's own kernel gradients), so that little is left to save.

    python benchmarks/training_speed.py --larq LARQ_ENVIRONMENT/bin/python

Every case runs in a process of its own, and the cases take turns, so that a busy moment of the machine strikes all.
Ours goes through `fit` as train.py does it: shuffled batches of uint8 images, loss, metrics, optimizer.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PRECISIONS = ("float32", "bfloat16")


def measure(precision, batch, steps):
    """Train some steps on random images and print the median speed, the first three steps left out."""
    sys.path.insert(0, str(HERE.parent))
    import keras
    import numpy as np

    from bnn.config import ModelConfig, TrainConfig
    from bnn.datasets import Split
    from bnn.models import build_model
    from bnn.training import Batches, compile_model

    model = build_model(ModelConfig(), precision)
    compile_model(model, TrainConfig())
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(batch * steps, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(10, size=batch * steps, dtype=np.uint8)
    times = []
    # The loss in the callback's logs is known, so the step is done.
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: times.append(time.perf_counter())
    )
    model.fit(Batches(Split(images, labels), batch, 0), callbacks=[clock], shuffle=False, verbose=0)
    print(batch / np.median(np.diff(times)[2:]))


def speed(program, precision, batch, steps):
    """Images a second that the program, a list of command words, measures in a process of its own."""
    command = [*map(str, program), precision, str(batch), str(steps)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def processor():
    """The processor's name as Linux gives it."""
    path = Path("/proc/cpuinfo")
    names = [line for line in path.read_text().splitlines() if "model name" in line] if path.is_file() else []
    return names[0].split(":")[1].strip() if names else platform.processor() or "unknown processor"


def main():
    """Measure all cases in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--larq", metavar="PYTHON", help="interpreter of an environment with requirements-larq.txt"
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[50, 128], metavar="N")
    parser.add_argument(
        "--steps", type=int, default=15, metavar="N", help="steps of a measurement (default: 15)"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="measurements of a case (default: 5)"
    )
    args = parser.parse_args()
    programs = {"ours": [sys.executable, __file__, "--measure"]}
    if args.larq:
        programs["larq"] = [args.larq, HERE / "larq_baseline.py"]
    cases = [
        (name, precision, batch) for batch in args.batch for precision in PRECISIONS for name in programs
    ]
    speeds = {case: [] for case in cases}
    for _ in range(args.repeats):
        for name, precision, batch in cases:
            speeds[name, precision, batch].append(speed(programs[name], precision, batch, args.steps))
    median = {case: statistics.median(values) for case, values in speeds.items()}
    python = f"Python {platform.python_version()}"
    print(f"{processor()}, {os.cpu_count()} cores, {python}, {args.repeats} repeats of {args.steps} steps")
    print("      precision  batch  images/s  range   " + " x Larq  x Larq float32" * bool(args.larq))
    for (name, precision, batch), values in speeds.items():
        spread = f"{min(values):.0f}-{max(values):.0f}"
        line = f"{name}  {precision:9}  {batch:5}  {median[name, precision, batch]:8.0f}  {spread:8}"
        if args.larq and name == "ours":
            same, float32 = (
                median["ours", precision, batch] / median["larq", p, batch] for p in (precision, "float32")
            )
            line += f" {same:6.2f}  {float32:14.2f}"
        print(line)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
