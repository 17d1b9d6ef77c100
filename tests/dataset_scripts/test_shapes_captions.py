"""shapes_captions: captions are true, masks exact, what is named together changes, seeds decide everything."""

import importlib
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from hf_guidance.data import CaptionCollator, VisualWords, category_masks, dataset_builder
from hf_guidance.models import caption_tokenizer

SMALL = {"train_size": 60, "dev_size": 10, "test_id_size": 10, "test_ood_size": 40}
RING = ["circle", "square", "triangle", "diamond", "cross"]
RELATIONS = {"left of": (0, 1), "right of": (0, -1), "above": (1, 1), "below": (1, -1)}


@pytest.fixture(scope="module")
def grammar():
    dataset_builder("shapes_captions")
    return importlib.import_module("hf_guidance.dataset_scripts.shapes_captions.grammar")


def read(caption):
    """By hand: the described objects of a caption, and the relation of the first to each other."""
    text = caption.removeprefix("there is ").replace(" is ", " ")
    phrases, relations = [[]], []
    words = text.split()
    place = 0
    while place < len(words):
        found = next((r for r in RELATIONS if words[place : place + len(r.split())] == r.split()), None)
        if found:
            relations.append(found)
            phrases.append([])
            place += len(found.split())
        else:
            if words[place] not in ("a", "an", "and"):
                phrases[-1].append(words[place])
            place += 1
    return phrases, relations


def test_captions_are_true(prepare):
    splits, _ = prepare("shapes_captions", **SMALL)
    for row in [*splits["train"], *splits["test_ood"]]:
        large = [thing for thing in row["scene"] if thing["size"] == "large"]
        assert [thing["named"] for thing in row["scene"]] == [thing["size"] == "large" for thing in row["scene"]]
        assert len({thing["shape"] for thing in large}) == len(large) in (2, 3)
        assert row["caption"] == row["captions"][0]
        assert len(row["captions"]) == 5
        for caption in row["captions"]:
            phrases, relations = read(caption)
            said = []
            for phrase in phrases:
                (thing,) = [thing for thing in large if thing["shape"] == phrase[-1]]
                assert phrase[-2] == thing["colour"]
                assert phrase[:-2] in ([], [thing["material"]])
                said.append(thing["box"])
            assert len(said) == len(large)
            centres = [np.array([box[0] + box[2], box[1] + box[3]]) / 2 for box in said]
            for relation, centre in zip(relations, centres[1:], strict=True):
                axis, sign = RELATIONS[relation]
                apart = centre - centres[0]
                assert apart[axis] * sign > 0
                assert abs(apart[axis]) >= abs(apart[1 - axis]) - 1e-6


def test_masks_are_those_of_the_picture(prepare):
    splits, _ = prepare("shapes_captions", images=True, **SMALL)
    for row in splits["train"]:
        objects, masks = np.asarray(row["object_mask"]), category_masks(row["segmentations"])
        assert set(masks) == {thing["shape"] for thing in row["scene"]}
        for shape, mask in masks.items():
            numbers = [index + 1 for index, thing in enumerate(row["scene"]) if thing["shape"] == shape]
            assert np.array_equal(mask, np.isin(objects, numbers))
        assert row["image"].size == (128, 128)


def named_pairs(split):
    """Pairs of shapes named together, and colours of named shapes."""
    pairs, colours, shapes = Counter(), Counter(), Counter()
    for scene in split["scene"]:
        named = [thing for thing in scene if thing["named"]]
        shapes.update(thing["shape"] for thing in named)
        colours.update((thing["shape"], thing["colour"]) for thing in named)
        for one, other in combinations(named, 2):
            apart = (RING.index(one["shape"]) - RING.index(other["shape"])) % 5
            pairs["near" if apart in (1, 4) else "far"] += 1
    return pairs, colours, shapes


def test_what_is_named_together_changes(prepare, grammar):
    splits, _ = prepare("shapes_captions", train_size=600, dev_size=0, test_id_size=400, test_ood_size=400, dims=1)
    assert list(splits) == ["train", "test_id", "test_ood"]
    found = {name: named_pairs(split) for name, split in splits.items()}
    near = {name: pairs["near"] / pairs.total() for name, (pairs, _, _) in found.items()}
    assert min(near["train"], near["test_id"]) > 0.6
    assert near["test_ood"] < 0.4
    for _, _, shapes in found.values():
        assert max(shapes.values()) < 1.35 * min(shapes.values())  # no shape is named more often than others
    by_rank = np.zeros(8)  # from the most frequent colour of each shape to its rarest
    for shape in RING:
        prior, other = (grammar.colour_prior(shape, 8.0, ood) for ood in (False, True))
        assert prior.max() == pytest.approx(8 * prior.min())
        assert np.array_equal(prior.argsort(), other.argsort()[::-1])
        drawn = np.array([found["train"][1][shape, colour] for colour in grammar.COLOURS])
        by_rank += drawn[prior.argsort()[::-1]]
    assert by_rank / by_rank.sum() == pytest.approx(sorted(prior, reverse=True), abs=0.04)


def test_no_prior_with_ratio_one(grammar):
    for ood in (False, True):
        assert grammar.companion_weights("square", 1.0, ood).tolist() == [1, 0, 1, 1, 1]
        assert grammar.colour_prior("square", 1.0, ood).tolist() == [0.125] * 8
    assert grammar.companion_weights("circle", 4.0, False).tolist() == [0, 4, 1, 1, 4]
    assert grammar.companion_weights("circle", 4.0, True).tolist() == [0, 1, 4, 4, 1]


def test_seed_decides(prepare, tmp_path):
    first, _ = prepare("shapes_captions", **SMALL)
    again, _ = prepare("shapes_captions", cache_dir=str(tmp_path / "again"), **SMALL)
    other, _ = prepare("shapes_captions", seed=1, **SMALL)
    longer, _ = prepare("shapes_captions", **(SMALL | {"train_size": 80}))
    with_images, _ = prepare("shapes_captions", images=True, **SMALL)
    for split in first:
        assert list(first[split]) == list(again[split])
        assert first[split]["caption"][:] != other[split]["caption"][:]
        assert list(with_images[split].select_columns(first[split].column_names)) == list(first[split])
    assert list(longer["train"].select(range(60))) == list(first["train"])


def test_every_named_shape_is_an_explained_word(prepare):
    train = prepare("shapes_captions", **SMALL)[0]["train"]
    tokenizer = caption_tokenizer(train["caption"])
    rows = [train[index] for index in range(8)]
    batch = CaptionCollator(tokenizer, words=VisualWords.from_names(RING))(rows)
    shapes = [word for row in rows for word in row["caption"].split() if word in RING]
    assert tokenizer.convert_ids_to_tokens(batch["target"]) == shapes
    assert all(batch["annotated"])
    for number, (image, shape) in enumerate(zip(batch["row"], shapes, strict=True)):
        (thing,) = [t for t in rows[image]["scene"] if t["shape"] == shape and t["named"]]
        own = abs(np.array(rows[image]["boxes"]) - thing["box"]).max(1).argmin()
        # the box of a thing holds no pixel of another, and more of its own shape than any other place
        assert batch["importance"][number, own] > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_boxes": 4}, r"num_boxes: got 4; allowed: 5 to 1000"),
        ({"min_objects": 1}, r"min_objects: got 1; allowed: 2 to 16"),
        ({"max_objects": 17}, r"max_objects: got 17; allowed: 3 to 16"),
        ({"num_captions": 0}, r"num_captions: got 0; allowed: 1 to"),
        ({"prior_ratio": 0.5}, r"prior_ratio: got 0\.5; allowed: 1 to"),
        ({"dev_size": -1}, r"dev_size: got -1"),
    ],
)
def test_options_are_checked(options, message, build):
    with pytest.raises(ValueError, match=message):
        build("shapes_captions", **options)
