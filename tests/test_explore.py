"""docs/explore.html: it is what its sources make, one small file that loads nothing. tests/browser opens it."""

import hashlib
import json
import re

import pytest

from bnn.analysis.core.comparison import pool_rows
from tests.support import ROOT, assert_refused, call
from tools import explore

# Of the package uplot 1.6.32 of the npm registry.
UPLOT = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uPlot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}


def test_the_page_is_what_its_sources_make():
    assert explore.PAGE.read_text(encoding="utf-8") == explore.page(), "run make explore"


def test_the_page_is_one_small_file_that_loads_nothing():
    text = explore.PAGE.read_text(encoding="utf-8")
    assert len(text.encode()) < 250_000
    assert "default-src 'none'" in text
    assert not re.search(r"<(script|img|iframe|link)[^>]+(src|href)=(?!\"data:)", text)
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|import\(", text)


def test_the_library_of_the_page_is_the_published_one():
    for name, digest in UPLOT.items():
        assert hashlib.sha256((explore.SOURCES / name).read_bytes()).hexdigest() == digest


def test_the_layers_are_those_of_the_published_networks():
    found = {network["name"]: network for network in explore.networks(ROOT / "results")}
    files = sorted((ROOT / "results" / "cifar-10-binary").glob("seed*/metrics.json"))
    pooled = pool_rows([json.loads(file.read_text()) for file in files])
    network = found["cifar-10-binary"]
    assert [layer["name"] for layer in network["layers"]] == list(pooled) and network["seeds"] == 3
    for layer in network["layers"]:
        assert layer["gain"] == pytest.approx(pooled[layer["name"]]["gain"].mean, abs=1e-4)
        assert layer["hidden"] == (layer["name"] not in ("conv_1", "dense_3"))
    assert found["cifar-10-ternary"]["levels"] == 3
    assert found["mnist-conv-binary"]["seeds"] == 1  # of three; the gains of the others were not measured
    assert "conv_1" not in [layer["name"] for layer in found["cifar-10-improved"]["layers"]]  # it is real
    assert "cifar-10-continuous" not in found  # its gains were not measured


def test_a_page_that_is_not_up_to_date_is_refused(tmp_path):
    page = tmp_path / "explore.html"
    assert call("tools/explore.py", "--output", page).returncode == 0
    assert call("tools/explore.py", "--check", "--output", page).returncode == 0
    page.write_text(page.read_text().replace("0.9", "0.8", 1))
    assert_refused(
        call("tools/explore.py", "--check", "--output", page), "expected what its sources make", "explore"
    )
