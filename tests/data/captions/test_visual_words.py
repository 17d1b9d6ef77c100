"""VisualWords: which names a caption holds, and every table that is refused."""

import json

import pytest

from hf_guidance.data import VisualWords
from hf_guidance.data.captions.visual_words import plural, words_of

TABLE = {
    "dog": "dog", "dogs": "dog", "hot dog": "hot dog", "traffic light": "traffic light", "bus": "bus", "bus stop": None,
    "man": "person",
}  # fmt: skip


@pytest.fixture
def words():
    return VisualWords(TABLE)


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("A dog and two DOGS.", [("dog", "dog"), ("dogs", "dog")]),
        ("a hot dog", [("hot dog", "hot dog")]),
        ("a hot-dog!", [("hot dog", "hot dog")]),
        ("a hot, tired dog", [("dog", "dog")]),
        ("the dog's bus stop", [("dog", "dog")]),
        ("a bus  at a traffic\nlight", [("bus", "bus"), ("traffic light", "traffic light")]),
        ("doggy businessmen", []),
        ("dog", [("dog", "dog")]),
        ("hot", []),
        ("a man_dog", [("man", "person"), ("dog", "dog")]),
        ("", []),
    ],
)
def test_names_in_a_caption(words, caption, found):
    assert [(each.name, each.category) for each in words.find(caption)] == found
    for each in words.find(caption):
        assert words_of(caption[each.start : each.end]) == each.name


def test_names_in_words(words):
    assert words.of_tokens(["hot", "dog", "hot", "bus", "stop", "bus"]) == [(0, 2, "hot dog"), (5, 6, "bus")]
    assert words.category("Hot-Dog") == "hot dog"
    assert words.category("bus stop") is None
    assert words.category("zebra") is None
    assert words.categories == ("dog", "hot dog", "traffic light", "bus", "person")


def test_saved_and_loaded_again(words, tmp_path):
    words.save(tmp_path / "words.json")
    assert VisualWords.load(tmp_path / "words.json") == words
    assert json.loads((tmp_path / "words.json").read_text())["words"][""] == ["bus stop"]


def test_categories_by_their_names():
    words = VisualWords.from_names(["cross", "traffic light"])
    assert words.table == {
        "cross": "cross", "crosses": "cross", "traffic light": "traffic light", "traffic lights": "traffic light",
    }  # fmt: skip
    assert [plural(name) for name in ("bench", "box", "pony", "boy", "bush")] == [
        "benches", "boxes", "ponies", "boys", "bushes",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VisualWords({"Dog": "dog", "dog": "cat"}), r"the name 'dog' has two categories, 'dog' and 'cat'"),
        (
            lambda: VisualWords.of_categories({"cup": ["mug"], "person": ["Mug"]}),
            r"'mug' is listed for 'cup' and for 'person'",
        ),
        (lambda: VisualWords.of_categories({"cup": "mug"}), r"category 'cup' has 'mug'; give a list"),
        (lambda: VisualWords({}), r"no name with a category"),
        (lambda: VisualWords({"bus stop": None}), r"no name with a category"),
        (lambda: VisualWords({"--": "dog"}), r"the name '--' has no word"),
        (lambda: VisualWords({"dog": 3}), r"has the category 3; give text"),
        (lambda: VisualWords({"dog": ""}), r"has the category ''; give text"),
        (lambda: VisualWords(["dog"]), r"the table is \['dog'\]; give name -> category"),
        (lambda: VisualWords({7: "dog"}), r"the name 7 has no word"),
        (lambda: VisualWords(TABLE).find(None), r"the caption is None; give text"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"words\.json holds no table"),
        ({"words": ["dog"]}, r"words\.json holds no table"),
        ({"words": {"dog": ["dog"], "cat": ["dog"]}}, r"words\.json: the name 'dog' is listed for 'dog' and for 'cat'"),
    ],
)
def test_files_that_are_no_table(content, message, tmp_path):
    (tmp_path / "words.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        VisualWords.load(tmp_path / "words.json")
