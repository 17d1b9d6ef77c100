"""docs/trust.png: the page of `hf-guidance trust-study` in Chromium, on captions of drawn scenes.

    python tests/tools/draw_trust.py FOLDER

FOLDER is what `make demo-captions` wrote to runs/demo-captions/trust.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from browser import shot
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docs" / "trust.png"
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
            shot(person.window, FILE)
        finally:
            browser.close()
            page.kill()
    print(FILE)


if __name__ == "__main__":
    main()
