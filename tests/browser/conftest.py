"""A headless Chromium for the pages; tests are skipped where there is none."""

import shutil

import pytest

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture(scope="session")
def chromium():
    """A selenium WebDriver."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not installed here")
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed here")
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium):
    """The browser in a light color scheme with a wide window; afterwards its console must be empty."""
    appear(chromium)
    chromium.get_log("browser")
    yield chromium
    assert chromium.get_log("browser") == []


def appear(browser, width=1280, height=900, **features):
    """Set the size of the window, and media features such as prefers_color_scheme."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    names = {"prefers_color_scheme": "light", "prefers_reduced_motion": "no-preference"} | features
    media = [{"name": name.replace("_", "-"), "value": value} for name, value in names.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
