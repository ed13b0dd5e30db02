"""Pages of reports and comparisons: complete, escaped, without a network; what stands out in rows of statistics."""

import json
import re
from html.parser import HTMLParser

import keras
import numpy as np
import pytest

import bnn
from bnn import pages, plots
from bnn.analysis.core import findings, statistics
from bnn.analysis.core.checks import ReportError
from bnn.analysis.core.report import Report
from bnn.files.atomic import WriteError
from bnn.pages import parts
from tests.support import ROOT, assert_refused, call, unwrapped

HOSTILE = "<script>alert('1')<b> & \"two\""


class Reader(HTMLParser):
    """The tags, the attributes and the texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.values = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def report():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(3, 3, name=HOSTILE),
            keras.layers.Flatten(),
            keras.layers.Dense(4, name="out"),
        ]
    )
    return bnn.analyze(model, np.random.default_rng(0).random((20, 8, 8, 1), "float32"))


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "new" / "geometry.html"
    assert pages.write(report, path) == path
    return path.read_text(encoding="utf-8")


def test_the_page_has_every_statistic_of_every_layer(page, report):
    numbers = [float(value) for value in re.findall(r"data-value='([^']+)'", page)]
    expected = [
        row[one.key]
        for row in report.rows()
        for one in statistics.STATISTICS
        if one.key != "layer" and row[one.key] is not None and not np.isnan(row[one.key])
    ]
    assert sorted(numbers) == sorted(map(float, expected))
    for one in statistics.STATISTICS:
        assert parts.prose(one.meaning) in page and f"<code>{one.key}</code>" in page


def test_a_name_is_text_whatever_it_is(page):
    reader = Reader(page)
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert HOSTILE in reader.texts and "<b>" not in page.replace("<b>2</b>", "")
    assert all(not name.startswith("on") for _, attributes in reader.tags for name in attributes)


def test_the_page_is_one_file_that_loads_nothing_and_runs_one_script(page):
    reader = Reader(page)
    assert {tag for tag, _ in reader.tags}.isdisjoint({"iframe", "object", "embed", "base", "form"})
    sources = [value for _, a in reader.tags for name, value in a.items() if name in ("src", "href")]
    assert sources and all(value.startswith("data:") for value in sources)
    assert "default-src 'none'" in page and "script-src 'sha256-" in page
    pictures = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert len(pictures) >= 3 and all(picture["alt"] for picture in pictures)


def test_what_stands_out_has_the_rule_its_threshold_and_what_to_do(page, report):
    found = findings.find(report.rows())
    assert found
    for finding in found:
        assert parts.text(finding.rule.advice) in page
    for rule in findings.RULES:
        assert parts.text(rule.condition) in page


ROW = {"layer": "a", "r_within": 0.97, "r_within_min": 0.9, "r_two_numbers": 0.97, "gain": 9.0, "angle_mean_deg": 38.0,
       "angle_theory_deg": 37.0, "r_scores": 0.99, "zeros": 0.0, "constant_units": 0}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "index"),
    [
        ({"r_scores": 0.89}, 0),
        ({"r_within": 0.89, "r_two_numbers": 0.89, "r_within_min": 0.8}, 1),
        ({"r_two_numbers": 0.93}, 2),
        ({"r_within_min": 0.4}, 3),
        ({"gain": 1.4}, 4),
        ({"angle_mean_deg": 42.5}, 5),
        ({"zeros": 0.85}, 6),
        ({"constant_units": 1}, 7),
    ],
)
def test_a_rule_holds_beyond_its_threshold(change, index):
    assert findings.find([ROW]) == []
    (finding,) = findings.find([ROW, ROW | {"layer": "b"} | change])
    assert finding.layer == "b" and finding.rule is findings.RULES[index]
    unknown = {key: None if i % 2 else np.nan for i, key in enumerate(change)}
    assert findings.find([ROW | unknown]) == []
    assert findings.find([{"layer": "old"}]) == []


def test_a_kernel_that_stays_real_has_no_low_gain():
    assert findings.find([ROW | {"gain": 0.4, "angle_mean_deg": 0.0, "angle_theory_deg": 0.0}]) == []


def test_the_figures_name_the_same_exceptions():
    from bnn.plots import gain

    assert findings.EXCEPTION == gain.EXCEPTION


def test_a_figure_that_cannot_be_drawn_is_named():
    def fails():
        raise ValueError("no <axes>")

    text = parts.figures({"broken": fails, "staircases": lambda: plots.staircases({"sign": ([0], [-1, 1])})})
    assert "broken: this figure could not be drawn (ValueError: no &lt;axes&gt;)" in text


def test_undefined_and_missing_numbers_are_said(report):
    assert parts.number(None, 3) == "<td title='not measured'>&ndash;</td>"
    assert parts.number(float("nan"), 3) == "<td title='not defined'>NaN</td>"
    assert parts.number(-0.5, 2) == "<td data-value='-0.5'>&minus;0.50</td>"
    assert parts.text("a\x00b\u202ec") == "a\ufffdb\ufffdc"


def test_what_is_neither_a_report_nor_a_comparison_is_refused(tmp_path):
    with pytest.raises(ReportError, match="expected a Report or a Comparison, received a dict"):
        pages.write({}, tmp_path / "x.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(WriteError):
        pages.write(Report([]), tmp_path / "folder.html")


@pytest.mark.slow
def test_the_command_line_writes_the_page_of_a_run(trained, tmp_path):
    run, page = trained[0], tmp_path / "one.html"
    process = call(
        "analyze.py", run, "--images", 30, "--score_images", 0, "--output", tmp_path, "--html", page
    )
    assert process.returncode == 0 and f"wrote {page}" in unwrapped(process.stdout), process.stderr
    text = page.read_text(encoding="utf-8")
    assert "conv_1" in text and json.loads((run / "config.json").read_text())["settings_sha256"] in text


def test_the_page_of_a_run_has_its_settings_and_how_it_was_trained():
    folder = ROOT / "results" / "mnist-conv-binary" / "seed0"
    about = {"run": str(folder), "network": "binary", "origin": "trained on MNIST", "images": 20}
    text = pages.html(Report([], about=about | {"test_accuracy": 0.9919, "test_images": 10000}))
    config = json.loads((folder / "config.json").read_text())
    assert "Geometry of mnist-conv-binary/seed0" in text and "0.9919" in text
    for expected in (
        config["settings_sha256"],
        config["git_commit"],
        config["data"]["digest"],
        "bop_threshold",
    ):
        assert expected in text


def test_the_command_line_writes_the_page_of_several_runs(tmp_path):
    folders = [ROOT / "results" / name for name in ("cifar-10-binary", "cifar-10-ternary")]
    process = call("analyze.py", *folders, "--html", tmp_path / "several.html")
    assert process.returncode == 0 and f"wrote {tmp_path / 'several.html'}" in process.stdout, process.stderr
    text = (tmp_path / "several.html").read_text(encoding="utf-8")
    compared = bnn.compare(folders)
    for group in compared.groups:
        pooled = group.layers["conv_2"]["gain"]
        assert f"<td data-value='{pooled.mean!r}'>{pooled.text(2)}</td>" in text
        assert group.test_accuracy.text(4) in text and parts.text(group.description) in text
    assert text.count("<img ") == 1


@pytest.mark.parametrize("flags", [(), ("model.keras", "--budget", "2")])
def test_the_page_needs_a_network_to_analyze(flags, tmp_path):
    process = call("analyze.py", *flags, "--html", tmp_path / "x.html")
    assert (
        process.returncode == 2 and "argument --html: expected a network" in process.stderr.splitlines()[-1]
    )


def test_the_page_needs_a_folder_that_exists(tmp_path):
    process = call("analyze.py", tmp_path, "--html", tmp_path / "none" / "x.html")
    assert process.returncode == 2 and "expected a file in a folder that exists" in process.stderr


def test_a_damaged_run_is_refused_in_one_line(tmp_path):
    assert_refused(call("analyze.py", tmp_path / "none", "--html", tmp_path / "x.html"), "none")
    assert not (tmp_path / "x.html").exists()
