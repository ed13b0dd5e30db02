"""The page of a report in a browser: it sorts, shows all columns, fits a phone, and runs nothing that a name holds."""

import numpy as np
import pytest

import bnn
from bnn import pages
from tests.browser.conftest import appear

NAME = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">".replace(
    "/", "-"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    import keras

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(3, 3, name=NAME),
            keras.layers.Conv2D(5, 3, name="second"),
            keras.layers.Flatten(),
            keras.layers.Dense(4, name="out"),
        ]
    )
    report = bnn.analyze(model, np.random.default_rng(0).random((20, 8, 8, 1), "float32"))
    return pages.write(report, tmp_path_factory.mktemp("page") / "geometry.html"), report


def column(browser, place):
    rows = "[...document.querySelectorAll('#statistics tbody tr')]"
    return browser.execute_script(f"return {rows}.map((row) => row.cells[arguments[0]].innerText)", place)


def test_a_press_on_a_heading_sorts_the_table_and_a_second_one_turns_it_around(browser, page):
    path, report = page
    browser.get(path.as_uri())
    d = [str(layer.d) for layer in report]
    assert column(browser, 1) == d == ["9", "27", "80"]
    press = "document.querySelectorAll('#statistics th button')[arguments[0]].click()"
    order = "return document.querySelectorAll('#statistics thead th')[arguments[0]].ariaSort"
    for expected, direction in ((d, "ascending"), (d[::-1], "descending")):
        browser.execute_script(press, 1)
        assert column(browser, 1) == expected and browser.execute_script(order, 1) == direction
    browser.execute_script(press, 0)
    assert column(browser, 0) == sorted([NAME, "out", "second"])
    browser.execute_script(press, 8)  # r activations, which was not measured
    assert sorted(column(browser, 0)) == sorted([NAME, "out", "second"])


def test_a_switch_shows_all_statistics(browser, page):
    browser.get(page[0].as_uri())
    shown = (
        "return [...document.querySelectorAll('#statistics thead th')].filter((e) => e.offsetWidth).length"
    )
    few = browser.execute_script(shown)
    browser.execute_script("document.querySelector('.switch input').click()")
    assert few < 12 and browser.execute_script(shown) > 30


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_the_table_and_not_the_page(browser, page, scheme):
    appear(browser, 390, 844, prefers_color_scheme=scheme)
    browser.get(page[0].as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach((e) => (e.open = true))")
    browser.execute_script("document.querySelector('.switch input').click()")
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390


def test_a_name_that_is_a_script_is_shown_and_not_run(browser, page):
    browser.get(page[0].as_uri())
    assert browser.title == "Geometry of a model"
    assert NAME in browser.execute_script("return document.body.innerText")
    assert browser.execute_script("return document.images.length") >= 3
    assert browser.execute_script("return [...document.images].every((image) => image.naturalWidth > 100)")
