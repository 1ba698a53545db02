"""A real Chromium for tests of pages: starting one, and driving it as a reader does."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def start_browser(profile: Path) -> Iterator[Any]:
    """A headless Chromium with a profile of its own; the test is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no chromium with chromedriver on PATH; on Debian: apt-get install chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage",
        "window-size=1280,900", f"user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.chrome.service.Service(driver)
    with webdriver.Chrome(options=options, service=service) as running:
        yield running


def open_page(browser: Any, page: Path, fragment: str = "") -> None:
    """Opens a page anew and waits until its reader and its charts can be used."""
    browser.get("about:blank")  # else another fragment of the same file would not load it
    browser.get(page.as_uri() + fragment)
    wait(browser, "return document.body.dataset.ready === 'true' && document.body.dataset.drawn === 'true'")


def wait(browser: Any, script: str, *args: Any) -> Any:
    """Returns what the script returns, once that is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20, 0.05).until(lambda b: b.execute_script(script, *args))


def find(browser: Any, selector: str) -> Any:
    """Returns the first element."""
    return browser.find_element("css selector", selector)


def find_all(browser: Any, selector: str) -> list[Any]:
    """Returns all elements."""
    return list(browser.find_elements("css selector", selector))


def text_of(browser: Any, selector: str) -> str:
    """Returns the text of the first element, visible or not."""
    return str(browser.execute_script("return document.querySelector(arguments[0]).textContent", selector))


def resize(browser: Any, width: int, height: int = 800) -> None:
    """Gives the window a size in CSS pixels; below 600 it is a phone."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
