"""Pictures of pages as a browser shows them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image


def screenshot(page: Path, file: Path, width: int = 1000, height: int = 1500) -> None:
    """Write a PNG of the top of an HTML page.

    Args:
        page: The page.
        file: The PNG.
        width: Of the window, in pixels.
        height: Of the window, in pixels.
    """
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("no chromium: install one, and call again")
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    options = [f"--window-size={width},{height}", f"--screenshot={file}", page.resolve().as_uri()]
    subprocess.run([*command, *options], check=True, timeout=120)
    Image.open(file).convert("RGB").quantize(128).save(file, optimize=True)
    print(file)


def shot(window, file: Path) -> None:
    """Write a PNG of a page that Playwright shows, cut below what it holds.

    Args:
        window: The page.
        file: The PNG.
    """
    window.mouse.move(5, 5)
    window.wait_for_timeout(800)
    window.screenshot(path=file, full_page=True)
    image = Image.open(file).convert("RGB")
    used = np.argwhere((np.asarray(image) != np.asarray(image)[-1, -1]).any(-1)).max(0)
    image.crop((0, 0, image.width, min(image.height, int(used[0]) + 30))).save(file, optimize=True)
