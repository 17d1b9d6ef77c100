"""docs/trust.png: the page of `hf-guidance trust-study` in Chromium, on captions of drawn scenes.

    python tests/tools/draw_trust.py FOLDER

FOLDER is what `make demo-captions` wrote to runs/demo-captions/trust.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
for room in ("tests", "tests/apps"):
    sys.path.insert(0, str(ROOT / room))
from asked import CHROMIUM, NO_BROWSER, Page, Person  # noqa: E402


def main() -> None:
    if CHROMIUM is None:
        raise SystemExit(NO_BROWSER)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        folder = Path(shutil.copytree(sys.argv[1], Path(place) / "trust", ignore=shutil.ignore_patterns("answers*")))
        page = Page(folder, command="trust-study")
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            person = Person(browser, page.address, "anna")
            for key in "2514":
                person.press(key)
            person.window.mouse.move(5, 5)
            person.window.wait_for_timeout(800)
            file = ROOT / "docs" / "trust.png"
            person.window.screenshot(path=file, full_page=True)
        finally:
            browser.close()
            page.kill()
    image = Image.open(file).convert("RGB")
    used = np.argwhere((np.asarray(image) != np.asarray(image)[-1, -1]).any(-1)).max(0)
    image.crop((0, 0, image.width, min(image.height, int(used[0]) + 30))).save(file, optimize=True)
    print(file)


if __name__ == "__main__":
    main()
