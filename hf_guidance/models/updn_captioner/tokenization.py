"""From captions to word indices, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PADDING, BEGIN, END, UNKNOWN = "[PAD]", "[BEGIN]", "[END]", "[UNK]"
_WORD = r"[^\W_]+(?:'[^\W_]+)*"  # "man's" is a word; all other signs separate words


def caption_tokenizer(captions: Iterable[str], min_count: int = 1, max_length: int = 20) -> PreTrainedTokenizerFast:
    """Make a tokenizer of whole words for a captioner (arXiv 1707.07998, section 4.2: words of at least 5 captions' count).

    Captions are lower-cased and cut into words at all signs but apostrophes within a word. Index 0 is padding, 1 the
    beginning, 2 the end, 3 every unknown word; the words follow, the most frequent first and those of equal frequency in
    alphabetic order.

    `CaptionCollator` puts beginning and end around a caption. ``tokenizer.batch_decode(ids, skip_special_tokens=True)`` makes
    captions of what ``generate()`` returns.

    Args:
        captions: Those of the training set.
        min_count: Words that occur less often are unknown; the paper takes 5 on COCO.
        max_length: The tokenizer's ``model_max_length``, with beginning and end.

    Returns:
        A tokenizer; ``len(tokenizer)`` is the ``vocab_size`` of the model.

    Raises:
        ValueError: One text instead of several, a caption that is not text, or no word that occurs ``min_count`` times.

    Example:
        >>> tokenizer = caption_tokenizer(["A dog.", "a cat"])
        >>> tokenizer(["A dog"], add_special_tokens=False).input_ids, len(tokenizer)
        ([[4, 6]], 7)
    """
    if isinstance(captions, str):
        raise ValueError(f"One caption, {captions[:40]!r}, is given; pass a list of captions.")
    splitter = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)
    counts: Counter[str] = Counter()
    for number, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise ValueError(f"Caption {number} is {caption!r}, which is not text.")
        counts.update(word for word, _ in splitter.pre_tokenize_str(caption.lower()))
    words = sorted(
        (word for word, count in counts.items() if count >= min_count), key=lambda word: (-counts[word], word)
    )
    if not words:
        raise ValueError(
            f"No word occurs min_count={min_count} times in the captions; pass the training captions, or a lower min_count."
        )
    vocabulary = {word: index for index, word in enumerate((PADDING, BEGIN, END, UNKNOWN, *words))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = splitter
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PADDING,
        bos_token=BEGIN,
        eos_token=END,
        unk_token=UNKNOWN,
        model_max_length=max_length + 2,
        model_input_names=["input_ids", "attention_mask"],
    )
