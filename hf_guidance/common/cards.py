"""Cards of models, data sets and metrics: the templates of model_cards/, filled by huggingface_hub."""

from __future__ import annotations

from typing import Any

from huggingface_hub import CardData, RepoCard

from hf_guidance.common.shipped_folders import shipped_file

TEMPLATES = "model_cards"


def filled_card(kind: type[RepoCard], template: str, data: CardData, **fields: Any) -> str:
    """The text of a README.md: metadata in YAML, and a template of model_cards/ filled with fields.

    Args:
        kind: ModelCard, DatasetCard or SpaceCard of huggingface_hub.
        template: Name of the file in model_cards/.
        data: The metadata.
        **fields: What the template names; texts must be Markdown, as ``card_text`` makes it.

    Returns:
        The text. It was parsed once by huggingface_hub, so its metadata can be read back.

    Raises:
        ValueError: No such template, or metadata that the Hub's library does not read.
    """
    card = kind.from_template(data, template_path=str(shipped_file(TEMPLATES, template)), **fields)
    return str(card).rstrip() + "\n"
