import pytest
from transformers import AutoTokenizer

from hf_guidance.models import word_tokenizer

QUESTIONS = ["Is the cat's bowl red?", "isn't it a blue-green bowl, or $5?"]


def words_of(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Cat's CATS?", "cat 's cats"),
        ("isn't can't won't", "is not ca not wo not"),
        ('a-b... "c", $5.50', "a b c dollar 550"),
        ("what\tis\n  it ?", "what is it"),
        ("n.'t 's-s", "not 's s"),
    ],
)
def test_rules(question, words):
    def authors(text):
        for old, new in [(",", ""), ("?", ""), ("'s", " 's"), ("-", " "), (".", ""), ('"', ""), ("n't", " not")]:
            text = text.replace(old, new)
        return text.replace("$", " dollar ").split()

    assert authors(question.lower()) == words.split()
    assert words_of(word_tokenizer([question]), question) == words.split()


def test_words_are_numbered_as_they_come():
    tokenizer = word_tokenizer(QUESTIONS)
    expected = [
        "is",
        "the",
        "cat",
        "'s",
        "bowl",
        "red",
        "not",
        "it",
        "a",
        "blue",
        "green",
        "or",
        "dollar",
        "5",
        "[PAD]",
    ]
    assert sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get) == expected
    assert len(tokenizer) == len(expected)
    assert tokenizer.pad_token_id == tokenizer.unk_token_id == len(expected) - 1


def test_padding_is_on_the_left_and_the_first_words_count():
    tokenizer = word_tokenizer(QUESTIONS, max_length=4)
    encoded = tokenizer(["is it red", "the cat bowl red is it"], padding="max_length", truncation=True)
    assert encoded.input_ids == [[14, 0, 7, 5], [1, 2, 4, 5]]
    assert encoded.attention_mask == [[0, 1, 1, 1], [1, 1, 1, 1]]


def test_empty_questions_and_unknown_words():
    tokenizer = word_tokenizer(QUESTIONS, max_length=3)
    encoded = tokenizer(["", "?.", "zebra", "[PAD] red"], padding="max_length", truncation=True)
    assert encoded.input_ids == [[14, 14, 14], [14, 14, 14], [14, 14, 14], [14, 14, 5]]
    assert encoded.attention_mask[:3] == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_saved_and_loaded(tmp_path):
    tokenizer = word_tokenizer(QUESTIONS, max_length=9)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.model_max_length == 9
    questions = [*QUESTIONS, "zebra's", "", "a " * 20]
    first, second = (t(questions, padding="max_length", truncation=True) for t in (tokenizer, loaded))
    assert dict(first) == dict(second)


def test_a_vocabulary_and_its_own_vocabulary():
    vocabulary = {"red": 1, "cat": 0}
    tokenizer = word_tokenizer(vocabulary)
    assert tokenizer.get_vocab() == {"cat": 0, "red": 1, "[PAD]": 2}
    assert word_tokenizer(tokenizer.get_vocab()).get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("what?", "One question, 'what\\?', is given"),
        ([], "hold no word"),
        (["", "??"], "hold no word"),
        (["a", None], "Question 1 is None"),
        ({}, "A vocabulary of 0 words"),
        ({"a": 0, "b": 2}, "needs each of the indices 0 to 1 once; it has .*to 2"),
        ({"a": 0, "[PAD]": 5}, "must come last, at 1"),
    ],
)
def test_bad_vocabularies(given, message):
    with pytest.raises(ValueError, match=message):
        word_tokenizer(given)


def test_bad_length():
    with pytest.raises(ValueError, match="max_length=0"):
        word_tokenizer(QUESTIONS, max_length=0)
