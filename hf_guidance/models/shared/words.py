"""Word vectors of questions, for models that read whole words."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def word_vectors(words: nn.Embedding, input_ids: Tensor | None, config: str) -> Tensor:
    """Look up (batch, length) word ids: (batch, length, size).

    Args:
        words: The embedding.
        input_ids: The ids.
        config: Name of the model's configuration, for errors.

    Raises:
        ValueError: No ids, ids of another shape, or beyond the embedding.
    """
    if input_ids is None or input_ids.dim() != 2 or input_ids.shape[1] == 0:
        given = None if input_ids is None else tuple(input_ids.shape)
        raise ValueError(f"input_ids has shape {given}; pass (batch, length) word ids or question_embedding.")
    try:
        vectors: Tensor = words(input_ids)
    except IndexError as error:
        raise ValueError(
            f"input_ids holds a word beyond the {words.num_embeddings} rows of the embedding; build the model with "
            f"{config}(vocab_size=len(tokenizer)) of the tokenizer in use."
        ) from error
    return vectors


@torch.no_grad()
def draw_words(words: nn.Embedding) -> None:
    """Draw the vectors anew, and set that of padding to 0."""
    nn.init.normal_(words.weight)
    # transformers marks parameters read from a file and does not draw them anew, but a slice loses the mark.
    if words.padding_idx is not None and not getattr(words.weight, "_is_hf_initialized", False):
        nn.init.zeros_(words.weight[words.padding_idx])
