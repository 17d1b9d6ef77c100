"""CardOptions: what a card says beyond what the trainer knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*|multilingual|code", re.ASCII)


@dataclass(frozen=True)
class CardOptions:
    """The keywords of ``create_model_card``. ``trainer.card`` holds them for every card that the trainer writes.

    Attributes:
        language: Language codes (ISO 639), for models that read text; None for none.
        license: An identifier of the Hub, as "apache-2.0"; by default the base model's where it is known.
        tags: Further tags.
        model_name: By default the last part of ``hub_model_id``, or the name of the output folder.
        finetuned_from: Hub id of the base model; by default where the model was loaded from, if that is one.
        tasks: The task, as "image-classification"; found by the model when None.
        dataset_tags: Hub ids of the data sets; by default where the rows were loaded from. Others are left out, with a warning.
        dataset: Names of the data sets, for readers.
        dataset_args: Configurations of the data sets.
        unguided: The same model trained without guidance, to stand beside: the ``output_dir`` of its run, or the metrics
            that its ``evaluate()`` returned.

    Raises:
        ValueError: ``language`` is no language code.

    Example:
        >>> trainer.card = CardOptions(license="apache-2.0", unguided="runs/unguided")
        >>> trainer.save_model()
    """

    language: str | list[str] | None = None
    license: str | None = None
    tags: str | list[str] | None = None
    model_name: str | None = None
    finetuned_from: str | None = None
    tasks: str | list[str] | None = None
    dataset_tags: str | list[str] | None = None
    dataset: str | list[str] | None = None
    dataset_args: str | list[str] | None = None
    unguided: str | Path | Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        for code in listed(self.language):
            if not _LANGUAGE.fullmatch(code):
                raise ValueError(
                    f"language={code[:100]!r} is no language code, and the Hub would refuse the card; give ISO 639 codes, as "
                    "'en' or ['en', 'de'], or 'multilingual'."
                )

    def updated(self, given: CardOptions) -> CardOptions:
        """These options, with what another names; its None leaves what was there."""
        named = {entry.name: getattr(given, entry.name) for entry in fields(given)}
        return replace(self, **{name: value for name, value in named.items() if value is not None})


def listed(value: str | list[str] | tuple[str, ...] | None) -> list[str]:
    """One text or several as a list; empty for None."""
    return [] if value is None else [value] if isinstance(value, str) else [str(item) for item in value]
