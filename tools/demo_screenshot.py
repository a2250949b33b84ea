"""Write docs/images/demo.png: the demo with a rendered street. Needs the extra `[demo]`, Playwright and Chromium."""

import argparse
import os
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from gffusion.demo.serving import serve
from gffusion.demo.settings import DemoSettings, choose_models


def write_screenshot(path: Path, chromium: str) -> None:
    """Fuse a sample in the demo, and write an image of the page."""
    with serve(DemoSettings(choose_models(bundled_only=True))) as (_, address), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(120_000)
        page.goto(address)
        page.get_by_role("button", name="Street at night").click()
        page.locator(".gffusion-slider .frame").wait_for()
        page.get_by_role("button", name="Download fused file").wait_for()
        page.wait_for_timeout(2000)  # until indicators of progress are gone
        page.screenshot(path=path, full_page=True, style="[data-testid='status-tracker'] { display: none }")
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/images/demo.png"))
    parser.add_argument("--chromium", default=os.environ.get("CHROMIUM") or shutil.which("chromium"))
    arguments = parser.parse_args()
    write_screenshot(arguments.output, arguments.chromium)
