"""The page in a real browser, opened from its file: what it shows, what it requests, and whether it is accessible."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from axe_core_python.selenium import Axe
from selenium import webdriver
from selenium.webdriver.common.by import By

from impls.workload import Workload
from reports.__main__ import main
from tests.support.saved_runs import EVIL, failed, record, run, save

if TYPE_CHECKING:
    from collections.abc import Iterator

QUIET = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)
pytestmark = pytest.mark.xdist_group("page")  # which one browser shows

MODES = {"light": ("light", 1280), "dark": ("dark", 1280), "narrow": ("light", 390)}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Open a report of everything at once: groups, a history, scaling, failures, a bad file and hostile names."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no chromium; run: apt-get install chromium chromium-driver")
    folder = tmp_path_factory.mktemp("page")
    cases = [record("numpy", 3.0), record("torch", 2.0), record("theano", 4.0), record(EVIL, 10.0)]
    for number in range(3):
        save(folder, str(number), run(*cases, failed("jax", EVIL), hours=number, cpu=EVIL))
    sizes = [record("numpy", size / 100, workload=Workload(hidden=size), protocol="scaling") for size in (100, 500)]
    save(folder, "scaling", run(*sizes))
    save(folder, "other", run(*cases, cpu="Other"))
    save(folder, "bad", {})
    assert main(["build", "--storage", str(folder), "--out", str(folder / "out")]) == 0
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in [*QUIET.split(), f"--user-data-dir={folder / 'profile'}"]:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    live = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        live.get((folder / "out" / "report.html").as_uri())
        yield live
    finally:
        live.quit()


def show(browser: webdriver.Chrome, mode: str) -> None:
    """Switch to the reader's colours and width."""
    scheme, width = MODES[mode]
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def test_the_page_requests_nothing_and_reports_no_error(browser: webdriver.Chrome) -> None:
    """No request but for the file itself, no console message, no picture that does not show, no foreign script."""
    events = [json.loads(each["message"])["message"] for each in browser.get_log("performance")]
    sent = [each["params"] for each in events if each["method"] == "Network.requestWillBeSent"]
    # The browser's own empty tab comes before the page.
    asked = [each["request"]["url"] for each in sent if not each["documentURL"].startswith("chrome:")]
    assert [url for url in asked if not url.startswith("data:")] == [browser.current_url]
    assert browser.get_log("browser") == []
    for picture in browser.find_elements(By.TAG_NAME, "img"):
        assert picture.get_property("naturalWidth")
        assert picture.get_attribute("alt")
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 1
    assert "<script>alert(1)</script>" in browser.find_element(By.TAG_NAME, "main").text


@pytest.mark.parametrize("mode", MODES)
def test_the_page_is_accessible(browser: webdriver.Chrome, mode: str) -> None:
    """Axe finds nothing serious in light, dark or narrow; the page itself never scrolls sideways."""
    show(browser, mode)
    found = Axe().run(browser)["violations"]
    assert [each["id"] for each in found if each["impact"] in {"serious", "critical"}] == []
    root: dict[str, Any] = browser.execute_script(
        "const root = document.documentElement; return {wide: root.scrollWidth, shown: root.clientWidth}"
    )
    assert root["wide"] <= root["shown"]


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("mode", MODES)
def test_an_interval_is_on_one_line_with_its_figure(browser: webdriver.Chrome, mode: str, media: str) -> None:
    """On a narrow screen and on paper too."""
    show(browser, mode)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media})
    lines: list[int] = browser.execute_script(
        """const figures = [...document.querySelectorAll('td.figure')];
        return figures.filter(cell => / to .*\\)/.test(cell.textContent)).map(cell => {
            const range = document.createRange();
            range.selectNodeContents(cell);
            return new Set([...range.getClientRects()].map(line => line.top)).size;
        })"""
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert set(lines) == {1}


def column(browser: webdriver.Chrome, number: int, body: str = "tbody:not(.pinned)") -> list[str]:
    """Return the texts of one column of the first comparison."""
    return [each.text for each in browser.find_elements(By.CSS_SELECTOR, f"#sorted {body} tr > :nth-child({number})")]


def test_a_table_is_sorted_by_a_button(browser: webdriver.Chrome) -> None:
    """Figures by value, both ways, a case without one last; the book stays first; assistive technology is informed."""
    show(browser, "light")
    browser.execute_script("document.querySelector('table.comparison').id = 'sorted'")
    book = column(browser, 1, "tbody.pinned")
    assert book == ["book, Theano, CPU", "book, Theano, GPU"]
    button = browser.find_elements(By.CSS_SELECTOR, "#sorted thead button")[2]
    head = button.find_element(By.XPATH, "./ancestor::th")
    for direction, reverse in (("ascending", False), ("descending", True)):
        button.click()
        assert head.get_attribute("aria-sort") == direction
        *figures, last = column(browser, 3)
        values = [float(each.split()[0]) for each in figures]
        assert values == sorted(values, reverse=reverse)
        assert len(values) == 4
        assert last == ""
        assert column(browser, 1, "tbody.pinned") == book


def test_every_column_of_figures_leads_to_its_definition(browser: webdriver.Chrome) -> None:
    """Every figure has a definition, and every link a target."""
    assert not browser.find_elements(By.CSS_SELECTOR, "thead th.figure .head:not(:has(a))")
    links = browser.find_elements(By.CSS_SELECTOR, "a[href^='#']")
    ids = {each.get_attribute("id") for each in browser.find_elements(By.CSS_SELECTOR, "[id]")}
    targets = {str(link.get_attribute("href")).partition("#")[2] for link in links}
    assert targets <= ids
