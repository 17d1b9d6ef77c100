"""shapes_vqa: programs give the answers, masks and importance are exact, priors shift, seeds decide everything."""

import importlib
from collections import Counter

import numpy as np
import pytest

from hf_guidance.data.builders import dataset_builder

SMALL = {"train_size": 60, "dev_size": 20, "test_id_size": 20, "test_ood_size": 40}


@pytest.fixture(scope="module")
def script():
    dataset_builder("shapes_vqa")
    return lambda name: importlib.import_module(f"hf_guidance.dataset_scripts.shapes_vqa.{name}")


def oracle(program, scene):
    """An executor of its own: objects as the row tells them, centres for relations."""
    results = []
    for step in program:
        function, value, given = step["function"], step["value"], [results[i] for i in step["inputs"]]
        if function == "scene":
            results.append(scene)
        elif function.startswith("filter_"):
            results.append([thing for thing in given[0] if thing[function[7:]] == value])
        elif function == "unique":
            (thing,) = given[0]
            results.append(thing)
        elif function.startswith("query_"):
            results.append(given[0][function[6:]])
        elif function == "exist":
            results.append("yes" if given[0] else "no")
        elif function == "count":
            results.append(str(len(given[0])))
        elif function.startswith("same_"):
            results.append("yes" if given[0][function[5:]] == given[1][function[5:]] else "no")
        else:
            (x0, y0), (x1, y1) = (((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in (thing["box"] for thing in given))
            holds = {"left_of": x0 < x1, "right_of": x0 > x1, "above": y0 < y1, "below": y0 > y1}[function]
            results.append("yes" if holds else "no")
    return results[-1]


def words_of(program) -> set[str]:
    return {step["value"] for step in program if step["value"]}


def overlap(box, other) -> float:
    width = max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
    height = max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return width * height / (sum(areas) - width * height)


def test_programs_give_the_answers(prepare):
    splits, _ = prepare("shapes_vqa", **(SMALL | {"train_size": 400}))
    kinds, reasons = Counter(), 0
    for row in splits["train"]:
        kinds[row["question_type"]] += 1
        assert oracle(row["program"], row["scene"]) == row["answers"][0], row["question"]
        assert row["program"][-1]["function"] == row["question_type"]
        for value in words_of(row["program"]):
            assert value in row["question"]
        for part in row["sub_questions"]:
            assert oracle(part["program"], row["scene"]) == part["answer"], part["question"]
            assert len(part["importance"]) == 12
        if row["question_type"].startswith("query_"):
            assert not row["sub_questions"]
        else:
            reasons += bool(row["sub_questions"])
    assert len(kinds) == 15
    queries = sum(count for kind, count in kinds.items() if kind.startswith("query_"))
    assert 0.6 < queries / 400 < 0.8
    assert reasons > 0.85 * (400 - queries)


def needed(row) -> list[dict]:
    """By hand: the objects that the question is about."""
    program, scene = row["program"], row["scene"]
    found, last = {}, []
    for number, step in enumerate(program):
        if step["function"] == "scene":
            found[number] = scene
        elif step["function"].startswith("filter_"):
            before = found[step["inputs"][0]]
            found[number] = [thing for thing in before if thing[step["function"][7:]] == step["value"]]
        elif step["function"] == "unique":
            last += found[step["inputs"][0]]
        elif step["function"] == "count":
            last = found[step["inputs"][0]]
        elif step["function"] == "exist":
            last = found[step["inputs"][0]] or found[number - 2]
    return last


@pytest.mark.parametrize("importance", ["iou", "exact"])
def test_importance_is_that_of_the_needed_objects(importance, prepare):
    splits, _ = prepare("shapes_vqa", importance=importance, **SMALL)
    for row in splits["train"]:
        references = [thing["box"] for thing in needed(row)]
        expected = [max((overlap(box, other) for other in references), default=0.0) for box in row["boxes"]]
        if importance == "exact":
            assert sorted(row["importance"]) == [0.0] * (12 - len(references)) + [1.0] * len(references)
            expected = [float(value > 1 - 1e-6) for value in expected]
        assert row["importance"] == pytest.approx(expected, abs=1e-6)
        assert sum(value > 1 - 1e-6 for value in row["importance"]) >= len(references)


def test_boxes_hold_every_object_and_distractors(prepare):
    splits, _ = prepare("shapes_vqa", num_boxes=36, dims=16, **SMALL)
    for row in splits["train"]:
        boxes, features = np.array(row["boxes"]), np.array(row["features"])
        assert boxes.shape == (36, 4)
        assert features.shape == (36, 16)
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert boxes.min() >= 0
        assert boxes.max() <= 1
        assert 3 <= len(row["scene"]) <= 6
        for thing in row["scene"]:
            assert abs(boxes - thing["box"]).max(1).min() < 1e-6


def test_scenes_full_of_objects_still_have_unique_descriptions(prepare):
    splits, _ = prepare("shapes_vqa", min_objects=16, max_objects=16, num_boxes=16, **SMALL)
    for row in splits["train"]:
        assert len(row["scene"]) == 16
        assert oracle(row["program"], row["scene"]) == row["answers"][0]


def test_rows_go_through_the_collator(prepare):
    from hf_guidance.data.questions.answers import AnswerVocabulary
    from hf_guidance.data.questions.collator import QuestionCollator
    from hf_guidance.models import word_tokenizer

    train = prepare("shapes_vqa", images=True, **SMALL)[0]["train"]
    answers = AnswerVocabulary.from_answers(train["answers"], min_occurrence=1)
    batch = QuestionCollator(word_tokenizer(train["question"]), answers)([train[index] for index in range(8)])
    assert batch["visual_feats"].shape == (8, 12, 64)
    assert np.allclose(batch["importance"], [train[index]["importance"] for index in range(8)])
    assert batch["annotated"] == [any(train[index]["importance"]) for index in range(8)]
    assert batch["labels"].sum(1).tolist() == [1.0] * 8


def test_features_are_the_code_without_noise(prepare, script):
    splits, _ = prepare("shapes_vqa", noise=0.0, duplicates=0.0, **SMALL)
    regions, scenes = script("regions"), script("scenes")
    table = regions.codes(64)
    for row in splits["dev"]:
        boxes = np.array(row["boxes"])
        for thing in row["scene"]:
            index = abs(boxes - thing["box"]).max(1).argmin()
            box = boxes[index]
            geometry = np.concatenate([(box - 0.5) * 2, (box[2:] - box[:2]) * 2])
            looks = sum(table[n][scenes.ATTRIBUTES[n].index(thing[n])] for n in ("colour", "shape", "size", "material"))
            assert np.allclose(row["features"][index], looks + geometry @ table["geometry"], atol=1e-4)


def test_noise_has_its_standard_deviation(prepare):
    noisy, _ = prepare("shapes_vqa", **SMALL)
    clean, _ = prepare("shapes_vqa", noise=0.0, **SMALL)
    difference = np.array(noisy["train"]["features"][:]) - np.array(clean["train"]["features"][:])
    assert np.std(difference) == pytest.approx(1.2, rel=0.02)


def test_masks_are_exact(prepare, script):
    scenes = script("scenes")
    splits, _ = prepare("shapes_vqa", images=True, max_objects=12, **SMALL)
    for row in splits["train"]:
        image, objects, mask = (np.asarray(row[name]).astype(int) for name in ("image", "object_mask", "mask"))
        assert set(np.unique(objects)) == set(range(len(row["scene"]) + 1))
        wanted = [row["scene"].index(thing) + 1 for thing in needed(row)]
        assert np.array_equal(mask == 255, np.isin(objects, wanted))
        assert set(np.unique(mask)) <= {0, 255}
        for index, thing in enumerate(row["scene"]):
            y, x = np.nonzero(objects == index + 1)
            tight = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / scenes.SIDE
            assert np.allclose(tight, thing["box"])
            colour = np.array(scenes.PALETTE[thing["colour"]])
            plain = (image[y, x] == colour).all(-1)
            assert plain.any()
            assert plain.all() == (thing["material"] == "matte")
            across, down = (np.array(thing["box"])[[0, 1]] + np.array(thing["box"])[[2, 3]]) / 2
            assert thing["place"] == f"{'top' if down < 0.5 else 'bottom'} {'left' if across < 0.5 else 'right'}"
        outside = image[objects == 0]
        assert np.ptp(outside, axis=-1).max() == 0  # grey


def test_shapes_touch_their_box(script):
    for shape in script("scenes").ATTRIBUTES["shape"]:
        for pixels in (14, 26):
            inside = script("scenes").stencil(shape, pixels)
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            assert np.array_equal(inside, inside[:, ::-1])


def total_variation(one: Counter, other: Counter) -> float:
    keys = set(one) | set(other)
    return sum(abs(one[k] / sum(one.values()) - other[k] / sum(other.values())) for k in keys) / 2


def kind_priors(dataset) -> dict[str, Counter]:
    priors: dict[str, Counter] = {}
    for kind, answers in zip(dataset["question_type"], dataset["answers"], strict=True):
        priors.setdefault(kind, Counter())[answers[0]] += 1
    return priors


def test_the_prior_shifts(prepare, script):
    sizes = {"train_size": 1500, "dev_size": 0, "test_id_size": 600, "test_ood_size": 600, "dims": 1}
    splits, _ = prepare("shapes_vqa", **sizes)
    assert {name: len(split) for name, split in splits.items()} == {"train": 1500, "test_id": 600, "test_ood": 600}
    train, test_id, test_ood = (kind_priors(splits[name]) for name in ("train", "test_id", "test_ood"))
    module = script("shapes_vqa")
    for kind in ("query_colour", "query_shape", "query_size", "query_material", "query_place"):
        near, far = total_variation(train[kind], test_id[kind]), total_variation(train[kind], test_ood[kind])
        assert far > 0.25
        assert near < far - 0.1
        prior, reverse = (module.answer_prior(kind, 3.0, ood) for ood in (False, True))
        assert prior.max() == pytest.approx(3 * prior.min())
        assert sorted(prior) == pytest.approx(sorted(reverse))
        assert np.array_equal(prior.argsort(), reverse.argsort()[::-1])
        drawn = np.array([train[kind][answer] for answer in script("questions").KINDS[kind]])
        assert drawn / drawn.sum() == pytest.approx(prior, abs=0.1)


def test_no_shift_with_ratio_one(script):
    assert np.array_equal(script("shapes_vqa").answer_prior("query_shape", 1.0, True), np.full(5, 0.2))


def test_seed_decides(prepare, tmp_path):
    first, _ = prepare("shapes_vqa", **SMALL)
    again, _ = prepare("shapes_vqa", cache_dir=str(tmp_path / "again"), **SMALL)
    other, _ = prepare("shapes_vqa", seed=1, **SMALL)
    longer, _ = prepare("shapes_vqa", **(SMALL | {"train_size": 80}))
    with_images, _ = prepare("shapes_vqa", images=True, **SMALL)
    for split in first:
        assert list(first[split]) == list(again[split])
        assert first[split]["question"][:] != other[split]["question"][:]
        assert list(with_images[split].select_columns(first[split].column_names)) == list(first[split])
    assert list(longer["train"].select(range(60))) == list(first["train"])


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ([{"function": "scene", "value": "", "inputs": []}], r"no step gives an answer"),
        ([{"function": "colour", "value": "", "inputs": []}], r"step 0: got 'colour'; allowed: scene, filter_"),
        (
            [{"function": "scene", "value": "", "inputs": []}, {"function": "unique", "value": "", "inputs": [0]}],
            r"step 1: unique got 0 objects; allowed: exactly 1",
        ),
    ],
)
def test_bad_programs_are_named(program, message, script):
    with pytest.raises(ValueError, match=message):
        script("questions").execute(program, [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_boxes": 5}, r"num_boxes: got 5; allowed: 6 to 1000"),
        ({"min_objects": 2}, r"min_objects: got 2; allowed: 3 to 16"),
        ({"max_objects": 17}, r"max_objects: got 17; allowed: 3 to 16"),
        ({"importance": "soft"}, r"importance: got 'soft'; allowed: 'iou', 'exact'"),
        ({"noise": -1}, r"noise: got -1"),
        ({"prior_ratio": 0.5}, r"prior_ratio: got 0\.5; allowed: 1 to"),
        ({"dev_size": -1}, r"dev_size: got -1"),
    ],
)
def test_options_are_checked(options, message, build):
    with pytest.raises(ValueError, match=message):
        build("shapes_vqa", **options)
