"""From questions to word indices, with the rules of UpDn's authors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PADDING = "[PAD]"
# In this order: "n't" comes after the removal of full stops, "'s" before that of hyphens.
_REPLACEMENTS = (
    (",", ""), ("?", ""), ("'s", " 's"), ("-", " "), (".", ""), ('"', ""), ("n't", " not"), ("$", " dollar "),
)  # fmt: skip
_NORMALIZER = normalizers.Sequence(
    [normalizers.Lowercase(), *(normalizers.Replace(old, new) for old, new in _REPLACEMENTS)]
)


def word_tokenizer(
    questions_or_vocabulary: Iterable[str] | Mapping[str, int], max_length: int = 14
) -> PreTrainedTokenizerFast:
    """Make a tokenizer of whole words, with the rules of the code of arXiv 2206.11212.

    Questions are lower-cased; commas, question marks, full stops and double quotes are removed; hyphens become blanks; "'s"
    and "n't" become separate words ("'s", "not"), "$" becomes "dollar". Word i has index i; index ``len(vocabulary)`` stands
    for padding and for every unknown word. Only the first ``max_length`` words are read; shorter questions are padded on the
    left.

    Call it with ``padding="max_length", truncation=True`` for ``max_length`` indices per question, which the authors' models
    expect.
    An empty question, or one of punctuation alone, comes out as padding alone with ``attention_mask`` 0; one of unknown
    words has the same indices with ``attention_mask`` 1 where the words are.

    Args:
        questions_or_vocabulary: Questions, whose words are numbered in the order of their first occurrence; or
            word -> index, with the indices 0 to V - 1 (or ``get_vocab()`` of such a tokenizer). A word that the rules
            take apart, such as "t-shirt", is never found.
        max_length: Words per question.

    Returns:
        A tokenizer; ``len(tokenizer)`` is V + 1, the ``vocab_size`` that UpDnConfig needs.

    Raises:
        ValueError: No word at all, indices that leave gaps, ``max_length`` below 1, or a question that is not text.

    Example:
        >>> tokenizer = word_tokenizer(dataset["question"])
        >>> tokenizer(["Is it red?"], padding="max_length", truncation=True, return_tensors="pt").input_ids.shape
        torch.Size([1, 14])
    """
    if not _is_index(max_length) or max_length < 1:
        raise ValueError(f"max_length={max_length!r} must be a whole number of at least 1; the papers use 14.")
    if isinstance(questions_or_vocabulary, Mapping):
        vocabulary = _checked(questions_or_vocabulary)
    else:
        vocabulary = _vocabulary_of(questions_or_vocabulary)
    backend = Tokenizer(models.WordLevel(vocabulary | {PADDING: len(vocabulary)}, unk_token=PADDING))
    backend.normalizer = _NORMALIZER
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PADDING,
        unk_token=PADDING,
        padding_side="left",
        truncation_side="right",
        model_max_length=int(max_length),
        model_input_names=["input_ids", "attention_mask"],
    )


def _vocabulary_of(questions: Iterable[str]) -> dict[str, int]:
    if isinstance(questions, str):
        raise ValueError(f"One question, {questions[:40]!r}, is given; pass a list of questions, or a vocabulary.")
    vocabulary: dict[str, int] = {}
    for number, question in enumerate(questions):
        if not isinstance(question, str):
            raise ValueError(f"Question {number} is {question!r}, which is not text.")
        for word in _NORMALIZER.normalize_str(question).split():
            vocabulary.setdefault(word, len(vocabulary))
    if not vocabulary:
        raise ValueError("The questions hold no word; pass the training questions, or a vocabulary word -> index.")
    return vocabulary


def _checked(vocabulary: Mapping[str, int]) -> dict[str, int]:
    wrong = [entry for entry in vocabulary.items() if not isinstance(entry[0], str) or not _is_index(entry[1])]
    if wrong:
        raise ValueError(
            f"A vocabulary is word -> index, text -> whole number; it has {wrong[0]!r}. Is it turned round?"
        )
    words = {word: int(index) for word, index in vocabulary.items() if word != PADDING}
    if not words or sorted(words.values()) != list(range(len(words))):
        raise ValueError(
            f"A vocabulary of {len(words)} words needs each of the indices 0 to {len(words) - 1} once; it has "
            f"{sorted(words.values())[:5]} to {max(words.values(), default=None)}. {PADDING} is added after them."
        )
    if vocabulary.get(PADDING, len(words)) != len(words):
        raise ValueError(f"{PADDING} has index {vocabulary[PADDING]}; it must come last, at {len(words)}.")
    return words


def _is_index(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
