"""What is drawn, where, and from which arrays; and the gradients that one figure shows."""

import warnings

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from bnn import geometry, plots
from bnn.geometry import Histogram2D, levels
from bnn.plots import theory

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def ax():
    """Axes in the style; the figure is rendered at the end, so that drawing warns of nothing."""
    with plots.in_style():
        fig, ax = plots.figure()
        yield ax
        fig.canvas.draw()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def curve(ax, label):
    """(x, y) of the line of that label."""
    (line,) = [line for line in ax.get_lines() if line.get_label() == label]
    return line.get_data()


def measured(ax):
    """(x, y) of each set of points."""
    return [container.lines[0].get_data() for container in ax.containers if hasattr(container, "has_yerr")]


def test_style_is_left_behind():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with plots.in_style():
        assert matplotlib.rcParams["legend.frameon"] is False
    assert dict(matplotlib.rcParams) == before


def test_palette_is_distinct_also_in_grey():
    assert len({to_rgba(colour) for colour in plots.COLOURS}) == 6
    luminance = [np.dot(colour[:3], [0.2126, 0.7152, 0.0722]) for colour in plots.sequence(6)]
    assert np.all(np.diff(luminance) > 0.05)
    assert plots.sequence(0) == []


def test_save_writes_vectors_and_pixels(tmp_path):
    fig, _ = plots.figure(2)
    paths = plots.save(fig, tmp_path / "new" / "v1.2")
    assert [path.name for path in paths] == ["v1.2.pdf", "v1.2.svg", "v1.2.png"]
    assert [path.read_bytes()[:4] for path in paths] == [b"%PDF", b"<?xm", b"\x89PNG"]


def test_show_displays_an_image_with_its_alternative_text(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    plots.show(Figure(figsize=(4, 3)), "name", "what it shows", folder=tmp_path)
    data, metadata = shown[0]._repr_mimebundle_()
    assert data["image/png"] and metadata["image/png"] == {"width": 360, "alt": "what it shows"}
    assert (tmp_path / "name.svg").exists()


def test_density_integrates_to_one_and_leaves_nan_out(ax):
    plots.density(ax, [0.1, 0.2, 0.9, np.nan, np.inf], bins=[0, 0.5, 1])
    vertices = ax.patches[0].get_xy()
    assert np.max(vertices[:, 1]) == pytest.approx(4 / 3)


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("align", ["left", "right"])
def test_reference_stands_at_its_value(ax, axis, align):
    plots.reference(ax, 0.3, "here", axis=axis, align=align)
    line = ax.get_lines()[0]
    assert set(line.get_xdata() if axis == "x" else line.get_ydata()) == {0.3}
    assert ax.texts[0].get_text() == "here"


def test_dot_products_draws_x_across_and_shades_the_flips(ax):
    histogram = Histogram2D([-2, 0, 2], [-1, 0, 1]).update([1, 1, -1], [0.5, 0.5, 0.5])
    mesh = plots.dot_products(ax, histogram)
    np.testing.assert_array_equal(mesh.get_array().filled(0), [[0, 0], [1, 2]])
    corners = {tuple(np.sign(shade.get_paths()[0].vertices.mean(axis=0))) for shade in ax.collections[:2]}
    assert corners == {(-1.0, 1.0), (1.0, -1.0)}


def test_dot_products_of_nothing(ax):
    plots.dot_products(ax, Histogram2D([-1, 0, 1], [-1, 0, 1]))


def test_random_and_sign_density_is_per_degree(ax, rng):
    angles = geometry.sample_angles(10, 100, geometry.sign, rng)
    theory.random_and_sign(ax, 10, geometry.sample_pair_angles(10, 100, rng), angles)
    assert np.trapezoid(curve(ax, "exact density")[1], curve(ax, "exact density")[0]) == pytest.approx(
        1, abs=1e-6
    )
    mean = np.cos(np.radians(curve(ax, "angle of exact mean cosine")[0][0]))
    assert mean == pytest.approx(geometry.expected_cos_sign(10))


@pytest.mark.parametrize("name", ["mean_angle", "angle_spread", "mean_constant", "variance_constant"])
def test_points_lie_on_the_curves_over_the_dimension(ax, rng, name):
    d = [5, 10, 30]
    cosines = [np.cos(geometry.sample_angles(k, 4000, geometry.sign, rng)) for k in d]
    getattr(theory, name)(ax, d, cosines)
    lines = [line.get_data() for line in ax.get_lines() if len(line.get_xdata()) > 100]
    (x, y), ((px, py),) = lines[0], measured(ax)
    np.testing.assert_array_equal(px, d)
    np.testing.assert_allclose(py, np.interp(d, x, y), rtol=0.1)


def test_covariance_marks_both_exact_means(ax, rng):
    scale = np.exp(0.1 * np.arange(1, 101))
    rotation = geometry.random_rotation(100, rng)
    plain, rotated = (
        geometry.sample_angles(100, 500, geometry.sign, rng, scale=scale, rotation=r)
        for r in (None, rotation)
    )
    theory.covariance(ax, scale, plain, rotated)
    marks = [line.get_xdata()[0] for line in ax.get_lines()]
    np.testing.assert_allclose(marks, np.degrees([plain.mean(), rotated.mean()]), atol=2)


def test_ternary_curves(ax, rng):
    t = np.array([0.0, 0.5, 1.0])
    angles = [geometry.sample_angles(1000, 20, levels.step_quantizer([-s, s], [-1, 0, 1]), rng) for s in t]
    theory.ternary_angle(ax, t, angles)
    np.testing.assert_allclose(measured(ax)[0][1], np.interp(t, *curve(ax, "closed form")), atol=0.7)
    ax.clear()
    theory.ternary_zeros(ax, t, geometry.ternary_zeros(t))
    np.testing.assert_allclose(measured(ax)[0][1], np.interp(t, *curve(ax, "closed form")), atol=1e-4)


def test_quantizer_figures(ax, rng):
    thresholds, values, _ = levels.lloyd_max(4)
    d, q = [30, 300], levels.step_quantizer(thresholds, values)
    angles = [geometry.sample_angles(k, 500, q, rng) for k in d]
    theory.quantizer_angles(ax, 300, angles[1], thresholds, values, colour="k", label="four")
    x, y = ax.get_lines()[0].get_data()
    assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-4)
    assert np.trapezoid(x * y, x) == pytest.approx(np.degrees(angles[1]).mean(), abs=0.3)
    ax.clear()
    theory.level_spread(ax, d, angles, thresholds, values, colour="k", marker="o")
    np.testing.assert_allclose(measured(ax)[0][1], [np.degrees(a).std() for a in angles])
    ax.clear()
    theory.level_angles(ax, [4, 8], [0.35, 0.19], angles)
    assert [text.get_text() for text in ax.texts] == ["20.1°", "10.9°"]


def test_staircase_and_correlations(ax):
    theory.staircase(ax, [0], [-1, 1])
    np.testing.assert_array_equal(ax.patches[0].get_data().values, [-1, 1])
    with plots.in_style():
        _, other = plots.figure()
    theory.correlation_curve(other, [0, 1], [0.8, 0.9], [0.7, 1.0], colour="k", marker="o", label="r")
    np.testing.assert_array_equal(curve(other, "r")[1], [0.8, 0.9])
    np.testing.assert_array_equal(measured(other)[0][1], [0.7, 1.0])


def test_straight_through_is_drawn_as_the_backend_computes_it(ax):
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # TensorFlow's own
        from bnn.layers import pointwise_gradient, ste_sign

        x = np.array([-1.5, -1.0, -0.25, 0.0, 0.5, 1.0, 1.5])
        values, derivatives = pointwise_gradient(ste_sign, x)
        _, cubes = pointwise_gradient(lambda x: x**3, x)
    np.testing.assert_array_equal(values, geometry.sign(x))
    np.testing.assert_array_equal(derivatives, [0, 1, 1, 1, 1, 1, 0])
    np.testing.assert_allclose(cubes, 3 * x**2)
    theory.forward_backward(ax, x, values, derivatives, title="binary")
    np.testing.assert_array_equal(curve(ax, "backward: derivative")[1], derivatives)
