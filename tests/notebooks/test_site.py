"""The site of make docs: links, formulas, and its pages in a browser, as wide as a phone and as a laptop."""

import html
import json
import re
import shutil
import subprocess
from urllib.parse import unquote

import pytest
from fontTools.ttLib import TTFont

from tests.support import ROOT

SITE = ROOT / "site"
PAGES = {path.relative_to(SITE).as_posix(): path for path in SITE.rglob("*.html")}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--virtual-time-budget=5000",
    "--dump-dom",
)
WIDTHS = (390, 1366)
LOOKED_AT = (
    "README.html",
    "docs/ideas.html",
    "docs/theory.html",
    "docs/reference/gallery.html",
    "docs/reference/bnn.geometry.html",
    "results/cifar-10.html",
    "gen_plots.html",
)
# Find what extends beyond the right edge of the text and does not scroll, and images that are not drawn.
MEASURE = """<script>addEventListener("load", () => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const scrolls = (e) => e && (/auto|scroll/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const cut = all("article *").filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e));
  parent.postMessage({ name: NAME, width: innerWidth, page: document.documentElement.scrollWidth,
    cut: cut.map((e) => e.outerHTML.slice(0, 80)),
    blank: all("article img").filter((e) => !e.naturalWidth).map((e) => e.src) }, "*");
});</script>"""
LISTEN = """<!doctype html><body><script>addEventListener("message", (e) =>
document.body.append("@" + JSON.stringify(e.data) + "@"));</script>"""

pytestmark = pytest.mark.skipif(not PAGES, reason="needs make docs")


def dom(address, profile):
    """The document of an address of a local file, after its scripts have run."""
    browser = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", f"file://{address}"]
    return subprocess.run(browser, capture_output=True, text=True, timeout=120).stdout


def test_every_link_leads_to_a_page_and_a_heading():
    texts = {path.resolve(): html.unescape(path.read_text()) for path in PAGES.values()}
    ids = {path: set(re.findall(r'id="([^"]+)"', text)) for path, text in texts.items()}
    for path, text in texts.items():
        for link in set(re.findall(r'(?:href|src)="((?![a-z]+:)[^"]+)"', text)):
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file.partition("?")[0]).resolve() if file else path
            assert target.exists(), (path.name, link)
            if anchor and target.suffix == ".html":
                assert anchor in ids[target], (path.name, link)


def test_the_site_needs_no_network():
    for name, path in PAGES.items():
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*src="(\w+:[^"]+)"', path.read_text())
        loaded += re.findall(
            r'<link[^>]*rel="(?:stylesheet|preload)"[^>]*href="(\w+:[^"]+)"', path.read_text()
        )
        assert [address for address in loaded if not address.startswith("data:")] == [], name


def test_formulas_have_a_font_with_the_constants_of_roots_and_fractions():
    font = TTFont(SITE / "_static" / "math.woff")
    constants = font["MATH"].table.MathConstants
    assert constants.RadicalVerticalGap.Value > 0 and constants.FractionNumeratorGapMin.Value > 0
    assert font.getBestCmap()[ord("√")] in font["MATH"].table.MathVariants.VertGlyphCoverage.glyphs
    formulas = [f for path in PAGES.values() for f in re.findall("<math.*?</math>", path.read_text(), re.S)]
    assert len(formulas) > 100
    used = set(html.unescape(re.sub("<.*?>", "", "".join(formulas)))) - set("\n \u00a0")
    assert {char for char in used if ord(char) not in font.getBestCmap()} == set()


def test_code_in_the_text_leads_to_the_reference():
    assert 'href="reference/bnn.geometry.html#module-bnn.geometry"' in PAGES["docs/theory.html"].read_text()
    assert 'href="reference/bnn.layers.html#bnn.layers.QuantDense"' in PAGES["docs/training.html"].read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_nothing_is_cut_and_every_picture_is_drawn(tmp_path):
    (tmp_path / "site").symlink_to(SITE)
    frames = [LISTEN]
    copies = []
    for name in LOOKED_AT:
        copy = PAGES[name].with_name(f"measured-{PAGES[name].name}")
        measure = MEASURE.replace("NAME", json.dumps(name))
        copy.write_text(PAGES[name].read_text().replace("</head>", f"{measure}</head>", 1))
        copies.append(copy)
        frames += [
            f'<iframe src="{copy}" width="{width}" height="800" style="border:0"></iframe>'
            for width in WIDTHS
        ]
    (tmp_path / "frames.html").write_text("".join(frames))
    try:
        found = dom(tmp_path / "frames.html", tmp_path / "profile")
    finally:
        for copy in copies:
            copy.unlink()
    measures = [json.loads(html.unescape(text)) for text in re.findall(r"@({.*?})@", found)]
    assert sorted((m["name"], m["width"]) for m in measures) == sorted(
        (n, w) for n in LOOKED_AT for w in WIDTHS
    )
    for measure in measures:
        assert (measure["cut"], measure["blank"]) == ([], []), measure
        assert measure["page"] <= measure["width"], measure


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_search_finds_a_page_from_disk(tmp_path):
    found = dom(f"{SITE}/search.html?q=residual+gain", tmp_path / "profile")
    results = re.search(r'<ul[^>]*class="search.*?</ul>', found, re.S)[0]
    assert "docs/theory.html" in results and "docs/statistics.html" in results
