"""docs/card.png: the card of the demo's guided model, as a page shows it. `make demo` first; needs chromium.

python tests/tools/draw_card.py [folder of a saved model] [picture]
"""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path

from browser import screenshot
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 860px; margin: 24px auto; color: #1f2328 }
table { border-collapse: collapse } td, th { border: 1px solid #d0d7de; padding: 4px 10px }
code { background: #eff1f3; padding: 1px 4px; border-radius: 4px; font-size: 13px } img { max-width: 100% }
pre { background: #f6f8fa; padding: 12px; overflow: auto } pre code { background: none }
h1, h2 { border-bottom: 1px solid #d0d7de; padding-bottom: 4px }
"""


def page_of(folder: Path) -> str:
    """The card of a folder as HTML, its picture inside."""
    body = MarkdownIt("commonmark").enable("table").render(ModelCard.load(folder / "README.md").text)
    for picture in folder.glob("*.png"):
        data = base64.b64encode(picture.read_bytes()).decode()
        body = body.replace(f'src="{picture.name}"', f'src="data:image/png;base64,{data}"')
    return f"<!doctype html><meta charset='utf-8'><style>{STYLE}</style>{body}"


def main(folder: Path, file: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        page = Path(place) / "card.html"
        page.write_text(page_of(folder), encoding="utf-8")
        screenshot(page, file, 920, 1400)


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    main(
        given[0] if given else ROOT / "runs" / "demo" / "guided", given[1] if given[1:] else ROOT / "docs" / "card.png"
    )
