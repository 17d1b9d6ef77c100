"""What UpDn keeps of a caption between two words."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Cell = tuple[Tensor, Tensor]


@dataclass
class CaptionState:
    """The states of both LSTMs after the words read so far, and what is computed of each image once.

    `generate` of transformers carries it from word to word under the name ``state``, as for RWKV, and reorders it with beams.

    Attributes:
        words: (images, times) int64: the words that were read.
        attention_cell: State and cell of the attention LSTM, (images, hidden) each.
        language_cell: The same of the language LSTM.
        boxes: (images, objects, attention): ``W_v v_k``.
        image: (images, 4 hidden): what the image and the biases give to the gates of the attention LSTM.
    """

    words: Tensor
    attention_cell: Cell
    language_cell: Cell
    boxes: Tensor
    image: Tensor

    def after(self, words: Tensor, attention_cell: Cell, language_cell: Cell) -> CaptionState:
        """The state after more words (images, times) of the same images."""
        return CaptionState(torch.cat([self.words, words], 1), attention_cell, language_cell, self.boxes, self.image)

    def of(self, features: Tensor) -> CaptionState:
        """The state itself.

        Args:
            features: (images, objects, dims) of the images that it was made of.

        Raises:
            ValueError: It was made of other numbers of images or boxes.
        """
        made, given = tuple(self.boxes.shape[:2]), tuple(features.shape[:2])
        if made != given:
            raise ValueError(
                f"state is of {made} (images, boxes), visual_feats of {given}; give those it was made of, or no state."
            )
        return self

    def begins(self, words: Tensor) -> bool:
        """Whether these captions, (images, times), go on from the words that were read.

        Asked at every word, because a state of other words would give wrong captions without an error.
        """
        read = self.words.shape[1]
        return len(words) == len(self.words) and words.shape[1] > read and torch.equal(words[:, :read], self.words)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Go on from other beams; the name is transformers'.

        Args:
            beam_idx: (images,) int64: the beam that each one goes on from.
        """
        # A beam goes on from one of the same image, so what is known of the image stays where it is.
        self.words = self.words[beam_idx]
        self.attention_cell = (self.attention_cell[0][beam_idx], self.attention_cell[1][beam_idx])
        self.language_cell = (self.language_cell[0][beam_idx], self.language_cell[1][beam_idx])
