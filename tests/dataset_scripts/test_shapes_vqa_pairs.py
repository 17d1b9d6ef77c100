"""Sub-questions of shapes_vqa and their irrelevant questions: true, about the right objects, in words that tell nothing."""

import hashlib
import importlib
import json
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest
from test_shapes_vqa import oracle

from hf_guidance.data.builders import dataset_builder

REASONING = {"train_size": 3000, "dev_size": 0, "test_id_size": 0, "test_ood_size": 0, "num_boxes": 6, "dims": 1}
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PLACED = {"left_of": "place", "right_of": "place", "above": "place", "below": "place"}


@pytest.fixture(scope="module")
def reasoning(tmp_path_factory):
    datasets.disable_progress_bars()
    builder = dataset_builder(
        "shapes_vqa", reasoning_share=1.0, cache_dir=str(tmp_path_factory.mktemp("cache")), **REASONING
    )
    builder.download_and_prepare()
    return list(builder.as_dataset("train"))


@pytest.fixture
def overlap(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("word_overlap")


def family(kind):
    return "relation" if kind in PLACED else kind.split("_")[0]


def last(program):
    return program[-1]["function"]


def filters(program):
    return {step["function"].removeprefix("filter_"): step["value"] for step in program if "filter" in step["function"]}


def found(part, scene):
    """By hand: the one object that fits the description of a question."""
    (thing,) = [one for one in scene if all(one[name] == value for name, value in filters(part["program"]).items())]
    return thing


def needed_by(row):
    """By hand: the objects that the boxes of full importance show."""
    boxes = [box for box, value in zip(row["boxes"], row["importance"], strict=True) if value > 1 - 1e-6]
    return [thing for thing in row["scene"] if any(np.allclose(box, thing["box"], atol=1e-6) for box in boxes)]


def test_they_are_true_and_about_the_objects_they_should_be(reasoning):
    kinds = Counter()
    for row in reasoning:
        subs, others, kind = row["sub_questions"], row["irrelevant_questions"], row["question_type"]
        kinds[kind] += 1
        assert len(subs) == len(others) <= 2
        texts = [one["question"] for one in [row, *subs, *others]]
        assert len(set(texts)) == len(texts)
        needed = needed_by(row)
        for part in [*subs, *others]:
            assert oracle(part["program"], row["scene"]) == part["answer"], part["question"]
            assert (found(part, row["scene"]) in needed) == (part in subs), part["question"]
            assert all(value in part["question"] for value in filters(part["program"]).values())
        asked = [last(part["program"]).removeprefix("query_") for part in subs]
        assert asked == [last(part["program"]).removeprefix("query_") for part in others]
        if kind in ("exist", "count"):  # what one object is, of what the question names
            assert len({part["question"].partition(" is the ")[0] for part in subs}) == len(asked)
            assert set(asked) <= set(filters(row["program"]))
        else:  # the same of both objects
            assert set(asked) <= {PLACED.get(kind, kind.removeprefix("same_"))}
            assert len({str(found(part, row["scene"])) for part in subs}) == len(subs)
    assert len(kinds) == 10
    assert all(not kind.startswith("query_") for kind in kinds)


def test_answers_of_sub_questions_support_that_of_the_reasoning_question(reasoning):
    """What follows from the answers alone, where both are known: a comparison is decided, and so is what exists."""
    decided = Counter()
    for row in reasoning:
        subs, kind, (answer,) = row["sub_questions"], row["question_type"], row["answers"]
        told = {last(part["program"]).removeprefix("query_"): part["answer"] for part in subs}
        named = filters(row["program"])
        if kind.startswith("same_") and len(subs) == 2:
            assert (subs[0]["answer"] == subs[1]["answer"]) == (answer == "yes")
            decided[kind] += 1
        elif kind == "exist" and len(subs) == 2:
            assert (told == named) == (answer == "yes")
            assert found(subs[0], row["scene"]) == found(subs[1], row["scene"])
            decided[kind] += 1
        elif kind == "count":
            assert told.items() <= named.items()
            assert bool(subs) <= (answer != "0")
    assert decided["exist"] > 800
    assert sum(decided.values()) - decided["exist"] > 300


def test_most_reasoning_questions_have_some(reasoning):
    """Without any are counts of 0, which need no object, and scenes that have no question of the same words."""
    having = [bool(row["sub_questions"]) for row in reasoning]
    assert np.mean(having) > 0.88
    possible = [has for has, row in zip(having, reasoning, strict=True) if row["answers"] != ["0"]]
    assert np.mean(possible) > 0.91
    two = {"same": 0.40, "relation": 0.25, "exist": 0.83}  # the README's shares; standard deviations are 0.02 at most
    for name, share in two.items():
        counts = [len(row["sub_questions"]) for row in reasoning if family(row["question_type"]) == name]
        assert np.mean(np.array(counts) == 2) == pytest.approx(share, abs=0.06), name


def test_answers_are_as_frequent_in_both(reasoning):
    """Of each form of question; existence and counts ask for what they name, so that its values are their own prior."""
    forms = {}
    for row in reasoning:
        if row["question_type"] in ("exist", "count"):
            continue
        for name in ("sub_questions", "irrelevant_questions"):
            for part in row[name]:
                forms.setdefault(last(part["program"]), {}).setdefault(name, Counter())[part["answer"]] += 1
    assert set(forms) == {f"query_{name}" for name in ("colour", "shape", "size", "material", "place")}
    for form, counts in forms.items():
        subs, others = counts.values()
        apart = sum(abs(subs[answer] - others[answer]) for answer in {*subs, *others}) / 2 / sum(subs.values())
        assert apart < 0.12, form


ROWS = {0.0: "66a512c85d6dff9c", 0.3: "055c8e6d36dbf5c1", 1.0: "086112b76e0996f5"}
"""reasoning_share -> digest of what rows said before sub-questions came in pairs, sums of their numbers below."""
SUMS = {
    0.0: (475.3735, 3.3420, 8.9547),
    0.3: (308.5382, 12.2206, 17.9964),
    1.0: (5.3021, 12.9455, -12.4134),
}


@pytest.mark.parametrize("share", list(ROWS))
def test_rows_are_otherwise_as_they_were(share, prepare):
    """Other studies rest on these rows; digests are of the generator at commit b4aad9f."""
    sizes = {"train_size": 60, "dev_size": 20, "test_id_size": 20, "test_ood_size": 40}
    splits, _ = prepare("shapes_vqa", reasoning_share=share, **sizes)
    rows = [row for name in ("train", "dev", "test_id", "test_ood") for row in splits[name]]
    said = ("question_id", "image_id", "question", "answers", "question_type", "answer_type", "program", "scene")
    text = json.dumps([[row[name] for name in said] for row in rows], sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == ROWS[share]
    for name, expected in zip(("features", "boxes", "importance"), SUMS[share], strict=True):
        numbers = np.concatenate([np.ravel(row[name]) for row in rows]).astype(np.float64)
        assert numbers @ np.cos(np.arange(len(numbers))) == pytest.approx(expected, abs=2e-3)
    if share == 0:
        assert not any(row["sub_questions"] or row["irrelevant_questions"] for row in rows)


def test_by_default_rows_are_as_before_and_queries_have_none(prepare):
    sizes = {"train_size": 300, "dev_size": 0, "test_id_size": 0, "test_ood_size": 0, "num_boxes": 6, "dims": 1}
    default, given = (
        list(prepare("shapes_vqa", **sizes, **more)[0]["train"]) for more in ({}, {"reasoning_share": 0.3})
    )
    assert default == given
    for row in default:
        assert not (row["sub_questions"] and row["question_type"].startswith("query_"))


@pytest.mark.parametrize(("share", "reasons"), [(0.0, 0), (1.0, 60)])
def test_share_of_reasoning_questions(share, reasons, prepare):
    rows = prepare("shapes_vqa", reasoning_share=share, **(REASONING | {"train_size": 60}))[0]["train"]
    assert sum(not kind.startswith("query_") for kind in rows["question_type"]) == reasons
    assert 0.8 * reasons <= sum(bool(subs) for subs in rows["sub_questions"]) <= reasons


def test_share_outside_of_zero_to_one(build):
    with pytest.raises(ValueError, match=r"reasoning_share: got 1\.5; allowed: 0 to 1"):
        build("shapes_vqa", reasoning_share=1.5)


def told_apart(features, relevant, groups, model):
    """Balanced accuracy on the last third of the rows, of a model trained on the others; and which questions those are."""
    train = groups < 2 * (groups.max() + 1) // 3
    return ~train, model.fit(features[train], relevant[train]).predict(features[~train])


def every_pair(reasoning):
    """(row, question, whether it is a sub-question) of each."""
    for row in reasoning:
        for name in ("sub_questions", "irrelevant_questions"):
            yield from ((row, part, name == "sub_questions") for part in row[name])


@pytest.mark.parametrize(
    "features", ["the question", "the question and its reasoning question", "words of both, crossed"]
)
def test_a_bag_of_words_does_not_tell_them_apart(features, reasoning):
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    texts, relevant, groups = [], [], []
    for row, part, is_sub in every_pair(reasoning):
        own, asked = part["question"].rstrip("?").split(), row["question"].rstrip("?").split()
        if "crossed" in features:
            words = [f"{one}_{other}" for one in asked for other in own]
        else:
            words = [f"R{word}" for word in asked if "reasoning" in features] + own
        texts.append(" ".join(words))
        relevant.append(is_sub)
        groups.append(int(row["question_id"].split("-")[1]))
    pairs = (1, 1) if "crossed" in features else (1, 2)
    bags = CountVectorizer(token_pattern=r"\S+", ngram_range=pairs).fit_transform(texts)
    model = LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced")
    relevant, groups = np.array(relevant), np.array(groups)
    tested, predicted = told_apart(bags, relevant, groups, model)
    right = balanced_accuracy_score(relevant[tested], predicted)
    assert 0.46 < right < 0.54, right  # about 2,700 questions: a standard deviation is 0.01


@pytest.mark.parametrize("model", ["linear", "trees"])
def test_overlap_with_the_reasoning_question_does_not_tell_them_apart(model, reasoning, overlap):
    """Overall, and in the questions of every type, whose classifier knows the type."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    every = list(every_pair(reasoning))
    assert len(every) > 2000
    features = np.array([list(overlap.overlaps(part["question"], row["question"]).values()) for row, part, _ in every])
    relevant = np.array([is_sub for _, _, is_sub in every])
    groups = np.array([int(row["question_id"].split("-")[1]) for row, _, _ in every])
    kinds = np.array([row["question_type"] for row, _, _ in every])
    for kind in ("", *sorted(set(kinds))):
        chosen = (kinds == kind) | (kind == "")
        fresh = {
            "linear": LogisticRegression(class_weight="balanced", max_iter=2000),
            "trees": HistGradientBoostingClassifier(class_weight="balanced", random_state=0),
        }[model]
        _, group = np.unique(groups[chosen], return_inverse=True)
        tested, predicted = told_apart(features[chosen], relevant[chosen], group, fresh)
        right = balanced_accuracy_score(relevant[chosen][tested], predicted)
        assert right <= (0.6 if kind else 0.55), (kind, right)


def test_ranking_by_overlap_is_ranking_by_chance(reasoning, overlap):
    for measure in overlap.MEASURES:
        found = overlap.ranked_by_overlap(reasoning, measure)
        assert found["chance_mp_at_1"] == 0.5
        for name in ("mp_at_1", "ranking_accuracy"):
            assert abs(found[name] - found[f"chance_{name}"]) < 0.04, (measure, found)


def test_pairs_differ_in_words_only_that_the_reasoning_question_lacks(reasoning, overlap):
    for row in reasoning:
        asked = overlap.words_of(row["question"])
        pairs = zip(row["sub_questions"], row["irrelevant_questions"], strict=True)
        words = [[overlap.words_of(one["question"]) for one in pair] for pair in pairs]
        for own, other in words:
            assert not (own ^ other) & asked
        assert len({(len(each), len(each & asked)) for pair in words for each in pair}) <= 1


def test_they_make_triples(reasoning):
    from hf_guidance.data import QuestionTriples

    triples = QuestionTriples(reasoning[:50])
    assert len(triples) > 60
    assert triples[0]["sub_answers"] == [reasoning[0]["sub_questions"][0]["answer"]]
    assert triples[0]["boxes"] == reasoning[0]["boxes"]
