"""caption_tokenizer: words, special tokens, and captions back from indices."""

import pytest
from transformers import AutoTokenizer

from hf_guidance.models import caption_tokenizer

CAPTIONS = ["A man's dog -- on a well-made bed.", "a Dog", "the bed"]


def test_words_and_special_tokens(tmp_path):
    tokenizer = caption_tokenizer(CAPTIONS)
    words = ["[PAD]", "[BEGIN]", "[END]", "[UNK]", "a", "bed", "dog", "made", "man's", "on", "the", "well"]
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == words
    assert [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id] == [
        0,
        1,
        2,
        3,
    ]
    assert tokenizer("The cat's BED!").input_ids == [10, 3, 5]
    assert tokenizer.batch_decode([[1, 4, 6, 2, 0]], skip_special_tokens=True) == ["a dog"]
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again("A man's dog").input_ids == tokenizer("A man's dog").input_ids == [4, 8, 6]
    assert again.eos_token_id == 2


def test_rare_words_are_unknown():
    tokenizer = caption_tokenizer(CAPTIONS, min_count=2)
    assert tokenizer("a well").input_ids == [4, 3]
    assert len(tokenizer) == 7


@pytest.mark.parametrize(
    ("captions", "options", "message"),
    [
        ("a dog", {}, r"One caption, 'a dog', is given"),
        (["a", None], {}, r"Caption 1 is None"),
        (["..."], {}, r"No word occurs min_count=1 times"),
        (["a dog"], {"min_count": 2}, r"No word occurs min_count=2 times"),
    ],
)
def test_refused(captions, options, message):
    with pytest.raises(ValueError, match=message):
        caption_tokenizer(captions, **options)
