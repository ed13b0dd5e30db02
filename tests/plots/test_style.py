"""The style applies to our figures only; figures are saved, and images in notebooks have an alternative text."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from bnn import plots
from bnn.files import WriteError
from bnn.plots import style


def test_the_style_ends_with_its_context():
    before = dict(matplotlib.rcParams)
    with plots.in_style():
        assert matplotlib.rcParams["legend.frameon"] is False
    assert dict(matplotlib.rcParams) == before


def test_a_figure_has_our_style_for_any_settings_of_the_caller():
    with matplotlib.rc_context({"axes.spines.top": True, "font.size": 5}):
        fig = plots.staircases({2: ([0], [-1, 1])})
    assert not fig.axes[0].spines["top"].get_visible()
    assert fig.axes[0].xaxis.label.get_size() == 12


def test_colors_are_also_distinct_in_gray():
    assert len({to_rgba(color) for color in plots.COLORS}) == 6
    luminance = [np.dot(color[:3], [0.2126, 0.7152, 0.0722]) for color in plots.sequence(6)]
    assert np.all(np.diff(luminance) > 0.05)
    assert plots.sequence(0) == []


def test_axes_are_new_or_those_given():
    fig, panels = style.axes_for(None, 4, columns=3)
    assert len(panels) == 4
    assert [ax.axison for ax in fig.axes] == [True] * 4 + [False] * 2
    same, given = style.axes_for(fig.axes[:2], 2)
    assert same is fig
    assert list(given) == fig.axes[:2]
    assert style.axes_for(fig.axes[0], 1)[1][0] is fig.axes[0]
    with pytest.raises(ValueError, match="axes: expected 3, received 2"):
        style.axes_for(fig.axes[:2], 3)


@pytest.mark.parametrize(
    ("count", "shape"), [(0, (1, 1)), (1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (7, (3, 3))]
)
def test_at_most_three_panels_are_side_by_side(count, shape):
    fig, panels = style.panels_for(None, count)
    assert len(panels) == count
    assert fig.axes[0].get_gridspec().get_geometry() == shape
    assert fig.get_figwidth() <= style.WIDTH


def test_save_writes_vectors_and_pixels(tmp_path):
    fig, _ = plots.figure(2)
    paths = plots.save(fig, tmp_path / "new" / "v1.2")
    assert [path.name for path in paths] == ["v1.2.pdf", "v1.2.svg", "v1.2.png"]
    assert [path.read_bytes()[:4] for path in paths] == [b"%PDF", b"<?xm", b"\x89PNG"]
    assert sorted(tmp_path.joinpath("new").iterdir()) == sorted(paths)
    assert plots.save(fig, tmp_path / "one", ["png"]) == [tmp_path / "one.png"]


def test_save_names_the_file_that_it_cannot_write(tmp_path):
    (tmp_path / "name.png").mkdir()
    with pytest.raises(WriteError, match=r"name\.png: expected to write it"):
        plots.save(plots.figure()[0], tmp_path / "name", ["png"])


def test_show_displays_an_image_with_its_alternative_text(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    plots.show(Figure(figsize=(4, 3)), "name", "what it shows", folder=tmp_path)
    data, metadata = shown[0]._repr_mimebundle_()
    assert data["image/png"] and metadata["image/png"] == {"width": 384, "alt": "what it shows"}
    assert (tmp_path / "name.svg").exists()


def test_show_needs_a_name_only_for_a_file(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    plots.show(plots.staircases({2: ([0], [-1, 1])}))
    assert shown[0]._repr_mimebundle_()[1]["image/png"] == {
        "width": 720,
        "alt": "The graphs of quantizers and the identity.",
    }
    with pytest.raises(ValueError, match="name: expected the name of a file in the folder, received none"):
        plots.show(Figure(), folder=tmp_path)


def test_a_notebook_draws_a_figure_with_what_its_function_draws(ax):
    png, metadata = plots.staircases({2: ([0], [-1, 1])})._repr_png_()
    assert png[:4] == b"\x89PNG" and metadata["alt"] == "The graphs of quantizers and the identity."
    assert plots.staircases({2: ([0], [-1, 1])}, ax).alt == ""  # the caller's figure shows more
    assert plots.staircases({2: ([0], [-1, 1])}, axes=ax)._repr_png_()[1] == {"width": 960}
