"""What the configurations of models of questions check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check_sizes(config: Any, names: Sequence[str], or_none: Sequence[str] = ()) -> None:
    """Raise a ValueError for a field that is no whole number of at least 1; those of ``or_none`` may be None."""
    for name in (*names, *or_none):
        value = getattr(config, name)
        if value is None and name in or_none:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            none = ", or None" if name in or_none else ""
            raise ValueError(f"{type(config).__name__}({name}={value!r}) must be a whole number of at least 1{none}.")


def check_dropouts(config: Any, names: Sequence[str]) -> None:
    """Raise a ValueError for a field outside [0, 1)."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"{type(config).__name__}({name}={getattr(config, name)}) is outside [0, 1).")


def check_padding_row(config: Any) -> None:
    """Raise a ValueError where ``pad_token_id`` is no row of the word embedding."""
    if not 0 <= config.pad_token_id < config.vocab_size:
        raise ValueError(
            f"{type(config).__name__}(pad_token_id={config.pad_token_id}) is not a row of an embedding of "
            f"{config.vocab_size} rows; vocab_size counts the padding row too: len(tokenizer)."
        )
