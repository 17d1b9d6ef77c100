"""What a captioner says of images, as text."""

from __future__ import annotations

from typing import Any

import torch

from hf_guidance.common.wrappers import unwrapped

# Options of generate() by which a caller says where captions end.
_ENDS = {"eos_token_id", "generation_config", "stopping_criteria", "stop_strings"}


@torch.no_grad()
def generate_captions(model: Any, collator: Any, rows: Any, *, batch_size: int = 100, **options: Any) -> list[str]:
    """Caption images by ``generate()``.

    To explain the words that a model says itself, put them into the column ``caption`` and collate the rows: the explained
    rows are then the visual words of these captions.

    Args:
        model: A captioner with ``generate()``; its mode is that of evaluation meanwhile, and what it was after it.
        collator: A `CaptionCollator`, which makes the images ready and has the tokenizer.
        rows: A map-style dataset, or a list of rows; captions in them are not read.
        batch_size: Images of a call, at least 1.
        **options: Of ``generate()``: ``num_beams=5``, ``do_sample=True``, ...; ``max_new_tokens`` is ``collator.max_length``
            unless given.

    Returns:
        One text for each row, without special tokens.

    Raises:
        ValueError: ``batch_size`` is no whole number of at least 1; ``generate()`` does not end at the token by which the
            collator ends captions; or rows that cannot be used, as the collator says.

    Example:
        >>> generate_captions(trainer.model, trainer.data_collator, test, num_beams=5)
        ['a red circle left of a blue square', ...]
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r}: give a whole number of at least 1, the images of a call.")
    model = unwrapped(model)
    if not options.keys() & _ENDS:
        _check_end(model, collator.end)
    training, said = model.training, list[str]()
    options = {"max_new_tokens": collator.max_length} | options
    model.eval()
    try:
        for start in range(0, len(rows), batch_size):
            some = [{**rows[index], "caption": None} for index in range(start, min(start + batch_size, len(rows)))]
            batch = {name: column.to(model.device) for name, column in collator(some).items()}
            said += collator.tokenizer.batch_decode(model.generate(**batch, **options), skip_special_tokens=True)
    finally:
        model.train(training)
    return said


def _check_end(model: Any, end: int) -> None:
    """Raise unless the model stops at the token by which captions end, without which all are as long as they may be."""
    of_text = model.config.get_text_config(decoder=True)
    said = [model.generation_config.eos_token_id, getattr(of_text, "sep_token_id", None)]  # BLIP ends at the latter
    ends = {token for one in said for token in (one if isinstance(one, list | tuple) else [one]) if token is not None}
    if end not in ends:
        raise ValueError(
            f"the collator's captions end with token {end}, and generate() of {type(model).__name__} "
            f"{f'ends at {sorted(ends)}' if ends else 'has no token of the end'}, so it would never end. Set "
            f"model.generation_config.eos_token_id = {end} (of BLIP model.config.text_config.sep_token_id), or take the "
            "tokenizer that the model was trained with."
        )
