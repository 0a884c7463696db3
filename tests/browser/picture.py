"""Makes the README's picture: the page that ``prunescope`` serves, as Chromium shows it.

``python -m tests.browser.picture`` writes ``notebooks/dashboard.png``, in 128 colours so that it stays small.
"""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.support import hosts

PICTURE = Path(__file__).parents[2] / "notebooks" / "dashboard.png"


def main() -> None:
    """Serve the dashboard, wait for its numbers, and write the picture."""
    command = hosts.prunescope_command("--no-browser", "--port", "0")
    with (
        TemporaryDirectory() as folder,
        hosts.served(command, Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=hosts.chromium(), args=hosts.BROWSER_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 830})
        page.goto(server.url)
        page.get_by_text("of 599)").wait_for()
        page.get_by_label("Method", exact=True).select_option(label="L1 unstructured")
        page.get_by_role("tab", name="Network").click()
        page.get_by_text("examples not used for choosing").wait_for()
        page.get_by_label("Amount", exact=True).fill("0.4")
        page.get_by_label("Amount", exact=True).press("Enter")
        hosts.wait_until(page, "document.body.innerText.includes('14,746 (40.0 %)')")
        hosts.wait_until(page, "!document.querySelector('.ps-picture').innerText.includes('…')")
        shown = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    shown.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
