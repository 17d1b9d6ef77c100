"""How long an annotator waits for the next image, with 100,000 maps.

    python tests/bench/annotation_page.py            # writes runs/bench/annotation_page.json

Photographs of 500 x 375 pixels; the maps are 7 x 7. Measured are what the server takes for an answer (to be on disk, and the
next image drawn), and in a browser, where there is one, the time from a key to the picture. The limit is 200 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "apps"))
from asked import CHROMIUM, Client, Page, Person

LIMIT = 0.2  # seconds
PHOTOS, WIDTH, HEIGHT = 500, 500, 375
SHOWN = "before => { const q = document.querySelector('#question'); const i = q.querySelector('img'); "
SHOWN += "return q.dataset.item !== before && i && i.complete && i.naturalWidth > 0; }"


def large_folder(folder: Path, count: int) -> Path:
    """Some photographs that many maps share, since the page reads each anew."""
    numbers = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for photo in range(PHOTOS):
        coarse = Image.fromarray(numbers.integers(0, 256, (24, 32, 3), np.uint8))
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(folder / "images" / f"{photo}.jpg")
    np.save(folder / "maps.npy", numbers.random((count, 7, 7), np.float32))
    items = [{"id": str(item), "image": f"images/{item % PHOTOS}.jpg"} for item in range(count)]
    (folder / "items.json").write_text(json.dumps(items))
    return folder


def by_http(page: Page, answers: int) -> list[float]:
    """Seconds of each answer, sent as the page sends it."""
    client, waits = Client(page, "http"), []
    item, _, _ = client.press("start")
    for _ in range(answers):
        begun = time.perf_counter()
        item, _, _ = client.press("answer-yes", item)
        waits.append(time.perf_counter() - begun)
    return waits


def by_browser(page: Page, answers: int) -> list[float]:
    """Seconds from a key to the next picture; none where there is no browser."""
    if CHROMIUM is None:
        return []
    from playwright.sync_api import sync_playwright

    waits = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        person = Person(browser, page.address, "browser")
        for _ in range(answers):
            before, begun = str(person.item), time.perf_counter()
            person.window.keyboard.press("y")
            person.window.wait_for_function(SHOWN, arg=before, polling="raf")
            waits.append(time.perf_counter() - begun)
        browser.close()
    return waits


def row(name: str, waits: list[float]) -> dict[str, Any]:
    ordered = sorted(waits)
    return {
        "way": name, "answers": len(waits), "median": statistics.median(waits),
        "p95": ordered[int(0.95 * (len(waits) - 1))], "largest": ordered[-1],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--answers", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/annotation_page.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, begun = large_folder(Path(place) / "asked", args.count), time.perf_counter()
        page = Page(folder)
        print(f"{args.count} maps; the page was open after {time.perf_counter() - begun:.1f} s")
        try:
            ways = {"server": by_http(page, args.answers), "browser": by_browser(page, args.answers)}
        finally:
            page.kill()
    rows = [row(name, waits[1:]) for name, waits in ways.items() if waits]  # the first one warms up
    print(f"{'':10s} {'median':>10s} {'95 %':>10s} {'largest':>10s}")
    for found in rows:
        print(f"{found['way']:10s} " + " ".join(f"{found[key] * 1000:7.1f} ms" for key in ("median", "p95", "largest")))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"count": args.count, "limit": LIMIT, "rows": rows}, indent=2) + "\n")
    print(f"wrote {args.out}")
    if any(found["median"] > LIMIT for found in rows):
        raise SystemExit(f"the next image takes longer than {LIMIT * 1000:.0f} ms")


if __name__ == "__main__":
    main()
