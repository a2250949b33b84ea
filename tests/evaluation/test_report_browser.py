"""The HTML report in headless Chromium: sorting, sliders, windows of all sizes, paper, no other hosts and no errors."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gffusion.evaluation import evaluate
from gffusion.metrics.names import DEFAULT_METRICS

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
    pytest.mark.usefixtures("drawn_plots"),
]

WIDE, PHONE = {"width": 1400, "height": 1000}, {"width": 390, "height": 844}


@pytest.fixture
def open_report(pairs: Path, tmp_path: Path) -> Iterator[Callable[[dict[str, int]], Any]]:
    """Open the report of two methods and baselines; at the end, check what was asked for and written to the console."""
    output = tmp_path / "report"
    folders = {"sharp": pairs / "sharp", "a_method_with_a_name_that_is_rather_long_" * 3: pairs / "flat"}
    evaluate(
        pairs / "visible", pairs / "infrared", fused=folders, output=output, metrics=DEFAULT_METRICS, html=True, std=True
    )  # fmt: skip
    address, failures = (output / "report.html").as_uri(), []

    def watch(request: Any) -> None:
        if request.url != address and not request.url.startswith("data:"):
            failures.append(f"request to {request.url}")

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def run(viewport: dict[str, int]) -> Any:
            page = browser.new_page(viewport=viewport)
            page.set_default_timeout(120_000)
            page.on("request", watch)
            page.on("pageerror", lambda error: failures.append(str(error)))
            page.on("console", lambda line: failures.append(line.text) if line.type in ("error", "warning") else None)
            page.goto(address)
            return page

        yield run
        browser.close()
    assert failures == []


def read_column(table: Any, column: int) -> list[str]:
    return [row.locator("th, td").nth(column).inner_text() for row in table.locator("tbody tr").all()]


def test_sort_and_slide(open_report: Callable[[dict[str, int]], Any]) -> None:
    page = open_report(WIDE)
    table = page.locator("table").first
    assert table.evaluate("table => table.offsetWidth <= table.parentElement.clientWidth")  # no column is out of view
    assert table.locator("[aria-sort=ascending]").inner_text().startswith("mean rank")
    button = table.get_by_role("button", name="EN ↑")
    before = read_column(table, 1)
    assert all("±" in cell for cell in before)
    values = sorted(float(cell.split()[0]) for cell in before)
    for order, expected in (("descending", values[::-1]), ("ascending", values)):
        button.click()
        assert [float(cell.split()[0]) for cell in read_column(table, 1)] == expected
        assert table.locator("th").nth(1).get_attribute("aria-sort") == order
    lowest_first = sorted(read_column(table, 6), key=lambda cell: float(cell.split()[0]))
    table.get_by_role("button", name="Nabf ↓").click()
    assert read_column(table, 6) == lowest_first  # the best first in both directions
    table.get_by_role("button", name="method").press("Enter")  # the keyboard sorts, too
    names = read_column(table, 0)
    assert names[-1].startswith("sharp") and names == sorted(names)

    figure = page.locator("figure").first
    edge = figure.get_by_label("Edge between the left and the right image")
    position = lambda: float(figure.evaluate("figure => figure.style.getPropertyValue('--edge')").removesuffix("%"))  # noqa: E731
    box = figure.locator(".frame").bounding_box()
    for share in (0.02, 0.98, 0.25):
        page.mouse.click(box["x"] + box["width"] * share, box["y"] + box["height"] / 4)
        assert abs(position() - 100 * share) <= 0.5
    assert figure.get_by_label("Image on the right").bounding_box()["width"] > 100  # the images have 48 pixels
    start = position()
    edge.press("ArrowRight")
    assert position() > start
    shown = figure.locator("img.right").get_attribute("alt")
    figure.get_by_label("Image on the right").select_option("infrared")
    assert figure.locator("img.right").get_attribute("alt") == "infrared" != shown
    assert page.get_by_role("img", name="Box plots of EN, SCD").bounding_box()["width"] > 300
    save_screenshot(page, "wide")


def test_phone(open_report: Callable[[dict[str, int]], Any]) -> None:
    page = open_report(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    table = page.get_by_role("table", name="Fusion")
    row = table.locator("tbody tr").first
    name, first = row.get_by_role("rowheader"), row.locator("td").first
    assert first.bounding_box()["x"] < PHONE["width"] / 2  # beside the name, however long that is
    before = name.bounding_box()["x"]
    table.evaluate("table => table.parentElement.scrollTo(200, 0)")
    assert first.bounding_box()["x"] < 0 and name.bounding_box()["x"] == before  # in view with every column
    page.get_by_text("Value of every image").click()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    save_screenshot(page, "phone")


def test_print_has_every_column(open_report: Callable[[dict[str, int]], Any]) -> None:
    page = open_report({"width": 1047, "height": 718})  # of a landscape page of A4 without margins of 1 cm
    page.emulate_media(media="print")
    for table in page.locator("table").all():
        # All columns of the widest report: 16 metrics, each with its standard deviation, and the mean rank.
        table.evaluate("""table => {
            table.style.setProperty("--columns", 17)
            for (const row of table.rows) while (row.cells.length < 18) row.append(row.cells[1].cloneNode(true))
            table.closest("details")?.setAttribute("open", "")
        }""")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator(".scroll").evaluate_all(
        "parts => parts.every(part => getComputedStyle(part).overflowX === 'visible')"
    )
    save_screenshot(page, "print")


def save_screenshot(page: Any, name: str) -> None:
    """Write an image of the page into the folder of SCREENSHOTS, to look at."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"report_{name}.png", full_page=True)
