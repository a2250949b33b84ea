"""The demo in headless Chromium: upload, fuse, slide, download, errors, video, keyboard, names, phones, and no other hosts."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_files import encode, flir_jpeg, render_pair, to_counts
from outcomes import Outcome

from gffusion.data import read_image

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")]

WIDE, PHONE = {"width": 1400, "height": 1000}, {"width": 390, "height": 844}
PATIENCE = 120_000  # milliseconds, for machines that are busy
ROLES = ("button", "checkbox", "combobox", "link", "radio", "slider", "spinbutton", "tab", "textbox")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Chromium."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )  # containers run it as root
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Open the demo in a window of some size; at the end, check that no other host was asked and no script failed."""
    pages, failures = [], []

    def watch(request: Any) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            failures.append(f"request to {request.url}")

    def run(viewport: dict[str, int] = WIDE) -> Any:
        page = browser.new_page(viewport=viewport)
        page.set_default_timeout(PATIENCE)
        page.on("request", watch)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("console", lambda line: failures.append(line.text) if "Content Security" in line.text else None)
        page.goto(address)
        page.get_by_role("button", name="Street at night").wait_for()
        pages.append(page)
        return page

    yield run
    for page in pages:
        page.close()
    assert failures == []


def upload(page: Any, kind: str, path: str) -> None:
    """Choose a file as a user does, and wait until it is uploaded."""
    with page.expect_file_chooser() as chooser:
        page.locator(f"button[aria-label^='{kind}'][aria-label*='upload']:visible").click()
    chooser.value.set_files(path)
    page.locator(f"a[aria-label^='{kind}']:visible").wait_for()


def names(page: Any) -> list[tuple[str, str]]:
    """Return role and name of everything that can be operated, as screen readers get them."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in nodes
        if not node.get("ignored") and node["role"]["value"] in ROLES
    ]


def has_no_sideways_scrolling(page: Any) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_fuse_slide_and_download(
    open_page: Callable[..., Any], night: dict[str, str], gffusion: Callable[..., Outcome], tmp_path: Path
) -> None:
    page = open_page()
    upload(page, "Visible", night["visible"])
    upload(page, "Infrared", night["infrared"])
    page.get_by_label("Segment people and vehicles").check()
    page.get_by_role("button", name="Fuse", exact=True).click()
    boundary = page.get_by_label("Edge between")
    boundary.wait_for()
    stage = page.locator(".gffusion-slider .frame")
    split = lambda: page.locator("figure").evaluate("figure => figure.style.getPropertyValue('--edge')")  # noqa: E731

    box = stage.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 50)
    assert 23 <= float(split().removesuffix("%")) <= 27
    for _ in range(4):
        boundary.press("ArrowRight")
    assert boundary.input_value() == f"{float(split().removesuffix('%')):g}" and float(boundary.input_value()) > 26
    shown = stage.locator("img.right").get_attribute("src")
    page.get_by_label("Image on the right").select_option("infrared")
    assert stage.locator("img.right").get_attribute("src") != shown
    assert stage.locator("img.right").get_attribute("alt") == "infrared"
    assert page.get_by_role("list", name="Classes").inner_text().split() == ["person", "bicycle", "car"]
    assert page.locator("#metrics").get_by_role("row").count() == 7

    assert gffusion("fuse", *night.values(), "-o", tmp_path / "fused.png", "--segment").exit_code == 0
    for label, name in (
        ("fused file", "fused.png"),
        ("label map", "fused_labels.png"),
        ("overlay", "fused_overlay.png"),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Download {label}").click()
        assert download.value.suggested_filename == f"night_visible_{name}"
        np.testing.assert_array_equal(read_image(download.value.path()), read_image(tmp_path / name))


def test_former_results_disappear(open_page: Callable[..., Any]) -> None:
    """Neither a request that fails nor new files stand beside the result of another request."""
    page = open_page()
    parts = [page.locator(part) for part in (".gffusion-slider .frame", "#metrics table", "#notes li")]
    parts.append(page.get_by_role("button", name="Download"))
    sample = page.get_by_role("button", name="Street at night")
    sample.click()
    for part in parts:
        part.first.wait_for()
    assert "street_0_visible.png and street_0_infrared.png, fused by gffusion-tiny" in parts[2].first.inner_text()
    page.locator("button[aria-label^='Visible'][aria-label$='Clear']:visible").click()
    for part in parts:
        part.wait_for(state="detached")
    assert "The result appears here" in page.locator("#slider").inner_text()

    sample.click()
    for part in parts:  # until the request ends: a click on Fuse is ignored before
        part.first.wait_for()
    page.get_by_role("button", name="More options").click()
    page.get_by_label("Visible range").fill("4095")
    page.get_by_role("button", name="Fuse", exact=True).click()
    page.get_by_test_id("toast-text").wait_for()
    assert [part.count() for part in parts] == [0] * len(parts)
    page.get_by_label("Visible range").fill("")
    sample.click()
    for part in parts:
        part.first.wait_for()
    assert page.get_by_test_id("toast-text").count() == 0  # no error of a former request, either


def test_errors_are_one_line_and_work_goes_on(
    open_page: Callable[..., Any], night: dict[str, str], tmp_path: Path
) -> None:
    page = open_page()
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(Path(night["visible"]).read_bytes()[:500])
    upload(page, "Visible", str(damaged))
    upload(page, "Infrared", night["infrared"])
    page.get_by_role("button", name="Fuse", exact=True).click()
    message = page.get_by_test_id("toast-text").inner_text()
    assert (
        message.startswith("cannot read the image damaged.png")
        and "Traceback" not in message
        and str(tmp_path) not in message
    )
    page.get_by_test_id("toast-close").click()
    page.locator("button[aria-label^='Visible'][aria-label$='Clear']:visible").click()
    upload(page, "Visible", night["visible"])
    page.get_by_role("button", name="Fuse", exact=True).click()
    page.locator(".gffusion-slider .frame").wait_for()


def test_video(open_page: Callable[..., Any]) -> None:
    pytest.importorskip("av")
    page = open_page()
    page.get_by_role("tab", name="Video").click()
    page.get_by_role("button", name="Try a rendered clip").click()
    page.locator("video").wait_for()
    page.wait_for_function("document.querySelector('video').readyState >= 2")  # it can be played
    with page.expect_download() as download:
        page.get_by_role("button", name="Download fused file").click()
    assert download.value.suggested_filename == "street_visible_fused.mp4"
    assert download.value.path().read_bytes()[4:8] == b"ftyp"
    assert "street_visible.mp4 and street_infrared.mp4" in page.locator("#video-notes").inner_text()
    page.get_by_label("Segment people and vehicles").locator("visible=true").check()  # the model has no segmenter
    page.get_by_role("button", name="Fuse videos").click()
    page.get_by_test_id("toast-text").wait_for()
    assert page.locator("video").count() == page.get_by_role("button", name="Download").count() == 0
    assert page.locator("#video-notes li").count() == 0


def test_names_in_files_are_text(open_page: Callable[..., Any], tmp_path: Path) -> None:
    """The notes show the name of a camera, and no link or element that it describes."""
    visible, infrared = render_pair()
    name = "FLIR <b>B</b> [c](/d) www.e.fr"
    path = tmp_path / "FLIR0001.jpg"
    path.write_bytes(flir_jpeg(to_counts(infrared), encode(visible, "PNG"), (96, 128), (1.0, 0, 0), model=name))
    page = open_page()
    upload(page, "Visible", str(path))
    page.get_by_role("button", name="Fuse", exact=True).click()
    page.get_by_label("Edge between").wait_for()
    notes = page.locator("#notes")
    assert name in notes.inner_text() and notes.locator("a, b").count() == 0


def test_keyboard_reaches_everything_and_everything_has_a_name(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.get_by_role("button", name="More options").press("Enter")
    for tab in ("Images", "Video"):
        page.get_by_role("tab", name=tab).click()
        found = names(page)
        assert len(found) > 8 and [role for role, name in found if not name] == []
        uploads = [name for role, name in found if "upload" in name]
        assert len(set(uploads)) == len(uploads) == 2
    page.get_by_role("tab", name="Images").click()
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "document.activeElement.getAttribute('aria-label') || document.activeElement.innerText.trim()"
            )
        )
    assert {"Street at night", "Fuse", "Model"} <= reached and any("Visible image" in name for name in reached)
    page.get_by_role("button", name="Street at night").press("Enter")
    page.locator(".gffusion-slider .frame").wait_for()
    assert [role for role, name in names(page) if not name] == []


def test_text_stands_out(open_page: Callable[..., Any]) -> None:
    """The contrast of small texts in the light theme, as in WCAG 2."""
    page = open_page()
    white, luminances = (255, 255, 255), []
    for part, property_name in ((".upload .or", "color"), ("button.primary", "backgroundColor")):
        style = page.locator(part).first.evaluate("(part, name) => getComputedStyle(part)[name]", property_name)
        luminances.append(luminance(tuple(map(int, re.findall(r"\d+", style)[:3]))))
    assert all((luminance(white) + 0.05) / (value + 0.05) >= 4.5 for value in luminances)


def luminance(color: tuple[int, ...]) -> float:
    levels = np.array(color) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_phone(open_page: Callable[..., Any]) -> None:
    page = open_page(PHONE)
    assert has_no_sideways_scrolling(page)
    page.get_by_role("button", name="Street at night").click()
    page.locator(".gffusion-slider .frame").wait_for()
    assert has_no_sideways_scrolling(page)
    page.wait_for_function("document.querySelector('figure').getBoundingClientRect().bottom < window.innerHeight + 1")
