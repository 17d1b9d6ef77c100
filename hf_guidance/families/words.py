"""Which input of a model holds words."""

from __future__ import annotations

from collections.abc import Sequence


def words_of(inputs: Sequence[str]) -> str | None:
    """The input with the tokens that a model reads, "input_ids" or "decoder_input_ids"; None if it reads none.

    Args:
        inputs: Names of the inputs, as of a Family.

    Example:
        >>> words_of(("pixel_values", "decoder_input_ids", "decoder_attention_mask"))
        'decoder_input_ids'
    """
    return next((name for name in inputs if name.endswith("input_ids")), None)
