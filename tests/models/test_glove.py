import pytest
import torch
from tiny_updn import WORDS, tiny_updn

from hf_guidance.models import load_glove, word_tokenizer

LINES = ["red 1 2 3 4 5", "the -1e-3 0.5 0 0 1", "zebra 9 9 9 9 9", ". . . 7 7 7 7 7"]


@pytest.fixture
def glove(tmp_path):
    def write(lines, encoding="utf-8"):
        path = tmp_path / "glove.txt"
        path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
        return path

    return write


def test_vectors_land_on_the_rows_of_their_words(glove):
    model = tiny_updn()
    before = model.words.weight.detach().clone()
    words = ["cat", "the", "red", "is"]
    assert load_glove(model, glove(LINES), words) == 2
    assert model.words.weight[1].tolist() == [-1e-3, 0.5, 0, 0, 1]
    assert model.words.weight[2].tolist() == [1, 2, 3, 4, 5]
    assert not model.words.weight[[0, 3]].any()  # not in the file: 0, as in the authors' code
    assert torch.equal(model.words.weight[4:], before[4:])
    assert model.words.weight.requires_grad


def test_a_tokenizers_vocabulary(glove):
    tokenizer = word_tokenizer(["the red cat"])
    model = tiny_updn(vocab_size=len(tokenizer))
    assert load_glove(model, glove(LINES), tokenizer.get_vocab()) == 2
    assert not model.words.weight[-1].any()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["400000 5", *LINES], "line 1: a word and 5 numbers are needed .*1 fields follow the word '400000'"),
        (["red 1 2 3 4 5", "the 1 2 3 4"], "line 2: a word and 5 numbers are needed"),
        (["red 1 2 3 4 5 6"], "line 1: .*6 fields follow the word 'red'.*another word_size"),
        (["red 1 2 x 4 5"], "line 1: could not convert string to float: 'x'; the file is damaged"),
        (["red 1 2 nan 4 5"], "line 1: a number is not finite"),
        (["red 1 2 3 4 5", ""], "line 2: a word and 5"),
        ([], "is not a file, or is empty"),
    ],
)
def test_bad_files(glove, lines, message):
    model = tiny_updn()
    before = model.words.weight.detach().clone()
    with pytest.raises(ValueError, match=message):
        load_glove(model, glove(lines), ["red", "the"])
    assert torch.equal(model.words.weight, before)


def test_no_file_and_no_text(glove, tmp_path):
    with pytest.raises(ValueError, match="is not a file"):
        load_glove(tiny_updn(), tmp_path / "absent.txt", ["red"])
    with pytest.raises(ValueError, match="is not text in UTF-8"):
        load_glove(tiny_updn(), glove(["ré 1 2 3 4 5"], "latin-1"), ["red"])


def test_a_vocabulary_larger_than_the_embedding(glove):
    with pytest.raises(ValueError, match=rf"have no row in the embedding of {WORDS + 1} rows .*'w9'"):
        load_glove(tiny_updn(), glove(LINES), [f"w{i}" for i in range(12)])
    with pytest.raises(ValueError, match="has 0 words"):
        load_glove(tiny_updn(), glove(LINES), [])


def test_a_byte_order_mark_is_no_part_of_the_first_word(glove):
    model = tiny_updn()
    assert load_glove(model, glove(LINES, "utf-8-sig"), ["red"]) == 1
    assert model.words.weight[0].tolist() == [1, 2, 3, 4, 5]
