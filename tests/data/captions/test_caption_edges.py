"""CaptionCollator on rows at the edge of what is allowed: cut words, signs, spelled tokens, masks that nothing names."""

import logging

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hf_guidance.data import CaptionCollator, VisualWords, encode_mask, word_importance
from hf_guidance.models import caption_tokenizer

LEFT = np.zeros((8, 10), bool)
LEFT[:, :5] = True
WORDS = VisualWords({"dog": "dog", "hot dog": "hot dog", "cat": "cat", "café": "café"})
TOKENIZER = caption_tokenizer(["a dog and a cat", "a hot dog"])
END = 2


def row(caption, *masked, **columns):
    boxes = [[0, 0, 0.5, 1], [0.5, 0, 1, 1]]
    masks = [encode_mask(category, LEFT) for category in masked]
    given = {"caption_id": "7", "features": np.ones((2, 3), np.float32), "boxes": boxes, "segmentations": masks}
    return {**given, "caption": caption, **columns}


def collator(**options):
    return CaptionCollator(**{"tokenizer": TOKENIZER, "words": WORDS} | options)


def by_bytes():
    """A tokenizer of single bytes, as GPT-2 has it below its merges: an accented letter is two tokens of one character."""
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={sign: index for index, sign in enumerate([*signs, "<|end|>"])}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|end|>", eos_token="<|end|>")


@pytest.mark.parametrize("limit", range(1, 10))
def test_a_word_is_explained_with_all_of_its_tokens_or_not_at_all(limit):
    """ "a café x" is the bytes a, blank, c, a, f, and two of é: cut within é the word is not there."""
    made = collator(tokenizer=by_bytes(), max_length=limit)
    batch = made([row("a café x", "café")])
    whole = limit >= 7
    assert batch["row"] == [0] * whole
    assert made.counts["visual words beyond max_length"] == (not whole)
    assert made.counts["captions cut at max_length"] == (limit < 9)
    assert batch["labels"].shape == (1, limit + 1)
    assert (batch["labels"][0, -1] == -100) == (limit < 9)  # a caption that is cut does not end there
    if whole:
        assert made.tokenizer.decode(batch["word_tokens"][0]).strip() == "café"


def test_captions_cut_are_said_once_and_counted(caplog):
    made = collator(max_length=2)
    with caplog.at_level(logging.WARNING, "hf_guidance"):
        made([row("a hot dog", "hot dog"), row("a dog and a cat", "dog")])
    said = [record.getMessage() for record in caplog.records if "cut at max_length" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("captions cut at max_length, first in row 0 of the batch (caption_id '7') in 'a hot dog'")
    assert made.counts == {"captions cut at max_length": 2, "visual words beyond max_length": 2}


def test_upper_case_and_signs():
    plain, shouted = (
        collator()([row(text, "dog", "cat")]) for text in ("a dog and a cat", "  A DOG -- and:\n(a) Cat!")
    )
    for name in ("input_ids", "labels", "target", "importance"):
        assert torch.equal(shouted[name], plain[name]), name
    assert (shouted["time"], shouted["row"]) == (plain["time"], plain["row"]) == ([1, 4], [0, 0])


@pytest.mark.parametrize(("tokenizer", "end"), [(TOKENIZER, "[END]"), (by_bytes(), "<|end|>")])
def test_a_caption_that_spells_the_end_does_not_end_there(tokenizer, end):
    labels = collator(tokenizer=tokenizer)([row(f"a {end} dog", "dog")])["labels"][0].tolist()
    assert labels.count(tokenizer.eos_token_id) == 1
    assert labels[-1] == tokenizer.eos_token_id


def test_masks_that_no_word_names_are_counted(caplog):
    made = collator()
    with caplog.at_level(logging.WARNING, "hf_guidance"):
        batch = made(
            [row("a dog", "Dog", "zebra"), row("a cat", "cat", "Dog"), row("a dog", segmentations={"zebra": LEFT})]
        )
    assert batch["row"] == [1]
    assert made.counts == {
        "masks of a category that no word names": 4,
        "visual words whose category has no mask": 2,
    }
    [said] = [record.getMessage() for record in caplog.records if "no word names" in record.getMessage()]
    assert "first in row 0 of the batch (caption_id '7'): 'Dog' in 'a dog'" in said


def test_a_word_of_two_categories_is_left_out_or_refused():
    with pytest.raises(
        ValueError, match=r"the name 'bat' has two categories, 'animal' and 'baseball bat'; give it one"
    ):
        VisualWords({"bat": "animal", "Bat": "baseball bat"})
    assert VisualWords.coco().find("a bag on a bike") == []


def test_a_mask_without_a_pixel_guides_nothing():
    batch = collator()([row("a dog", segmentations=[encode_mask("dog", LEFT & False)])])
    assert batch["annotated"] == [False]
    assert not batch["importance"].any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": [8]}, r"row 0 .*segmentations\[0\] has the size \[8\]; give \[height, width\]"),
        ({"size": 8}, r"segmentations\[0\] has the size 8; give"),
        ({"size": [None, 10]}, r"has the size \[None, 10\]"),
        ({"size": ["8", "10"]}, r"has the size \['8', '10'\]"),
        ({"size": [8.5, 10]}, r"has the size \[8\.5, 10\]"),
        ({"size": [0, 10]}, r"has the size \[0, 10\]; give \[height, width\], whole numbers above 0"),
        ({"size": [10, 10]}, r"'dog' has counts that do not cover its size 10x10"),
        ({"category": 3}, r"segmentations\[0\] has the category 3; give its name"),
    ],
)
def test_masks_of_another_form_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        collator()([row("a dog", segmentations=[encode_mask("dog", LEFT) | changed])])


def test_masks_with_nan_are_refused():
    wrong = np.where(LEFT, np.nan, 0.0)
    for use in (lambda: encode_mask("dog", wrong), lambda: word_importance("a dog", {"dog": wrong}, None, WORDS)):
        with pytest.raises(ValueError, match=r"the mask of 'dog' holds NaN or infinity; give 0 outside"):
            use()


@pytest.mark.parametrize("words", [{"dog": "dog"}, ["dog"], "coco"])
def test_words_that_are_no_table_are_refused(words):
    for use in (lambda: collator(words=words), lambda: word_importance("a dog", {"dog": LEFT}, None, words)):
        with pytest.raises(
            ValueError, match=r"words is .*; give a VisualWords, as VisualWords\(\{'puppy': 'dog'\}\), or None"
        ):
            use()
