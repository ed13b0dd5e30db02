"""docs/explore.html in a browser: its numbers beside those of `bnn.geometry`, the controls, the address, the speed."""

import contextlib
import io
import itertools
import time
from urllib.parse import urlencode

import numpy as np
import pytest

from bnn import geometry
from tests.browser.conftest import appear
from tools.explore import PAGE, quantizers

# dimension, levels, threshold (None: the best), decay, gain, rotation
STATES = [
    (2, 2, None, 1.0, 1.2, "on"),
    (3, 3, 0.9, 0.5, 1.0, "off"),
    (17, 2, None, 2.0, 3.0, "off"),
    (64, 4, None, 1.0, 0.5, "off"),
    (150, 3, 0.3, 1.5, 6.0, "on"),
    (700, 2, None, 0.8, 12.0, "off"),
    (700, 2, None, 0.8, 12.0, "on"),
    (1000, 9, 0.5, 0.0, 10.0, "on"),
    (3001, 3, None, 1.0, 30.0, "on"),
    (10000, 2, None, 1.0, 0.2, "on"),
]


def go(browser, **state):
    """Open the page, or a state of the open page, and return its numbers when the sample is complete."""
    target = (
        f"{PAGE.as_uri()}#{urlencode({name: value for name, value in state.items() if value is not None})}"
    )
    if browser.current_url.partition("#")[0] == PAGE.as_uri():
        # The address changes only after the sliders rest: the page must not take a pending change for a new one.
        browser.execute_script("location.hash = arguments[0]", target.partition("#")[2])
        time.sleep(0.05)
    else:
        browser.get(target)
    return numbers(browser)


def numbers(browser):
    return wait(browser, "const n = explore.numbers(); return n.done ? n : null")


def wait(browser, script, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := browser.execute_script(script):
            return found
        time.sleep(0.05)
    raise AssertionError(f"expected a result of {script!r} in {seconds} s, received none")


def call(browser, name, *arguments):
    """The values of a function of geometry.js, one for each tuple of arguments."""
    script = "return arguments[1].map((values) => explore.geometry[arguments[0]](...values))"
    return np.array(browser.execute_script(script, name, [list(values) for values in arguments]), float)


def test_the_closed_forms_are_those_of_the_library(browser):
    go(browser)
    dimensions = [2, 3, 4, 7, 30, 129, 1000, 4567, 10000]
    thetas = np.linspace(0, np.pi, 9)
    exact = {"rtol": 1e-6, "atol": 1e-9}

    def same(name, expected, arguments):
        np.testing.assert_allclose(call(browser, name, *arguments), expected, **exact)

    same("expectedCosSign", geometry.expected_cos_sign(np.array(dimensions)), [(d,) for d in dimensions])
    same("stdAngleSign", geometry.std_angle_sign(np.array(dimensions)), [(d,) for d in dimensions])
    pairs = [(float(theta), d) for theta in thetas for d in dimensions]
    same("directionAngleDensity", [geometry.direction_angle_density(*pair) for pair in pairs], pairs)
    t = [0.0, 0.1, 0.612, 1.3, 2.9, 3.0]
    same("ternaryCos", geometry.ternary_cos(np.array(t)), [(x,) for x in t])
    same("ternaryZeros", geometry.ternary_zeros(np.array(t)), [(x,) for x in t])
    two = list(itertools.product([0.0, 0.3, 0.647, 1.5, 2.0], [0.01, 1.0, 7.0, 90.0]))
    same("twoNumberR", [geometry.two_number_r(*pair) for pair in two], two)
    three = [(*pair, residual) for pair in two for residual in (0.4, 3.0)]
    same("rThreeNumbers", [geometry.r_three_numbers(*values) for values in three], three)
    four = [(*values, kappa) for values in three for kappa in (-0.4, 0.2)]
    same("exactR", [geometry.exact_r(*values) for values in four], four)
    r = [-1.0, -0.2, 0.0, 0.97, 1.0]
    same("expectedSignFlips", geometry.expected_sign_flips(np.array(r)), [(x,) for x in r])
    for levels, factor in itertools.product([2, 3, 4, 7, 16], [0.2, 1.0, 2.5]):
        thresholds, values, _ = geometry.lloyd_max(levels)
        thresholds = thresholds * factor
        argument = {"thresholds": thresholds.tolist(), "values": values.tolist()}
        same("quantizerCos", [geometry.quantizer_cos(thresholds, values)], [(argument,)])
        same("quantizerAngle", [geometry.quantizer_angle(thresholds, values)], [(argument,)])
        same("quantizerAngleStd", [geometry.quantizer_angle_std(thresholds, values, 50)], [(argument, 50)])
    for scale in ([1.0, 2.0], np.arange(1, 301.0) ** -1.5, np.arange(1, 301.0) ** 3, [1e-9, 1, 1]):
        scale = np.asarray(scale)
        same("expectedCosSignScaled", [geometry.expected_cos_sign_scaled(scale)], [(scale.tolist(),)])


def of_library(d, levels, threshold, decay, rotation, exponent, kernels, rng):
    """The numbers of sampled kernels, each a (kernels,) array, and the closed form of their angle or NaN."""
    i = np.arange(1, d + 1.0)
    variance, square = i**-decay, (i / d) ** -exponent
    variance, scale = variance / variance.mean(), np.sqrt(square / square.mean())
    quantizer = quantizers()[levels]
    thresholds, values = np.array(quantizer["thresholds"]), quantizer["values"]
    if threshold is not None:
        thresholds = thresholds * (threshold / min(t for t in thresholds if t > 0))
    quantize = geometry.step_quantizer(thresholds, values)
    latent = scale[:, None] * rng.standard_normal((d, kernels))
    if rotation == "on":
        # one rotation for each kernel, as on the page
        turn = [geometry.Rotation(d, rng) for _ in range(kernels)]
        quantized = np.hstack(
            [R.undo(quantize(R.apply(w[:, None]))) for R, w in zip(turn, latent.T, strict=True)]
        )
    else:
        quantized = quantize(latent)
    theta = geometry.angle(quantized, latent, axis=0)
    covariances = [
        variance @ (x * y) for x, y in ((quantized, quantized), (quantized, latent), (latent, latent))
    ]
    moments = type("Moments", (), {"covariance": covariances, "mean": np.zeros((2, kernels))})
    gains = geometry.gains(quantized, latent, moments, 1.0)
    found = {
        "meanAngle": np.degrees(theta),
        "gain": gains.gain,
        "residualGain": gains.residual_gain,
        "kappa": gains.kappa,
        "rWithin": gains.r,
        "rTwo": gains.r_two_numbers,
    }
    angle = np.nan
    if levels == 2:
        cos = geometry.expected_cos_sign(d) if rotation == "on" else geometry.expected_cos_sign_scaled(scale)
        angle = np.degrees(np.arccos(cos))
    elif rotation == "on" or exponent == 0:
        angle = np.degrees(geometry.quantizer_angle(thresholds, values))
    return found, angle, variance @ scale**2 / d, covariances


@pytest.mark.parametrize("state", STATES, ids=str)
def test_the_numbers_of_a_state_are_those_of_the_library(browser, state):
    d, levels, threshold, decay, gain, rotation = state
    found = go(browser, d=d, levels=levels, threshold=threshold, decay=decay, gain=gain, rotation=rotation)
    kernels = 60 if d > 2000 else 400
    sampled, angle, set_gain, covariances = of_library(
        d, levels, threshold, decay, rotation, found["exponent"], kernels, np.random.default_rng(d)
    )
    low, high = found["range"]
    assert set_gain == pytest.approx(min(max(gain, low), high) if decay else 1, rel=1e-6)
    assert found["predicted"]["gain"] == pytest.approx(set_gain, rel=1e-6)
    theory = found["theory"]["angle"]
    assert (theory is None and np.isnan(angle)) or theory == pytest.approx(angle, abs=1e-6)
    of_page = found["sampled"] | {"rTwo": found["predicted"]["rWithin"]}
    for name, values in sampled.items():
        values = values[~np.isnan(values)]
        error = values.std() * np.sqrt(1 / len(values) + 1 / found["kernels"])
        assert of_page[name] == pytest.approx(values.mean(), abs=5 * error + 1e-9), name
    bb, bc, cc = (values.sum() for values in covariances)
    near = {"abs": 0.15} if d < 20 else {"abs": 0.04}  # of single dot products and few kernels
    assert found["sampled"]["r"] == pytest.approx(bc / np.sqrt(bb * cc), **near)
    assert found["sampled"]["slope"] == pytest.approx(bc / bb, rel=0.15)
    flips = geometry.expected_sign_flips(sampled["rWithin"][~np.isnan(sampled["rWithin"])]).mean()
    assert found["sampled"]["flips"] == pytest.approx(flips, abs=0.02)


def test_sampled_normal_numbers_have_the_moments_and_tails_of_the_normal_distribution(browser):
    go(browser)
    script = """const next = explore.sampling.normals(5);
        const x = Array.from({ length: 1000000 }, next);
        return [[1, 2, 3, 4].map((k) => x.reduce((s, v) => s + v ** k, 0) / x.length),
                [0.5, 1, 2, 3, 3.5, 4].map((t) => x.filter((v) => Math.abs(v) > t).length / x.length)]"""
    moments, tails = browser.execute_script(script)
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.05)
    assert abs(moments[1] - 1) < 0.008
    expected = np.array([0.6170751, 0.3173105, 0.0455003, 0.0026998, 0.00046526, 0.00006334])
    np.testing.assert_allclose(tails, expected, atol=5 * np.sqrt(expected / 1e6).max())
    assert np.all(np.abs(tails - expected) < 5 * np.sqrt(expected / 1e6))


@pytest.mark.parametrize("rotation", ["on", "off"])
def test_the_python_code_of_the_page_gives_its_numbers(browser, rotation):
    found = go(browser, d=500, levels=3, threshold=0.7, gain=4, rotation=rotation)
    own = "t.includes('rng = 500') && t.includes('rotation') === {}"
    script = "const t = document.querySelector('#python').textContent; return " + own + " && t"
    text = wait(browser, script.format("true" if rotation == "on" else "false"))
    assert "d, units, rng = 500" in text
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(text, {})
    angle, gain, r, predicted = (float(word) for word in printed.getvalue().split() if word[0].isdigit())
    assert found["sampled"]["angle"] == pytest.approx(angle, abs=0.3)
    assert found["sampled"]["gain"] == pytest.approx(gain, abs=0.2)
    assert found["sampled"]["rWithin"] == pytest.approx(r, abs=0.02)
    assert found["predicted"]["rWithin"] == pytest.approx(predicted, abs=0.01)


def test_a_view_can_be_sent_as_an_address(browser):
    state = {
        "d": 321,
        "levels": 5,
        "threshold": 0.25,
        "decay": 0.35,
        "gain": 2.5,
        "rotation": "off",
        "seed": 9,
    }
    first = go(browser, **state)
    wait(browser, "return location.hash.includes('d=321')")
    address = browser.current_url
    browser.get("about:blank")
    browser.get(address)
    assert numbers(browser) == first
    assert browser.execute_script("return explore.state.levels") == 5
    nonsense = {
        "d": "1e9",
        "levels": 2.5,
        "threshold": "x",
        "gain": -1,
        "rotation": "maybe",
        "network": "<b>",
    }
    go(browser, **nonsense)
    assert browser.execute_script("return [explore.state.d, explore.state.levels, explore.state.gain]") == [
        1000,
        2,
        10,
    ]


def test_every_control_is_reached_and_moved_by_keyboard(browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    go(browser)
    browser.execute_script("explore.set({ levels: 3 })")
    for name in ("d", "gain", "levels", "threshold", "decay"):
        before = browser.execute_script(f"return explore.state.{name}")
        browser.find_element(By.ID, f"{name}-range").send_keys(Keys.ARROW_RIGHT)
        after = browser.execute_script(f"return explore.state.{name}")
        assert after != before, name
    field = browser.find_element(By.ID, "d")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("77")
    assert browser.execute_script("return explore.state.d") == 77
    field.send_keys("000000")
    assert browser.execute_script("return [explore.state.d, document.querySelector('#d').ariaInvalid]") == [
        7700,
        "true",
    ]
    browser.find_element(By.ID, "rotation").send_keys(Keys.SPACE)
    assert browser.execute_script("return explore.state.rotation") is False
    reached = set()
    browser.execute_script("document.activeElement.blur()")
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(browser.switch_to.active_element.get_attribute("id"))
    assert {"d", "d-range", "gain-range", "rotation", "again", "share", "closeup", "network"} <= reached


def test_everything_has_a_label_and_changes_are_announced(browser):
    go(browser, levels=3)
    unnamed = """return [...document.querySelectorAll("input, select, button, [role=img], [role=region]")]
        .filter((e) => !(e.ariaLabel || e.textContent.trim() || (e.labels && e.labels.length)))
        .map((e) => e.outerHTML)"""
    assert browser.execute_script(unnamed) == []
    said = wait(browser, "return document.querySelector('#status').textContent")
    assert said.startswith("Angle ") and "signs flip" in said
    label = browser.execute_script("return document.querySelector('#cloud-plot').ariaLabel")
    assert label.startswith("Cloud of sampled dot products: r 0.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(browser, scheme):
    appear(browser, 390, 844, prefers_color_scheme=scheme)
    go(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    ground = browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
    assert (ground == "rgb(21, 24, 27)") == (scheme == "dark")


def test_a_frame_takes_at_most_half_of_a_twentieth_of_a_second_while_a_slider_moves(browser):
    """In time of the processor, which other programs on the machine hardly change; the other half is for painting."""
    go(browser, d=10000)
    script = """const done = arguments[arguments.length - 1], range = document.querySelector(arguments[0]);
        const first = explore.frames();
        (function move(step) {
          range.value = 20 + (step % 60);
          range.dispatchEvent(new Event("input", { bubbles: true }));
          if (step < 40) requestAnimationFrame(() => move(step + 1));
          else done(explore.frames() - first);
        })(0)"""
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    for slider in ("#d-range", "#gain-range", "#decay-range", "#levels-range"):
        before = _seconds(browser)
        frames = browser.execute_async_script(script, slider)
        assert frames >= 30
        assert (_seconds(browser) - before) / frames < 0.025, slider
    browser.execute_cdp_cmd("Performance.disable", {})


def _seconds(browser):
    """What the page has taken of the processor so far."""
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def test_with_reduced_motion_the_figures_change_only_when_they_are_complete(browser):
    appear(browser, prefers_reduced_motion="reduce")
    go(browser)
    script = """const done = arguments[0], table = document.querySelector("#angle-numbers");
        let changes = 0;
        const watched = { subtree: true, childList: true, characterData: true };
        new MutationObserver(() => (changes += 1)).observe(table, watched);
        explore.set({ d: 9000, seed: 3 });
        (function look() {
          if (explore.numbers().done) setTimeout(() => done(changes), 100);
          else setTimeout(look, 20);
        })()"""
    assert browser.execute_async_script(script) <= 2  # at the change, and at the end
