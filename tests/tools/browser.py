"""Pictures of pages as a browser shows them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

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
