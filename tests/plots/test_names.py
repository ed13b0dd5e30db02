"""Names of users in figures: nothing is parsed, dropped or made equal; settings of users do not matter."""

import dataclasses
import warnings
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.cbook import is_math_text
from matplotlib.text import Text

from bnn import plots
from bnn.analysis.core.comparison import Pooled
from bnn.plots import comparison, fonts
from bnn.plots.names import plain, shortened

NAMES = ["$x_1$", r"a\frac$b$", "_hidden", "x^2_$$", "a" * 30 + "1", "a" * 30 + "2", "new\nline", "caf\udce9"]

LOG = {"epoch": 1, "accuracy": 0.5, "val_accuracy": 0.5, "loss": 1.0, "val_loss": 1.0, "flip_ratio": 0.1}


def test_a_class_name_is_drawn_as_it_is(tmp_path):
    fig = plots.confusion_matrix(np.eye(len(NAMES), dtype=int), NAMES)
    plots.save(fig, tmp_path / "c", ("svg",))
    drawn = (tmp_path / "c.svg").read_text()
    assert all(f">{text}<" in drawn for text in ("$x_1$", r"a\frac$b$", " _hidden", "x^2_$$"))
    ticks = [label.get_text() for label in fig.axes[0].get_xticklabels()]
    assert len(set(ticks)) == len(NAMES)


def test_names_are_told_apart_after_a_cut():
    assert shortened(["a" * 30 + "1", "a" * 30 + "2", "short"], 8) == ["aaaaaa…0", "aaaaaaa…", "short"]
    assert shortened(["a" * 30, "b"], 8) == ["aaaaaaa…", "b"]
    assert plain("caf\udce9") == "caf\ufffd"


@pytest.mark.parametrize("settings", [{"text.usetex": True}, {"font.family": ["fantasy"], "savefig.dpi": 7}])
def test_settings_of_a_user_change_nothing(tmp_path, settings):
    for name, options in (("plain", {}), ("own", settings)):
        with matplotlib.rc_context(options):
            plots.save(plots.training([LOG]), tmp_path / name, ("png",))
    assert (tmp_path / "own.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


def test_invisible_characters_and_spaces_of_any_kind():
    assert plain("a\u200db\n\u3000c") == "ab  c"
    assert (
        plain("$\u0642\u0637") == "\u200e\\$\u0642\u0637\u200e"
    )  # a text that starts with Arabic would turn around
    assert shortened(["x\ue000", "x\ue001"], 8) == ["x\ufffd…0", "x\ufffd"]
    assert shortened(["猫" * 9 + "a", "猫" * 9 + "b"], 8)[1] in ("猫猫猫…", "#1")  # wide letters count twice


LONG = [f"{'long ' * 16}{i} costs $ 5 or $ 6_a^b" for i in range(3)]
X = np.linspace(-2, 2, 5)
SIGN = ([0], [-1, 1])


def comparison_of(names):
    layers = {
        name: {key: Pooled(0.5, 0.1, 2) for key in ("angle_mean_deg", "gain", "r_weights")} for name in names
    }
    return SimpleNamespace(
        layers=names, groups=[SimpleNamespace(name=name, runs=(1, 2), layers=layers) for name in names]
    )


ROW = {
    "gain": 2.0,
    "r_within": 0.9,
    "r_two_numbers": 0.5,
    "angle_mean_deg": 37.0,
    "r_weights": 0.9,
    "epoch": 1,
}
BESIDE = {key: 0.9 for key in (*comparison.PANELS, *(f"paper_{key}" for key in comparison.PANELS))}
FIGURES = {
    "errors": lambda layers: plots.errors(
        np.zeros((3, 4, 4, 1), np.uint8), [0, 1, 2], [1, 2, 0], [1, 1, 1], LONG
    ),
    "confusion_matrix": lambda layers: plots.confusion_matrix(np.eye(3, dtype=int), LONG),
    "beside_paper": lambda layers: plots.beside_paper([{"layer": name} | BESIDE for name in LONG]),
    "unbinarizing": lambda layers: plots.unbinarizing(
        [{"what": "kernels", "layer": name, "stale": 0.1, "refitted": 0.8} for name in LONG], 9
    ),
    "correlation_by_gain": lambda layers: plots.correlation_by_gain(
        {name: [{"layer": name} | ROW for name in LONG] for name in LONG}
    ),
    "geometry_history": lambda layers: plots.geometry_history(
        [{"layer": name} | ROW for name in LONG], layers
    ),
    "angles": plots.angles,
    "angle_spread": plots.angle_spread,
    "latent_weights": plots.latent_weights,
    "dot_products": plots.dot_products,
    "ternary_angles": lambda layers: plots.ternary_angles({0.2: X}, {0.2: 0.1}, dict.fromkeys(LONG, 0.2)),
    "quantizer_angles": lambda layers: plots.quantizer_angles(
        9, dict.fromkeys(LONG, X), dict.fromkeys(LONG, SIGN)
    ),
    "estimator": lambda layers: plots.estimator(dict.fromkeys(LONG, (X, X, X))),
    "side_by_side": lambda layers: plots.side_by_side(comparison_of(LONG)),
    "correlations": lambda layers: plots.correlations(X, dict.fromkeys(LONG, X), dict.fromkeys(LONG, X)),
}


def renamed(layer, name):
    return dataclasses.replace(layer, product=dataclasses.replace(layer.product, name=name))


@pytest.fixture
def layers(network):
    return [renamed(layer, name) for layer, name in zip(network.report, LONG, strict=False)]


COLOR = pytest.mark.parametrize("network", [("ternary", "color")], ids="-".join, indirect=True)


@COLOR
@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_parses_names_or_shows_two_alike(name, layers):
    texts = {text.get_text() for text in FIGURES[name](layers).findobj(Text)}
    shown = [text for text in texts if "long" in text]
    of_layers = name in ("geometry_history", "angles", "latent_weights", "dot_products")
    # The figure of the spread may have no space for all names.
    assert len(shown) >= (len(layers) if of_layers else 1 if name == "angle_spread" else 3)
    assert not any(is_math_text(text) for text in shown)
    assert all(len(line) < 40 for text in shown for line in text.split("\n"))


@COLOR
def test_a_layer_has_the_same_number_in_every_figure(layers):
    first, *others = layers
    without = dataclasses.replace(
        first, histograms={k: v for k, v in first.histograms.items() if k != "weights"}
    )
    titles = [
        [ax.get_title("left").partition("\n")[0] for ax in fig.axes if "long" in ax.get_title("left")]
        for fig in (plots.permuted([without, *others]), plots.dot_products([without, *others]))
    ]
    assert titles[1] == titles[0][1:]


@pytest.fixture
def only_own_fonts(monkeypatch, tmp_path):
    """As if no font but matplotlib's were installed. Fonts in the folder `tmp_path` count as installed."""
    own = [font for font in font_manager.fontManager.ttflist if "matplotlib" in font.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "_get_fontconfig_fonts", list)
    monkeypatch.setattr(font_manager, "X11FontDirectories", [str(tmp_path)])
    fonts._search.cache_clear()
    yield tmp_path
    fonts._search.cache_clear()


def test_names_that_no_font_can_show_are_drawn_as_indices(only_own_fonts, capsys):
    names = ["猫", "cat", "กา 🐱"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = plots.confusion_matrix(np.eye(3, dtype=int), names)
        fig.draw_without_rendering()
        plots.errors(np.zeros((1, 4, 4, 1), np.uint8), [0], [1], [1], names).draw_without_rendering()
    assert [label.get_text() for label in fig.axes[0].get_xticklabels()] == ["#0", "cat", "#2"]
    assert plots.key(names) == "#0 = 猫, #2 = กา 🐱"
    assert plots.key(["cat", "été"]) == ""
    (line,) = capsys.readouterr().err.splitlines()
    assert "no installed font" in line and "#0, #2" in line


def test_an_installed_font_shows_what_that_of_the_figures_lacks(only_own_fonts, capsys):
    """The font is found although it was installed after matplotlib had written its list of fonts."""
    make_font(only_own_fonts / "made.ttf", "Made", "猫狗")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = plots.confusion_matrix(np.eye(3, dtype=int), ["猫", "cat", "狗a"])
        plots.save(fig, only_own_fonts / "c", ("png", "pdf", "svg"))
    labels = fig.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["猫", "cat", "狗a"]
    assert ["Made" in label.get_fontfamily() for label in labels] == [True, False, True]
    assert "Made" not in matplotlib.rcParams["font.family"]
    assert plots.key(["猫", "🦜"]) == "#1 = 🦜"
    assert not capsys.readouterr().err
    assert b"Made" in (only_own_fonts / "c.pdf").read_bytes()


def make_font(path, family, characters):
    """Write a font that has squares for some characters."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    glyphs = [".notdef", "square"]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(glyphs)
    font.setupCharacterMap({ord(c): "square" for c in characters})
    font.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 100)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": family, "styleName": "Regular", "psName": family})
    font.setupOS2(usWeightClass=400)
    font.setupPost()
    font.save(path)
