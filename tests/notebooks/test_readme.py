"""The example of the README, executed as printed there, as a notebook in another folder."""

import ast
import base64
import io
import json
import os
import re

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from tests.support import ROOT

OWN_MODEL = """import keras
import numpy as np
data = run.load_data()
images, targets = data.test.images / 255, data.test.labels
layer = keras.layers.Dense(10)
model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), layer])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
model.fit(images, targets, verbose=0)"""
SHOWN = ("bnn.plots.dot_products(report)", "report", 'report["conv_2"]', "run", "run.load_data()")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """(folder, cells) of a notebook with one cell per statement of the README and for each of `SHOWN`."""
    folder = tmp_path_factory.mktemp("readme")
    library, pairs = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    sources = [*map(ast.unparse, ast.parse(library).body), *SHOWN, OWN_MODEL]
    sources += map(ast.unparse, ast.parse(pairs).body)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    path = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    client = NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, "PYTHONPATH": path})
    return folder, book.cells


def test_the_example_of_the_readme_runs_as_printed(executed):
    folder, cells = executed
    outputs = [output for cell in cells for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    metrics = json.loads((folder / "runs" / "first" / "metrics.json").read_text())
    assert metrics["layers"][1]["layer"] == "conv_2"
    assert re.search(r"^ +layer +d +units", printed, re.M)
    assert (folder / "model.npz").stat().st_size < (folder / "model.keras").stat().st_size / 8
    assert np.asarray(Image.open(folder / "fig3.png")).std() > 0


def test_a_notebook_draws_the_figure_and_shows_tables(executed):
    figure, report, layer, run, data = (
        [output for output in cell.outputs if output.output_type == "execute_result"]
        for cell in executed[1]
        if cell.source in SHOWN
    )
    (drawn,) = figure
    image = Image.open(io.BytesIO(base64.b64decode(drawn.data["image/png"])))
    assert np.asarray(image).std() > 0 and image.width > drawn.metadata["image/png"]["width"] > 400
    assert "Fig 3" in drawn.metadata["image/png"]["alt"]
    for output, told in zip(
        (report, layer, run, data), ("conv_2", "gain", "validation accuracy", "4,000"), strict=True
    ):
        assert "<table>" in output[0].data["text/html"] and told in output[0].data["text/html"]
