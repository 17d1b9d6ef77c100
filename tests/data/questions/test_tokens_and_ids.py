"""Questions cut at max_length are counted and logged once; the tokenizer's length is the default; ids of any type agree."""

import logging

import numpy as np
import pytest
import torch
from test_question_collator import BOXES, WORDS, collator, row
from transformers import BertTokenizer

from hf_guidance.data.questions.collator import QuestionCollator
from hf_guidance.models.updn.tokenization import word_tokenizer

LONG = "is it red it is red it is"  # 8 words


def words(max_length=14):
    return word_tokenizer({word: index for index, word in enumerate(WORDS)}, max_length)


def bert(tmp_path, **options):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "?"]))
    return BertTokenizer(str(tmp_path / "vocab.txt"), **options)


@pytest.mark.parametrize(("length", "cut"), [(7, 1), (8, 0), (9, 0), (2, 2)])
def test_cut_questions_are_counted(length, cut, caplog):
    collate = collator(max_length=length)
    for _ in range(2):
        batch = collate([row(question=LONG), row(1, question="is it red"), row(2, question="red")])
    assert batch["input_ids"].shape == (3, length)
    assert collate.counts["questions cut at max_length"] == 2 * cut
    said = [entry.getMessage() for entry in caplog.records if "cut" in entry.getMessage()]
    assert len(said) == bool(cut)
    if cut:
        assert f"{cut} of this batch's 3 have more than {length} tokens" in said[0]
        assert "question_id '0'" in said[0]
        assert LONG in said[0]


def test_what_is_cut_is_counted_with_special_tokens(tmp_path, caplog):
    tokenizer = bert(tmp_path)
    for length, cut in ((10, 0), (9, 1)):  # 8 words and two special tokens
        collate = collator(tokenizer=tokenizer, max_length=length)
        collate([row(question=LONG)])
        assert collate.counts["questions cut at max_length"] == cut
    assert not [entry for entry in caplog.records if entry.name.startswith("transformers")]


def test_the_tokenizers_length_is_the_default(tmp_path):
    assert QuestionCollator(words(5)).max_length == 5
    assert QuestionCollator(words(5), max_length=9).max_length == 9
    assert QuestionCollator(bert(tmp_path)).max_length == 14  # it sets none
    own = QuestionCollator(bert(tmp_path, model_max_length=20))
    assert (own.max_length, own.padding) == (20, "max_length")
    assert QuestionCollator(lambda *_, **__: None).max_length == 14
    batch = collator(tokenizer=words(5), max_length=None)([row()])
    assert batch["input_ids"].shape == (1, 5)


def test_a_text_encoders_length_is_not_padded_to(tmp_path):
    tokenizer = bert(tmp_path, model_max_length=512)
    collate = collator(tokenizer=tokenizer, max_length=None)
    assert (collate.max_length, collate.padding) == (512, "longest")
    batch = collate([row(question=LONG), row(1)])
    assert batch["input_ids"].shape == (2, 10)
    assert collate.counts["questions cut at max_length"] == 0
    assert collator(tokenizer=tokenizer, max_length=None, padding="max_length").padding == "max_length"
    assert collator(tokenizer=tokenizer, max_length=100).padding == "max_length"
    assert collator(tokenizer=tokenizer, max_length=None, control_seed=0).for_evaluation().max_length == 512


@pytest.mark.parametrize("length", [0, -3, 2.5, "14", True])
def test_lengths_that_are_none(length):
    with pytest.raises(ValueError, match="max_length="):
        collator(max_length=length)
    with pytest.raises(ValueError, match="max_length="):
        words(length)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ({0: "is"}, r"it has \(0, 'is'\).*turned round"),
        ({"is": "0"}, r"it has \('is', '0'\)"),
        ({"is": True}, "it has"),
    ],
)
def test_a_vocabulary_of_words_is_text_to_number(vocabulary, message):
    with pytest.raises(ValueError, match=message):
        word_tokenizer(vocabulary)
    assert word_tokenizer({"is": np.int64(0)}).get_vocab()["is"] == 0


IDS = [42, 42.0, np.int64(42), np.float32(42), "42"]
evidence = (np.asarray(row()["features"]), np.asarray(BOXES))


@pytest.mark.parametrize("key", [42, "42"])
@pytest.mark.parametrize("image_id", IDS, ids=lambda value: type(value).__name__)
def test_an_image_is_found_by_text_and_by_number(key, image_id):
    absent = {"features": "absent", "boxes": "absent", "image_id": image_id}
    batch = collator(regions={key: evidence, "007": None})([row(**absent)])
    assert torch.equal(batch["visual_feats"][0], torch.tensor(evidence[0], dtype=torch.float32))
    with pytest.raises(ValueError, match=r"no image features. 7"):  # "007" is another id than 7
        collator(regions={key: evidence, "007": None})([row(**absent | {"image_id": 7})])


def test_random_importance_does_not_depend_on_the_type_of_an_id():
    drawn = [collator(control_seed=1)([row(question_id=value)]) for value in IDS]
    for key in ("random_importance", "importance"):
        assert all(torch.equal(drawn[0][key], each[key]) for each in drawn)


@pytest.mark.parametrize("value", [True, 1.5, float("nan"), ["42"], " "])
def test_what_is_no_id_is_quoted(value):
    with pytest.raises(
        ValueError, match=r"row 0 of the batch .*question_id: the id .* is neither text nor a whole number"
    ):
        collator()([row(question_id=value)])
    absent = {"features": "absent", "boxes": "absent"}
    with pytest.raises(ValueError, match=r"question_id '0'\), image_id: the id"):
        collator(regions={"42": evidence})([row(image_id=value, **absent)])


def test_counting_logs_on_one_level(caplog):
    with caplog.at_level(logging.WARNING):
        collator(max_length=2)([row(question=LONG)])
    assert [entry.levelname for entry in caplog.records] == ["WARNING"]
