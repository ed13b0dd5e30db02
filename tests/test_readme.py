"""The example of the README, executed as printed there, in another folder."""

import json
import os
import re
import subprocess
import sys

import numpy as np
from PIL import Image

from tests.support import ROOT


def test_the_example_of_the_readme_runs_as_printed(tmp_path):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    path = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "runs" / "first" / "metrics.json").read_text())
    r = {row["layer"]: row["r_weights"] for row in metrics["layers"]}
    assert list(r)[1] == "conv_2" and f"{r['conv_2']} {{}}" in done.stdout
    assert re.search(r"^ +layer +d +units", done.stdout, re.M) and "Total params" in done.stdout
    assert np.asarray(Image.open(tmp_path / "fig3.png")).std() > 0
