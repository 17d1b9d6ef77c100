"""chair against a loop over sets, worked examples, and bad input."""

import numpy as np
import pytest

from hf_guidance.data import VisualWords

TABLE = {
    "dog": "dog",
    "puppy": "dog",
    "dogs": "dog",
    "hot dog": "hot dog",
    "cat": "cat",
    "man": "person",
    "bus stop": None,
}


@pytest.mark.parametrize("count", ["objects", "mentions"])
@pytest.mark.parametrize("seed", range(3))
def test_is_the_definition(load, count, seed):
    rng = np.random.default_rng(seed)
    things = ["dog", "cat", "person", "hot dog"]
    said = [list(rng.choice(["dog", "puppy", "cat", "man", "tree"], rng.integers(0, 6))) for _ in range(40)]
    shown = [list(rng.choice(things, rng.integers(0, 4), replace=False)) for _ in range(40)]
    mentioned = [[TABLE[word] for word in words if word in TABLE] for words in said]
    if count == "objects":
        mentioned = [sorted(set(each)) for each in mentioned]
    wrong = [[thing for thing in each if thing not in there] for each, there in zip(mentioned, shown, strict=True)]
    found = load("chair").compute(
        predictions=[" and a ".join(words) for words in said], references=shown, words=TABLE, count=count
    )
    assert found == {
        "chair_i": pytest.approx(sum(map(len, wrong)) / sum(map(len, mentioned))),
        "chair_s": pytest.approx(sum(map(bool, wrong)) / 40),
        "object_recall": pytest.approx(
            sum(len(set(a) & set(b)) for a, b in zip(mentioned, shown, strict=True)) / sum(map(len, shown))
        ),
    }


def test_names_are_those_of_visual_words(load):
    words = VisualWords(TABLE)
    captions = ["A hot-dog at a bus stop.", "the dog's CAT", "hot, puppy", "a man man"]
    shown = [sorted({each.category for each in words.find(caption)}) for caption in captions]
    assert shown == [["hot dog"], ["cat", "dog"], ["dog"], ["person"]]
    found = load("chair").compute(predictions=captions, references=shown, words=words.table)
    assert found == {"chair_i": 0, "chair_s": 0, "object_recall": 1}
    other = load("chair").compute(predictions=captions, references=[["bus"]] * 4, words=TABLE)
    assert other == {"chair_i": 1, "chair_s": 1, "object_recall": 0}


def test_an_object_once_or_as_often_as_mentioned(load):
    given = {"predictions": ["a cat, a cat and a dog"], "references": [["dog"]], "words": TABLE}
    assert load("chair").compute(**given)["chair_i"] == pytest.approx(1 / 2)
    assert load("chair").compute(**given, count="mentions")["chair_i"] == pytest.approx(2 / 3)


def test_without_a_table_objects_have_their_own_names(load):
    given = {"predictions": ["two buses", "a traffic light"], "references": [["bus"], ["traffic light", "bus"]]}
    assert load("chair").compute(**given) == {"chair_i": 0, "chair_s": 0, "object_recall": pytest.approx(2 / 3)}


def test_captions_and_images_without_objects(load):
    assert load("chair").compute(predictions=["  ", "DOG!"], references=[["cat"], ["dog"]]) == {
        "chair_i": 0, "chair_s": 0, "object_recall": 0.5,
    }  # fmt: skip
    assert load("chair").compute(predictions=["", "red"], references=[[], ["dog"]]) == {
        "chair_i": 0, "chair_s": 0, "object_recall": 0,
    }  # fmt: skip
    assert load("chair").compute(predictions=["red"], references=[[]]) == {
        "chair_i": 0, "chair_s": 0, "object_recall": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"predictions": []}, r"0 predictions and 1 references"),
        ({"predictions": [None]}, r"predictions\[0\] is None; allowed is a string"),
        ({"references": ["dog"]}, r"references\[0\] is 'dog'; allowed is a list of names"),
        ({"references": [[3]]}, r"references\[0\] is \[3\]"),
        ({"references": [["-"]]}, r"references\[0\] is \['-'\]"),
        ({"references": 3}, r"references is of type int"),
        ({"words": {}}, r"words are \{\}; allowed is name -> object"),
        ({"words": {"--": "dog"}}, r"words has '--': 'dog'"),
        ({"words": {"dog": 3}}, r"words has 'dog': 3"),
        ({"words": {"dog": "dog", "Dog": "cat"}}, r"words gives the name 'dog' two objects, 'dog' and 'cat'"),
        ({"count": "words"}, r"count is 'words'; allowed"),
    ],
)
def test_bad_input(load, changed, message):
    with pytest.raises(ValueError, match=message):
        load("chair").compute(**({"predictions": ["a dog"], "references": [["dog"]]} | changed))


def test_empty(load):
    with pytest.raises(ValueError, match="No caption was added"):
        load("chair").compute()
