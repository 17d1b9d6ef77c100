"""How to caption images by a model, as the code of a card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from hf_guidance.data import CaptionCollator


@dataclass(frozen=True)
class CaptionUse:
    """What the code must know beside the model.

    Attributes:
        tokenizer: Whether a tokenizer is saved beside the model.
        image_processor: Whether an image processor is saved beside it; None for a model of boxes.
        settings: Those of the collator that differ from the defaults, as code.
    """

    tokenizer: bool
    image_processor: bool | None
    settings: tuple[str, ...]

    @classmethod
    def of(cls, collator: Any, saved: Any, images: bool) -> Self:
        """The facts of a trainer.

        Args:
            collator: Its data collator.
            saved: What it saves beside the model: a tokenizer, an image processor, a processor of both, or None.
            images: Whether the model reads pixels.
        """
        own = getattr(collator, "explained", collator)
        settings = []
        if isinstance(own, CaptionCollator):
            settings += ["decoder=True"] if own.decoder else []
            settings += [] if own.begin is None else [f"begin={own.begin}"]
            settings += [] if own.max_length == 20 else [f"max_length={own.max_length}"]
        reads = hasattr(saved, "image_processor") or hasattr(saved, "image_mean")
        return cls(hasattr(saved, "batch_decode"), reads if images else None, tuple(settings))

    def imports(self) -> list[str]:
        """Import lines."""
        classes = ["AutoImageProcessor"] if self.image_processor else []
        classes += ["AutoTokenizer"] if self.tokenizer else []
        return [
            "from hf_guidance.data import CaptionCollator",
            "from hf_guidance.evaluation import generate_captions",
            *([f"from transformers import {', '.join(classes)}"] if classes else []),
        ]

    def lines(self) -> list[str]:
        """What follows the line that loads the model from ``repo``, and says captions."""
        images = self.image_processor is not None
        processor = {True: "AutoImageProcessor.from_pretrained(repo)", False: "...  # that of the training"}
        given = ["tokenizer", *(["image_processor=processor"] if images else []), *self.settings]
        row = '{"image": PIL image}' if images else '{"features": (boxes, numbers), "boxes": (boxes, 4) xyxy in [0, 1]}'
        return [
            f"tokenizer = {'AutoTokenizer.from_pretrained(repo)' if self.tokenizer else '...  # that of the training'}",
            *([f"processor = {processor[bool(self.image_processor)]}"] if images else []),
            f"collator = CaptionCollator({', '.join(given)})",
            f"rows = [...]  # each {row}",
            "print(generate_captions(model, collator, rows))",
        ]
