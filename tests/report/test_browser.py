"""The report in a browser: Chromium without a window, from a file and without a network.

Skipped where there is no Chromium with its driver: `apt-get install chromium chromium-driver`.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hires_nst.report import pictures
from hires_nst.report.model import Report
from hires_nst.report.render import write_report
from tests.cli.test_commands import run
from tests.report.example import AWKWARD, RETRY, batch, picture, save

pytest.importorskip("selenium", reason="selenium is not installed (it comes with the extra: dev)")

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="there is no chromium with chromedriver on this machine"
)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--force-color-profile=srgb", "--host-resolver-rules=MAP * ~NOTFOUND"),
)
WIDTH, HEIGHT = 640, 520  # smaller than the picture in full size, so that there is something to move

Samples = np.ndarray[Any, Any]


class Browser:
    """A page that is open in Chromium."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: Path, *, width: int = WIDTH, height: int = HEIGHT, dark: bool = False) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        self.driver.get(page.as_uri())

    def command(self, name: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, arguments)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(f"return {script}", *arguments)

    def find(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def wait(self, script: str, *arguments: Any) -> None:
        WebDriverWait(self.driver, 20, poll_frequency=0.05).until(lambda _: self.run(script, *arguments), script)

    def screen(self) -> Samples:
        data = base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int)

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}", "--window-size=1000,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    folder = tmp_path_factory.mktemp("prints & more #1")
    report = batch(folder)
    return write_report(report, folder), report


@pytest.fixture
def browser(chromium: Browser, written: tuple[Path, Report]) -> Iterator[Browser]:
    """The report, opened; whatever the test does, the page complains of nothing and fetches nothing from elsewhere."""
    chromium.driver.get_log("browser")
    chromium.driver.get_log("performance")
    chromium.open(written[0])
    yield chromium
    assert chromium.complaints() == []
    requests = chromium.requests()
    assert written[0].as_uri() in requests
    assert [url for url in requests if not url.startswith((written[0].parent.as_uri() + "/", "data:"))] == []


def test_failures_are_listed_on_top(browser: Browser) -> None:
    text = browser.find("#failed").text
    for words in (
        "2 pictures failed",
        "broken <b>",
        'broken <b>.jpg is damaged; "save" it again',
        "empty.jpg is empty",
        RETRY,
    ):
        assert words in text
    assert browser.run("document.querySelector('#failed').offsetTop < document.querySelector('.card').offsetTop")
    assert browser.find("h1").text == "Prints & <i>more</i>"
    assert AWKWARD in [heading.text for heading in browser.driver.find_elements(By.CSS_SELECTOR, "h3")]


def test_the_command_is_copied(browser: Browser) -> None:
    for permission in ("clipboard-write", "clipboard-read"):
        browser.command("Browser.setPermission", permission={"name": permission}, setting="granted")
    button = browser.find("#failed .copy")
    button.click()
    browser.wait("arguments[0].textContent == 'Copied'", button)
    assert browser.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])") == RETRY


def test_all_pictures_are_there(browser: Browser) -> None:
    browser.run("document.querySelectorAll('img').forEach(image => { image.loading = 'eager'; })")
    browser.wait("[...document.images].every(image => image.complete)")
    assert browser.run("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)") == []
    assert (
        browser.run("document.images.length") == 3 * 3 + 1
    )  # before, after and painting; of the lost one, the painting


def expect_share(browser: Browser, share: float, *, abs: float = 0.01) -> None:
    """Input may be handled with the next frame, so this waits for it."""
    try:
        WebDriverWait(browser.driver, 10, poll_frequency=0.05).until(
            lambda _: shown_share(browser) == pytest.approx(share, abs=abs)
        )
    except TimeoutException:
        assert shown_share(browser) == pytest.approx(share, abs=abs)


def shown_share(browser: Browser) -> float:
    """How much of the width of the first card's photograph is not cut away, in percent."""
    clip = browser.run("getComputedStyle(document.querySelector('.compare .before')).clipPath")
    right = clip.removeprefix("inset(").rstrip(")").split()[1]  # such as inset(0px 50% 0px 0px)
    width = browser.run("document.querySelector('.compare').clientWidth")
    return 100 - float(right.rstrip("%px")) / (width / 100 if right.endswith("px") else 1)


def test_the_slider_moves_by_keyboard(browser: Browser) -> None:
    expect_share(browser, 50)
    browser.run("document.querySelector('.compare input').focus()")
    browser.press(Keys.ARROW_RIGHT * 5)
    expect_share(browser, 60)
    browser.press(Keys.ARROW_LEFT, Keys.PAGE_DOWN)
    expect_share(browser, 48)
    browser.press(Keys.HOME)
    expect_share(browser, 0)


def test_the_slider_moves_by_mouse_and_shows_the_pictures(browser: Browser) -> None:
    compare = browser.find(".compare")
    width = compare.size["width"]
    browser.wait("[...document.querySelectorAll('.card:first-child .compare img')].every(image => image.complete)")

    def middle() -> Samples:
        box = compare.rect
        top = int(box["y"]) - int(browser.run("scrollY"))
        part = browser.screen()[top + 5 : top + 25, int(box["x"] + width * 0.4) : int(box["x"] + width * 0.45)]
        assert part.size
        return part

    mouse = ActionChains(browser.driver, duration=0)
    mouse.scroll_to_element(compare).move_to_element(compare).click_and_hold().move_by_offset(
        int(width * 0.25), 0
    ).perform()
    expect_share(browser, 75, abs=1)
    with_photograph = middle()
    mouse = ActionChains(browser.driver, duration=0)
    mouse.move_by_offset(-int(width * 0.5), 0).release().perform()
    expect_share(browser, 25, abs=1)
    assert np.abs(with_photograph - middle()).mean() > 10  # another picture in the same place
    ActionChains(browser.driver, duration=0).move_by_offset(30, 0).perform()
    expect_share(browser, 25, abs=1)  # it was let go


def test_the_slider_moves_by_touch(browser: Browser) -> None:
    compare = browser.find(".compare")
    browser.run("arguments[0].scrollIntoView({block: 'center'})", compare)
    box = browser.run("arguments[0].getBoundingClientRect().toJSON()", compare)
    y = box["top"] + box["height"] / 2

    def touch(kind: str, *shares: float) -> None:
        points = [{"x": box["left"] + box["width"] * share, "y": y} for share in shares]
        browser.command("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    touch("touchStart", 0.5)
    for share in (0.4, 0.3, 0.2, 0.1):
        touch("touchMove", share)
    touch("touchEnd")
    expect_share(browser, 10, abs=1)


def open_view(browser: Browser, name: str) -> Any:
    button = browser.find(f".open[data-name='{name}']")
    browser.run("arguments[0].click()", button)
    browser.wait("document.querySelector('canvas').dataset.state == 'ready'")
    return button


def zoom_to_pixels(browser: Browser) -> None:
    browser.press("1")
    browser.wait("document.querySelector('canvas').dataset.zoom == '1'")
    browser.wait("document.querySelector('canvas').dataset.state == 'ready'")


def shown_and_expected(browser: Browser, expected: Samples) -> tuple[Samples, Samples]:
    """The part of the screen above the bar, and the pixels of the picture that belong there."""
    left, top = (int(browser.run(f"document.querySelector('canvas').dataset.{side}")) for side in ("left", "top"))
    bottom = int(browser.run("document.querySelector('.bar').getBoundingClientRect().top"))
    screen = browser.screen()[max(0, top) : bottom, max(0, left) :]
    part = expected[max(0, -top) :, max(0, -left) :][: screen.shape[0], : screen.shape[1]]
    return screen[: part.shape[0], : part.shape[1]], part


def test_the_view_shows_pixels_one_to_one(browser: Browser) -> None:
    pixels = np.rint(picture(600, 700, seed=4) * 255).astype(int)
    open_view(browser, "plain")
    assert browser.run("devicePixelRatio") == 1
    assert float(browser.run("document.querySelector('canvas').dataset.zoom")) < 1  # the whole of it
    zoom_to_pixels(browser)
    shown, expected = shown_and_expected(browser, pixels)
    assert shown.size > 600 * 400 * 3
    assert np.abs(shown - expected).max() <= 1
    assert "100 % of 700 × 600 px" in browser.find("dialog .state").text

    before = int(browser.run("document.querySelector('canvas').dataset.left"))
    browser.press(Keys.ARROW_RIGHT)
    browser.wait(f"document.querySelector('canvas').dataset.left != '{before}'")
    shown, expected = shown_and_expected(browser, pixels)
    assert np.abs(shown - expected).max() <= 1


def test_the_view_by_keyboard(browser: Browser) -> None:
    button = open_view(browser, "plain")
    zoom = "Number(document.querySelector('canvas').dataset.zoom)"
    fitted = browser.run(zoom)
    zoom_to_pixels(browser)
    browser.press("++")
    browser.wait(f"Math.abs({zoom} - 2) < 1e-9")
    browser.press("-")
    browser.wait(f"Math.abs({zoom} - Math.SQRT2) < 1e-9")
    browser.press("0")
    browser.wait(f"Math.abs({zoom} - {fitted}) < 1e-9")
    browser.press(Keys.PAGE_UP)
    browser.wait("document.querySelector('dialog .name').textContent == 'deep'")
    browser.press(Keys.ESCAPE)
    browser.wait("!document.querySelector('dialog').open")
    assert button.get_attribute("data-name") == "plain"
    browser.wait("document.activeElement.dataset.name == 'deep'")  # the event of closing comes a little later


def test_the_view_by_mouse(browser: Browser) -> None:
    open_view(browser, "plain")
    zoom_to_pixels(browser)
    canvas = browser.find("canvas")
    left = int(browser.run("document.querySelector('canvas').dataset.left"))
    mouse = ActionChains(browser.driver, duration=0)
    mouse.move_to_element(canvas).click_and_hold().move_by_offset(17, 0).release().perform()
    browser.wait(f"document.querySelector('canvas').dataset.left == '{left + 17}'")
    browser.find("[data-do=in]").click()
    browser.wait("document.querySelector('canvas').dataset.zoom > 1.4")
    browser.find("[data-do=close]").click()
    browser.wait("!document.querySelector('dialog').open")


def test_a_large_picture_is_shown_in_tiles(chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "WHOLE_MEGAPIXELS", 0.1)
    monkeypatch.setattr(pictures, "PREVIEW_EDGE", 200)
    page = write_report(batch(tmp_path), tmp_path)
    chromium.driver.get_log("browser")
    chromium.open(page)
    open_view(chromium, "plain")
    zoom_to_pixels(chromium)
    (folder,) = (tmp_path / pictures.FOLDER).glob("*-tiles")
    tiles = [[np.asarray(Image.open(folder / f"0-{row}-{column}.jpg"), int) for column in (0, 1)] for row in (0, 1)]
    whole = np.concatenate([np.concatenate(row, axis=1) for row in tiles])
    assert whole.shape == (600, 700, 3)
    for keys in ("", Keys.ARROW_RIGHT * 4 + Keys.ARROW_DOWN * 4):
        chromium.press(keys)
        chromium.wait("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
        chromium.wait("document.querySelector('canvas').dataset.state == 'ready'")
        shown, expected = shown_and_expected(chromium, whole)
        assert shown.size > 600 * 400 * 3
        assert np.abs(shown - expected).max() <= 2  # two decoders of JPEG
    chromium.press("0")
    chromium.wait("document.querySelector('canvas').dataset.zoom < 1")
    chromium.wait("document.querySelector('canvas').dataset.state == 'ready'")
    assert chromium.complaints() == []


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1400, False), (1400, True)])
def test_it_fits_phones_and_wide_screens_by_day_and_by_night(
    browser: Browser, written: tuple[Path, Report], width: int, dark: bool
) -> None:
    browser.open(written[0], width=width, height=800, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    columns = len(set(browser.run("[...document.querySelectorAll('.card')].map(card => card.offsetLeft)")))
    assert columns == (1 if width < 500 else 3)
    channels = browser.run("getComputedStyle(document.documentElement).backgroundColor.match(/[0-9]+/g).map(Number)")
    assert (sum(channels[:3]) < 200) == dark


def test_the_report_of_a_batch(chromium: Browser, tmp_path: Path) -> None:
    """Of pictures that `hires-nst batch` has painted, and of one that it could not."""
    photos, out = tmp_path / "photos", tmp_path / "prints & more"
    photos.mkdir()
    for seed, name in enumerate(("lake", "town"), start=1):
        save(photos / f"{name}.png", picture(96, 128, seed))
    (photos / "gone wrong.jpg").write_text("no picture")
    style = save(tmp_path / "starry.png", picture(80, 80, seed=3))
    result = run(
        "batch", photos, style, "-o", out, "--device", "cpu", "--retry-wait", "0", "--tile-size", "64",
        "--set", "levels.min_size=48", "--set", "levels.coarse_steps=3", "--set", "levels.rounds=2",
    )  # fmt: skip
    assert result.exit_code == 1, result.output
    page = out / "report.html"
    chromium.driver.get_log("browser")
    chromium.driver.get_log("performance")
    chromium.open(page)

    failed = chromium.find("#failed").text
    for words in (
        "1 picture failed",
        "gone wrong-starry",
        "is not a picture but a text",
        "hires-nst resume",
        "--retry-failed",
    ):
        assert words in failed
    headings = [heading.text for heading in chromium.driver.find_elements(By.CSS_SELECTOR, ".card h3")]
    assert headings == ["lake-starry", "town-starry"]
    charts = "document.querySelectorAll('.card .chart path').length"
    assert chromium.run(charts) >= 2
    assert "Seams" in chromium.run("document.querySelector('.card').textContent")
    chromium.run("document.querySelector('.compare input').focus()")
    chromium.press(Keys.ARROW_RIGHT * 5)
    expect_share(chromium, 60)
    open_view(chromium, "town-starry")
    zoom_to_pixels(chromium)
    painted = np.asarray(Image.open(out / "town-starry.png").convert("RGB"), int)
    shown, expected = shown_and_expected(chromium, painted)
    assert shown.shape == expected.shape == (96, 128, 3)
    assert np.abs(shown - expected).max() <= 1
    assert chromium.complaints() == []
    requests = chromium.requests()
    assert page.as_uri() in requests
    assert [url for url in requests if not url.startswith((out.as_uri() + "/", "data:"))] == []
