"""word_importance and the masks that it reads: eq. 1 of HINT in loops, and masks of another form."""

import numpy as np
import pytest

from hf_guidance.data import VisualWords, category_masks, encode_mask, word_importance

WORDS = VisualWords({"dog": "dog", "puppy": "dog", "cat": "cat"})
RNG = np.random.default_rng(0)
DOG = RNG.random((12, 20)) > 0.6
BOXES = [[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 0.75], [0, 0, 1, 1], [0.9, 0, 1, 1]]


def in_box(box):
    x0, y0, x1, y1 = (int(v * s) for v, s in zip(box, (20, 12, 20, 12), strict=True))
    inside = np.zeros(DOG.shape, bool)
    inside[y0:y1, x0:x1] = True
    return inside


@pytest.mark.parametrize("masks", [{"dog": DOG}, [encode_mask("dog", DOG)], {"dog": DOG * 255.0}])
def test_is_equation_1_and_the_share(masks):
    [found] = word_importance("a dog runs", masks, BOXES, WORDS)
    [share] = word_importance("a dog runs", masks, BOXES, WORDS, score="share")
    for number, box in enumerate(BOXES):
        inside = in_box(box)
        mean_in = DOG[inside].mean()
        expected = 0.5 if inside.all() else mean_in / (mean_in + DOG[~inside].mean())
        assert found.importance[number] == pytest.approx(expected, rel=1e-6)
        assert share.importance[number] == pytest.approx(mean_in, rel=1e-6)
    assert found.importance.dtype == share.importance.dtype == np.float32
    assert (found.word.name, found.word.start, found.word.end) == ("dog", 2, 5)


def test_pixels_and_several_objects_of_a_category():
    left, right = np.zeros((2, 4, 6), bool)
    left[:, :2], right[:, 4:] = True, True
    entries = [encode_mask("dog", left), encode_mask("cat", ~left), encode_mask("dog", right)]
    found = word_importance("a puppy, a dog and a cat", entries, words=WORDS)
    assert [each.word.category for each in found] == ["dog", "dog", "cat"]
    for each in found[:2]:
        assert np.array_equal(each.importance, left | right)
    assert np.array_equal(found[2].importance, ~left)


def test_words_without_mask_and_captions_without_words():
    [dog, cat] = word_importance("a dog and a cat", {"cat": DOG}, BOXES, WORDS)
    assert dog.importance is None
    assert cat.importance is not None
    assert word_importance("it is red", {"cat": DOG}, BOXES, WORDS) == []
    assert [each.importance for each in word_importance("a dog", None, BOXES, WORDS)] == [None]


def test_masks_round_trip():
    for shape in ((1, 1), (7, 3), (40, 60)):
        for mask in (RNG.random(shape) > 0.5, np.ones(shape), np.zeros(shape), np.eye(*shape)):
            assert np.array_equal(category_masks([encode_mask("dog", mask)])["dog"], mask != 0)
    assert category_masks(
        [encode_mask("dog", DOG), {**encode_mask("cat", DOG), "counts": "!"}], only={"dog"}
    ).keys() == {"dog"}


@pytest.mark.parametrize(
    ("caption", "masks", "message"),
    [
        ("", {}, r"the caption is ''; give text that is not empty"),
        ("  ", {}, r"the caption is '  '"),
        (None, {}, r"the caption is None"),
        ("a dog", {"dog": DOG[0]}, r"the mask of 'dog' is bool of shape \(20,\)"),
        ("a dog", {"dog": np.full((2, 2), "a")}, r"the mask of 'dog' is <U1"),
        ("a dog", {"dog": np.zeros((0, 3))}, r"of shape \(0, 3\)"),
        (
            "a dog and a cat",
            {"dog": DOG, "cat": DOG.T},
            r"'cat' has shape \(20, 12\), others of the image \(12, 20\)",
        ),
        ("a dog", 3, r"segmentations are 3; give a list of entries"),
        ("a dog", [{"category": "dog"}], r"segmentations\[0\] is .*; give an object with category, size, counts"),
        ("a dog", [{**encode_mask("dog", DOG), "size": [12, 21]}], r"counts that do not cover its size 12x21"),
        ("a dog", [{**encode_mask("dog", DOG), "counts": "~"}], r"counts that do not cover its size 12x20"),
        ("a dog", [{**encode_mask("dog", DOG), "counts": [240]}], r"counts that do not cover"),
    ],
)
def test_refused(caption, masks, message):
    with pytest.raises(ValueError, match=message):
        word_importance(caption, masks, BOXES, WORDS)


def test_bad_boxes_and_scores():
    with pytest.raises(ValueError, match=r"boxes\[0\] is \[0\.0, 0\.0, 20\.0, 12\.0\]"):
        word_importance("a dog", {"dog": DOG}, [[0, 0, 20, 12]], WORDS)
    with pytest.raises(ValueError, match=r"boxes\[0\]"):
        word_importance("a dog", {"dog": DOG}, [[0.0, 0, 20, 12]], WORDS, score="share")
    with pytest.raises(ValueError, match="score"):
        word_importance("a dog", {"dog": DOG}, BOXES, WORDS, score="iou")
    with pytest.raises(ValueError, match=r"the mask of 'dog' is float64 of shape \(3,\)"):
        encode_mask("dog", np.ones(3))
