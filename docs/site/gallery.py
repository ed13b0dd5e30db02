"""The gallery: every figure function of `bnn.plots`, with a picture and the line that makes it.

Pictures and lines come from the stored notebooks. The figures that no notebook draws are drawn here, from results/.
"""

import ast
import base64
import inspect
import re

import nbformat

from bnn import plots

# Names in the paper, or a subject; the function; what it shows.
INDEX = re.compile(r"^ *((?:Figs? .*?|section \d|appendix|ternary|-)) {2,}(\w+) {2,}(.+)$", re.MULTILINE)
NOTEBOOKS = ("hd_figures.ipynb", "gen_plots.ipynb")
FROM_RESULTS = {
    "side_by_side": """seeds = [f"results/mnist-conv-binary/seed{seed}" for seed in (0, 1, 2)]
bnn.plots.side_by_side(bnn.compare(seeds))""",
    "by_setting": """kinds = ("binary", "ternary")
found = bnn.compare([f"results/mnist-conv-{kind}/seed{seed}" for kind in kinds for seed in (0, 1, 2)])
bnn.plots.by_setting(kinds, found.groups)""",
    "errors": """run = bnn.open_run("results/mnist-conv-binary/seed0")
digits = bnn.datasets.load("mnist-5k").train[:2000]
classes, scores = bnn.predict(run, digits.images)
wrong = bnn.models.worst_errors(scores, digits.labels)
margins = bnn.models.margins(scores[wrong])
bnn.plots.errors(digits.images[wrong], digits.labels[wrong], classes[wrong], margins, run.class_names)""",
    "confusion_matrix": """counts = bnn.models.confusion_matrix(scores, digits.labels)
bnn.plots.confusion_matrix(counts, run.class_names)""",
    "laws": """report = bnn.analyze(run.load_model("best"), digits.images[:100])
bnn.plots.laws(report)""",
    "residual_parts": "bnn.plots.residual_parts(report)",
}


def write(folder, root):
    """Write gallery.md and its pictures.

    Args:
        folder: Path; its subfolder gallery/ takes the pictures.
        root: Path of the repository.

    Raises:
        ValueError: a function of the index has no picture.
    """
    (folder / "gallery").mkdir(parents=True, exist_ok=True)
    shown = dict(figure for name in NOTEBOOKS for figure in _of_notebook(root / name))
    shown |= _of_results(root)
    parts = ["# Gallery", "Every figure is one function of `bnn.plots`. Its name leads to its arguments."]
    for number, function, meaning in INDEX.findall(inspect.getdoc(plots)):
        if function not in shown:
            raise ValueError(f"expected a line that draws bnn.plots.{function}: add it to FROM_RESULTS")
        source, picture, alt, place = shown[function]
        (folder / "gallery" / f"{function}.png").write_bytes(picture)
        paper = f" ({number} of the paper)" if number[0] in "Fsa" else ""
        parts += [
            f"## {function}",
            f"`bnn.plots.{function}`: {meaning}{paper}. {place}",
            f"```python\n{source}\n```",
            f"![{alt}](gallery/{function}.png)",
        ]
    (folder / "gallery.md").write_text("\n\n".join(parts) + "\n")


def _of_notebook(path):
    """Yield (function, (its call, the picture, its alternative text, a link)) for the figures of a notebook."""
    for cell in nbformat.read(path, as_version=4).cells:
        pictures = [o for o in cell.get("outputs", ()) if "image/png" in o.get("data", {})]
        calls = _calls(cell.source) if pictures else []
        for function, call in calls[:1]:
            alt = pictures[0].metadata["image/png"].get("alt", "")
            picture = base64.b64decode(pictures[0].data["image/png"])
            yield function, (call, picture, alt, f"From [{path.name}](../../{path.name}).")


def _calls(source):
    """List (function, call) of the calls of `plots` in a cell, without `show`, which displays them."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    calls = [(ast.unparse(node.func), f"bnn.{ast.get_source_segment(source, node)}") for node in nodes]
    return [(name[6:], call) for name, call in calls if name.startswith("plots.") and name != "plots.show"]


def _of_results(root):
    """A dict from the function to (its lines, the picture, its alternative text, "") for those drawn from results/."""
    import bnn

    names, drawn = {"bnn": bnn}, {}
    for function, source in FROM_RESULTS.items():
        *lines, last = source.replace('"results/', f'"{root}/results/').splitlines()
        exec("\n".join(lines), names)
        picture, about = eval(last, names)._repr_png_()
        drawn[function] = source, picture, about["alt"], ""
    return drawn
