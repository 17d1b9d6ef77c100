"""From captions to tokens: what a captioner reads and predicts, and which tokens a word became."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

IGNORED = -100
"""The label of what is no word, which the cross-entropy of torch leaves out."""


@dataclass(frozen=True)
class CaptionTokens:
    """The tokens of one caption, without those of its beginning and end.

    Attributes:
        ids: Token indices.
        spans: First character of each token in the caption, and the one after its last; those of tokens left out, too.
        cut: Whether tokens were left out.
        unknown: Which tokens stand for words that the vocabulary lacks.
    """

    ids: list[int]
    spans: list[tuple[int, int]]
    cut: bool
    unknown: list[bool]

    def places(self, start: int, end: int) -> list[int]:
        """Indices of the tokens of the word at these characters, empty where not all of them are there."""
        found = [index for index, (a, b) in enumerate(self.spans) if a < b and a < end and b > start]
        # By tokens, not characters: two tokens may share one, such as the bytes of an accented letter.
        return found if found and found[-1] < len(self.ids) else []


class CaptionEncoder:
    """Encode captions by a tokenizer of transformers.

    Args:
        tokenizer: A fast tokenizer, whose tokens know their characters. Its token of the beginning is ``bos_token``, or
            ``cls_token`` where it has none; that of the end is ``eos_token``, or ``sep_token``. Padding is ``pad_token``, or
            the end where it has none, as GPT-2 has not.
        max_length: Tokens of a caption, without beginning and end; longer ones are cut.
        begin: The token before the first word, instead of the tokenizer's.

    Raises:
        ValueError: The tokenizer is not fast, or has no token of the beginning or of the end; ``max_length`` is below 1.
    """

    def __init__(self, tokenizer: Any, max_length: int, begin: int | None = None) -> None:
        if isinstance(max_length, bool) or not isinstance(max_length, int) or max_length < 1:
            raise ValueError(
                f"max_length={max_length!r} leaves no token; give a whole number of at least 1, such as 20."
            )
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                f"{type(tokenizer).__name__} does not tell which characters a token is made of; give a fast tokenizer, such as "
                "AutoTokenizer.from_pretrained(...) or hf_guidance.models.caption_tokenizer(captions)."
            )
        self.tokenizer, self.max_length = tokenizer, max_length
        own = begin is None
        self.begin = _special(tokenizer, "bos_token_id", "cls_token_id", "beginning") if own else begin
        self.end = _special(tokenizer, "eos_token_id", "sep_token_id", "end")
        padding = getattr(tokenizer, "pad_token_id", None)
        self.padding = self.end if padding is None else int(padding)

    def encode(self, captions: Sequence[str]) -> list[CaptionTokens]:
        """The tokens of each caption."""
        encoded = self.tokenizer(
            list(captions),
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            truncation=False,
            padding=False,
            split_special_tokens=True,  # a caption that spells "[END]" does not end there
            verbose=False,
        )
        unknown_id = getattr(self.tokenizer, "unk_token_id", None)
        found = []
        for ids, spans in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            kept = [int(token) for token in ids[: self.max_length]]
            # Where the unknown token is also that of the end, as in GPT-2, no word becomes it.
            lacking = [token == unknown_id and token != self.end for token in kept]
            characters = [(int(a), int(b)) for a, b in spans]
            found.append(CaptionTokens(kept, characters, len(ids) > self.max_length, lacking))
        return found

    def columns(self, captions: Sequence[CaptionTokens]) -> dict[str, Tensor]:
        """The batch columns that a captioner reads and predicts, each (captions, time) int64.

        ``input_ids`` are BEGIN w1 .. wn, ``labels`` w1 .. wn END: the logits at position t predict ``labels[:, t]``. A caption
        that was cut has no END, since it does not end there. Padded: `IGNORED` in the labels, 0 in ``attention_mask``.
        """
        longest = max(len(caption.ids) for caption in captions) + 1
        inputs = torch.full((len(captions), longest), self.padding)
        labels = torch.full((len(captions), longest), IGNORED)
        mask = torch.zeros(len(captions), longest, dtype=torch.long)
        for index, caption in enumerate(captions):
            inputs[index, : len(caption.ids) + 1] = torch.tensor([self.begin, *caption.ids])
            said = caption.ids if caption.cut else [*caption.ids, self.end]
            labels[index, : len(said)] = torch.tensor(said)
            mask[index, : len(caption.ids) + 1] = 1
        return {"input_ids": inputs, "attention_mask": mask, "labels": labels}


def _special(tokenizer: Any, first: str, second: str, what: str) -> int:
    for name in (first, second):
        found = getattr(tokenizer, name, None)
        if found is not None:
            return int(found)
    one, other = first.removesuffix("_id"), second.removesuffix("_id")
    raise ValueError(
        f"the vocabulary has no token of the {what} of a caption ({one} or {other}), without which none is generated; add it, "
        f"such as by tokenizer.add_special_tokens({{{one!r}: '[{what.upper()}]'}}), and resize the model's embeddings."
    )
