"""The page in a browser: no error, no request, filters and keys work, in light and dark, wide and narrow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="pip install 'warmstore[dev]' brings selenium")
By = pytest.importorskip("selenium.webdriver.common.by").By
WebDriverWait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="apt-get install chromium chromium-driver brings a browser"
)


class Page:
    """The report as a reader has it before her."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def script(self, text: str) -> Any:
        return self.driver.execute_script(f"return {text}")

    def wait(self, text: str) -> None:
        """Wait for what an event brings about a moment later."""
        WebDriverWait(self.driver, 20).until(lambda driver: self.script(text))

    def press(self, *keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(*keys)

    def choose(self, name: str, value: str) -> None:
        self.driver.find_element(By.ID, name).send_keys(value)

    @property
    def shown(self) -> list[str]:
        return list(
            self.script('[...document.querySelectorAll(".card:not([hidden]) .name")].map(e => e.textContent)')
        )

    @property
    def viewed(self) -> str | None:
        found = self.script('viewer.open && document.querySelector("#viewer-name .name").textContent')
        return found or None

    def visible(self, selector: str) -> bool:
        return bool(self.script(f'getComputedStyle(document.querySelector("{selector}")).display != "none"'))

    def look(self, width: int, scheme: str) -> None:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield started
    started.quit()


@pytest.fixture
def opened(driver: Any, page: Path) -> Page:
    driver.get(page.as_uri())
    return Page(driver)


def test_no_error_and_no_request(driver: Any, page: Path) -> None:
    driver.get_log("performance")
    driver.get(page.as_uri())
    Page(driver).press("m", "t")
    sent = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}
    assert driver.get_log("browser") == []
    assert driver.title == "warmstore report: tiny"


def test_filters(opened: Page, reported: Any) -> None:
    every = opened.shown
    assert opened.script("count.textContent") == f"{len(every)} samples"
    opened.choose("split", "val")
    assert "copy.jpg" in opened.shown and "receipt-00006.jpg" not in opened.shown
    opened.choose("flag", "duplicate")
    assert opened.shown == ["copy.jpg"]
    assert opened.script("count.textContent") == f"1 of {len(every)} samples"
    opened.choose("flag", Keys.HOME)
    opened.choose("split", Keys.HOME)
    opened.driver.find_element(By.ID, "search").send_keys("<SCRIPT>alert(2)")  # the text of a label
    assert opened.shown == ['"><script>alert(1)</script>.jpg']


def test_the_gallery_is_stepped_through_with_keys(opened: Page) -> None:
    names = opened.shown
    opened.press("/")
    assert opened.script("document.activeElement.id") == "search"
    opened.press("receipt-0000", Keys.ARROW_LEFT, "m")  # typed, not taken as keys
    assert opened.script("search.value").endswith("m0") and not opened.visible(".card .prob_map")
    opened.press(Keys.CONTROL, "a")
    opened.press(Keys.BACKSPACE)
    opened.script('document.querySelector(".card button").focus()')
    opened.press(Keys.ARROW_RIGHT)
    opened.press(Keys.ENTER)
    assert opened.viewed == names[1]
    opened.press(Keys.ARROW_RIGHT)
    assert opened.viewed == names[2]
    opened.press(Keys.ARROW_LEFT)
    opened.press(Keys.ARROW_LEFT)
    opened.press(Keys.ARROW_LEFT)
    assert opened.viewed == names[-1]
    opened.press(Keys.HOME)
    assert opened.viewed == names[0]
    opened.press(Keys.ESCAPE)
    assert opened.viewed is None
    opened.wait('document.activeElement.closest(".card")?.id === "s0"')


def test_overlays_are_switched(opened: Page) -> None:
    for key, selector in {"g": ".regions", "m": ".prob_map", "t": ".thresh_map"}.items():
        before = opened.visible(f".card {selector}")
        opened.press(key)
        assert opened.visible(f".card {selector}") != before
        opened.script('document.querySelector(".card button").click()')
        assert opened.visible(f"#viewer {selector}") != before
        opened.press(key)
        assert opened.visible(f"#viewer {selector}") == before
        opened.press(Keys.ESCAPE)


def test_a_link_to_a_sample_opens_it_though_it_is_filtered_out(opened: Page) -> None:
    opened.choose("split", "val")
    assert "receipt-00006.jpg" not in opened.shown
    opened.script('document.querySelector("#duplicates .to-card").click()')
    assert opened.viewed == "receipt-00004.jpg"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_sticks_out_and_all_text_can_be_read(opened: Page, width: int, scheme: str) -> None:
    opened.look(width, scheme)
    assert opened.script("document.documentElement.scrollWidth") <= width
    faint = opened.script(CONTRAST)
    assert faint == []


CONTRAST = """(() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parts = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const found = parts(getComputedStyle(e).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const e of document.querySelectorAll("main *, header *, nav *, footer *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.closest("title") || !e.checkVisibility()) continue;
    const style = getComputedStyle(e);
    const [a, b] = [luminance(parts(e.closest("svg") ? style.fill : style.color)), luminance(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push([e.className || e.tagName, e.textContent.slice(0, 20), ratio].join(" "));
  }
  return [...new Set(faint)];
})()"""
"""Text whose contrast is below WCAG 2.2's 4.5 : 1 (success criterion 1.4.3)."""
