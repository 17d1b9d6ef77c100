"""docs/annotate.png: the page of `hf-guidance annotate` in Chromium, on digits on photographs.

    python tests/tools/draw_annotate.py

The maps are drawn: the place of the digit, blurred, or for every second image the corner opposite to it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from browser import shot
from PIL import Image, ImageFilter
from playwright.sync_api import sync_playwright

from hf_guidance import dataset_builder
from hf_guidance.apps.annotation import write_annotation_folder

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docs" / "annotate.png"
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests" / "apps"))
from asked import CHROMIUM, NO_BROWSER, Page, Person  # noqa: E402


def drawn_map(mask: Image.Image, right: bool) -> np.ndarray:
    """A map of 14 x 14 cells."""
    blurred = np.asarray(mask.convert("L").filter(ImageFilter.GaussianBlur(8)).resize((14, 14)), np.float32)
    return blurred if right else blurred[::-1, ::-1]


def main() -> None:
    if CHROMIUM is None:
        raise SystemExit(NO_BROWSER)
    builder = dataset_builder("digits_on_photos", image_size=128, train_size=12, validation_size=0, test_size=2)
    builder.download_and_prepare()
    rows = builder.as_dataset("train")
    maps = np.stack([drawn_map(row["mask"], number % 2 == 0) for number, row in enumerate(rows)])
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        page = Page(
            write_annotation_folder(rows, maps, Path(place) / "asked", question="Does the model look at the digit?")
        )
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            for name, count in (("ben", 12), ("anna", 7)):
                person = Person(browser, page.address, name)
                for number in range(count):
                    person.press("u" if name == "ben" and number == 3 else "yn"[person.item % 2])
            person.window.click("text=Agreement")
            person.window.click("#figures")
            person.window.wait_for_selector("#agreement table")
            shot(person.window, FILE)
        finally:
            browser.close()
            page.kill()
    print(FILE)


if __name__ == "__main__":
    main()
