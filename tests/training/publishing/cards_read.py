"""Cards as tests read them."""

from __future__ import annotations

import yaml
from huggingface_hub import ModelCard


def card_of(folder):
    """The card, read as the Hub's library reads it; its YAML must be that of the file."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    card = ModelCard(text)
    assert yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    assert "/tmp/" not in text
    assert str(folder.parent) not in text
    return card
