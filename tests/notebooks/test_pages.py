"""The pages of the notebooks in a browser, as wide as a phone and as a laptop: nothing is cut, no word is broken."""

import html
import json
import re
import shutil
import subprocess
from urllib.parse import unquote

import nbformat
import pytest
from fontTools.ttLib import TTFont

from tests.support import ROOT
from tools import notebooks

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
LONGEST_WORD = 40  # letters; a longer one, such as a digest, may break on a phone
# Find elements that extend beyond the right edge and do not scroll, and printed words broken across two lines.
MEASURE = """<script>addEventListener("load", () => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const scrolls = (e) => e && (/auto|scroll/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const cut = all("body *").filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e));
  const broken = all(".jp-OutputArea-output pre").flatMap((e) => {
    const text = e.firstChild, range = document.createRange();
    return [...text.data.matchAll(/\\S+/g)].filter((word) => {
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      return word[0].length <= LONGEST && range.getClientRects().length > 1;
    }).map((word) => word[0]);
  });
  parent.postMessage({ width: innerWidth, page: document.documentElement.scrollWidth,
    cut: cut.map((e) => e.outerHTML.slice(0, 80)), broken,
    boxes: all(".highlight, div:has(> table)").filter((e) => e.scrollWidth > e.clientWidth).length }, "*");
});</script>""".replace("LONGEST", str(LONGEST_WORD))
FRAMES = """<script>addEventListener("message", (e) => document.body.append("@" + JSON.stringify(e.data) + "@"));
</script>""" + "".join(
    f'<iframe src="page.html" width="{w}" height="800" style="border:0"></iframe>' for w in WIDTHS
)


def test_every_link_of_the_report_leads_to_a_page_and_a_heading(tmp_path):
    report = tmp_path / "report"
    for path in notebooks.NOTEBOOKS:
        notebooks.write_page(notebooks.read(path), report / f"{path.stem}.html")
    for path in notebooks.TEXTS:
        notebooks.write_text(path, report)
    assert notebooks.write_index(report) == report / "index.html"
    pages = {path.resolve(): path.read_text() for path in report.rglob("*.html")}
    links = {}
    for path, text in pages.items():
        for link in re.findall(r'href="((?![a-z]+:)[^"]+)"', text):
            file, _, anchor = unquote(html.unescape(link)).partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.exists(), (path.name, link)
            assert (
                not anchor or target.suffix != ".html" or f'id="{anchor}"' in html.unescape(pages[target])
            ), link
            links.setdefault(path.name, set()).add(target.name)
    assert {"gen_plots.html", "hd_figures.html", "theory.html"} <= links["index.html"]
    assert {"hd_figures.html", "theory.html", "README.html"} <= links["gen_plots.html"]
    assert "index.html" in links["theory.html"]


def test_formulas_have_a_font_with_the_constants_of_roots_and_fractions():
    font = TTFont(notebooks.FONT)
    constants = font["MATH"].table.MathConstants
    assert constants.RadicalVerticalGap.Value > 0 and constants.FractionNumeratorGapMin.Value > 0
    assert font.getBestCmap()[ord("√")] in font["MATH"].table.MathVariants.VertGlyphCoverage.glyphs
    formulas = []
    for path in (*notebooks.NOTEBOOKS, ROOT / "docs" / "theory.md"):
        notebooks._formulas_out(path.read_text().replace("\\\\", "\\"), formulas)
    assert len(formulas) > 100
    used = set(html.unescape(re.sub("<.*?>", "", "".join(formulas)))) - set("\n \u00a0")
    assert {char for char in used if ord(char) not in font.getBestCmap()} == set()


def test_code_can_be_hidden_without_a_script(tmp_path):
    page = notebooks.write_page(notebooks.read(ROOT / "hd_figures.ipynb"), tmp_path / "page.html").read_text()
    assert '<input type="checkbox" id="hide-code">' in page and "body:has(#hide-code:checked)" in page


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_nothing_is_cut_and_no_word_is_broken(tmp_path):
    page = notebooks.write_page(nbformat.read(ROOT / "gen_plots.ipynb", as_version=4), tmp_path / "page.html")
    page.write_text(page.read_text().replace("</head>", f"{MEASURE}</head>", 1))
    (tmp_path / "frames.html").write_text(f"<!doctype html><body>{FRAMES}")
    browser = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"file://{tmp_path}/frames.html"]
    dom = subprocess.run(browser, capture_output=True, text=True, timeout=120).stdout
    measures = sorted(map(json.loads, re.findall(r"@({.*?})@", dom)), key=lambda found: found["width"])
    assert [found["width"] for found in measures] == list(WIDTHS)
    for found in measures:
        assert found["page"] <= found["width"]
        assert found["cut"] == []
        assert found["broken"] == []
    assert measures[0]["boxes"] > 0  # wide code and tables scroll
