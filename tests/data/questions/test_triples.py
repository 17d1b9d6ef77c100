"""QuestionTripleCollator: what comes out, what stands alone, and what every bad row says."""

import datasets
import numpy as np
import pytest
import torch

from hf_guidance.data import QuestionCollator, QuestionTripleCollator
from hf_guidance.data.questions.answers import AnswerVocabulary
from hf_guidance.models.updn.tokenization import word_tokenizer
from hf_guidance.objectives import RoleAnswerLoss

WORDS = ["is", "it", "day", "the", "sky", "bright", "does", "train", "move"]
VOCABULARY = AnswerVocabulary(("yes", "no"))
BOXES = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0.25, 0, 1, 0.75]], np.float32)
SUB = {"sub_question": "Is the sky bright?", "sub_answers": ["yes"] * 10}
IRRELEVANT = {"irrelevant_question": "Does the train move?", "irrelevant_answers": ["no"]}


def row(number=0, objects=3, **columns):
    features = np.random.default_rng(number).normal(size=(objects, 4)).astype(np.float32)
    own = {"question_id": number, "question": "Is it day?", "answers": ["yes"], "image_id": f"i{number}"}
    return own | {"features": features, "boxes": BOXES[:objects]} | columns


def triple(number=0, **columns):
    return row(number, **(SUB | IRRELEVANT | columns))


def collator(**options):
    tokenizer = word_tokenizer({word: index for index, word in enumerate(WORDS)})
    return QuestionTripleCollator(**{"tokenizer": tokenizer, "answers": VOCABULARY, **options})


def test_the_batch():
    collate = collator()
    batch = collate([triple(0), row(1, objects=2), row(2, **SUB)])
    assert batch["role"] == [0, 1, 2, 0, 0, 1]
    assert batch["group"] == [0, 0, 0, -1, 2, 2]
    assert batch["annotated"] == [True, True, True, False, True, True]
    assert batch["same_image"] == [0, 0, 0, 1, 2, 2]
    assert batch["target"].tolist() == [0, 0, 1, 0, 0, 0]
    assert {"importance", "random_importance"}.isdisjoint(batch)
    assert len(batch["labels"]) == len(batch["input_ids"]) == len(batch["visual_pos"]) == 6
    features = batch["visual_feats"]
    assert torch.equal(features[0], features[1])
    assert torch.equal(features[0], features[2])
    assert not torch.equal(features[0], features[4])
    assert batch["visual_attention_mask"][3].tolist() == [1, 1, 0]
    assert batch["input_ids"][1].tolist()[-4:] == [0, 3, 4, 5]


def test_rows_are_those_of_the_collator_of_questions():
    collate = collator()
    plain = QuestionCollator(collate.tokenizer, VOCABULARY)
    batch, alone = collate([row(3)]), plain([row(3)])
    assert all(torch.equal(batch[name], alone[name]) for name in alone if isinstance(batch.get(name), torch.Tensor))


def test_triples_about_one_image_share_it():
    """Where features are looked up by the id; rows with features of their own may hold others under one id."""

    class Regions(dict):
        asked = 0

        def __getitem__(self, key):
            Regions.asked += 1
            return super().__getitem__(key)

    regions = Regions({f"i{number}": (row(number)["features"], BOXES) for number in range(2)})
    rows = [triple(number, image_id="i0", features=None, boxes=None) for number in range(2)] + [
        triple(2, image_id="i1", features=None, boxes=None)
    ]
    batch = collator(regions=regions)(rows)
    assert batch["same_image"] == [0] * 6 + [1] * 3
    assert Regions.asked == 3  # once for each row, not for each question
    assert collator()([triple(0), triple(0)])["same_image"] == [0] * 3 + [1] * 3


@pytest.mark.parametrize(
    ("columns", "place", "answered"),
    [
        ({"sub_answers": None}, 1, False),
        ({"sub_answers": []}, 1, False),
        ({"sub_answers": ["purple"]}, 1, True),
        ({"irrelevant_answers": None}, 2, False),
        ({"irrelevant_answers": ["purple"]}, 2, True),
        ({"answers": ["purple"]}, 0, True),
        ({"answers": None}, 0, False),
        ({"sub_answers": {"answer": []}}, 1, False),
        ({"sub_answers": [{"answer": "purple"}]}, 1, True),
    ],
)
def test_a_question_without_a_label_keeps_its_role_and_is_not_explained(columns, place, answered):
    collate = collator()
    batch = collate([triple(**columns)])
    assert batch["role"] == batch["compared_as"] == [0, 1, 2]
    assert batch["group"] == [0, 0, 0]
    assert batch["annotated"] == [other != place for other in range(3)]
    assert batch["answered"] == [other != place or answered for other in range(3)]
    assert collate.counts["questions without a label"] == 1


@pytest.mark.parametrize(
    "columns",
    [{}, {"sub_answers": ["purple"]}, {"irrelevant_answers": ["purple"]}, {"answers": ["purple"]}],
)
def test_the_weight_of_an_answer_is_that_of_its_role(columns):
    """Equation 3 of arXiv 2010.10038, whatever the label; an irrelevant question weighed as all three was 15,000 times it."""
    batch = collator()([triple(0, **columns), row(1)])
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))

    class Step:
        images, row, slot = 4, [0, 1, 2, 3], [0] * 4

        def __init__(self):
            self.batch = batch

        def logits(self):
            return logits

        def column(self, name):
            return batch[name]

    bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch["labels"], reduction="none").sum(1)
    weights = torch.tensor([2.27, 2.27, 0.0003, 4.5403])
    task = RoleAnswerLoss(role_weights=(2.27, 2.27, 0.0003))
    torch.testing.assert_close(task(Step()), weights * bce)


def test_ids_of_images():
    batch = collator()([triple(0), row(1, image_id=None)])
    assert batch["image_id"] == ["i0"] * 3 + [None]
    assert "image_id" not in collator()([triple(0, image_id=None)])


def test_rows_without_partners():
    collate = collator()
    batch = collate([row(0, **IRRELEVANT), row(1, sub_question=None, sub_answers=None)])
    assert batch["role"] == [0, 2, 0]
    assert batch["annotated"] == [False] * 3
    assert batch["group"] == [-1, -1, -1]
    assert collate.counts["irrelevant questions without a sub-question"] == 1


def test_rows_without_answers_are_only_predicted():
    rows = [triple(answers=None, sub_answers=None, irrelevant_answers=None)]
    batch = collator(answers=None)(rows)
    assert "labels" not in batch
    assert batch["group"] == [0] * 3
    assert batch["annotated"] == batch["answered"] == [False] * 3


def test_the_control_swaps_what_is_compared():
    """In about half of the triples, alike in every epoch and order; not in evaluation, and nothing else changes."""
    rows = [triple(number) for number in range(40)]
    plain, swapped = collator()(rows), collator(control_seed=1)(rows)
    as_what = [tuple(swapped["compared_as"][3 * number : 3 * number + 3]) for number in range(40)]
    assert set(as_what) == {(0, 1, 2), (0, 2, 1)}
    assert 10 < as_what.count((0, 2, 1)) < 30
    assert plain["compared_as"] == plain["role"]
    for name in plain.keys() - {"compared_as"}:
        both = plain[name], swapped[name]
        assert torch.equal(*both) if isinstance(both[0], torch.Tensor) else both[0] == both[1]
    back = collator(control_seed=1)(rows[::-1])["compared_as"]
    assert [tuple(back[3 * number : 3 * number + 3]) for number in range(40)][::-1] == as_what
    assert collator(control_seed=1).for_evaluation()(rows)["compared_as"] == plain["role"]
    pairs = [row(number, **SUB) for number in range(8)]
    assert collator(control_seed=1)(pairs)["compared_as"] == [0, 1] * 8


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"sub_question": "is it day"},
            r"question_id 7\): question and sub_question are both 'Is it day\?'; a question",
        ),
        ({"irrelevant_question": "Is it  DAY ?"}, r"question and irrelevant_question are both 'Is it day\?'"),
        (
            {"irrelevant_question": "is the sky bright"},
            r"sub_question and irrelevant_question are both 'Is the sky bright\?'",
        ),
        ({"sub_question": None}, r"has 'sub_answers' and no 'sub_question'; add the question, or leave both out"),
        (
            {"sub_question": " "},
            r"question_id 7\): sub_question is ' '; allowed is text. Set it and its answers to None",
        ),
        ({"sub_question": 4}, r"question_id 7\): sub_question is 4; allowed is text"),
        ({"irrelevant_question": ""}, r"question_id 7\): irrelevant_question is ''; allowed is text. Set it"),
        ({"question": None}, r"question_id 7\): the question is None; allowed is text"),
        ({"sub_answers": "yes"}, r"question_id '7#sub'\): answers is the text 'yes'"),
        ({"question_id": None}, r"question_id None\) has no question_id"),
        ({"features": None}, r"has no column 'features' and the collator no regions"),
    ],
)
def test_bad_rows_are_refused_by_name(columns, message):
    with pytest.raises(ValueError, match=message):
        collator()([triple(0), triple(7, **columns)])


def test_lists_of_questions_are_no_triples():
    lists = {"sub_questions": [{"question": "is the sky bright", "answers": ["yes"]}]}
    with pytest.raises(ValueError, match=r"has a list 'sub_questions' and no 'sub_question'; a row is one triple"):
        collator()([row(0, **lists)])
    assert collator()([triple(0, **lists), row(1, sub_question=None, **lists), row(2, sub_questions=[])])["group"][
        3:
    ] == [-1, -1]


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="the batch is empty"):
        collator()([])


@pytest.mark.parametrize("options", [{"source": "mask"}, {"seed": 3}])
def test_options_of_importance_are_refused(options):
    with pytest.raises(ValueError, match=r"QuestionTripleCollator\(.*importance of boxes is not collated with triples"):
        collator(**options)


@pytest.mark.parametrize("of", [list, datasets.Dataset.from_list])
def test_equal_questions_are_found_before_training(of):
    texts = [{name: value for name, value in triple(number).items() if "question" in name} for number in range(3)]
    texts[1]["sub_question"] = None
    collator().check_rows(of(texts), "train_dataset")
    texts[2]["sub_question"] = "is it day?"
    with pytest.raises(
        ValueError, match=r"row 2 of train_dataset: .* are both 'Is it day\?'.*Set 'sub_question' and its"
    ):
        collator().check_rows(of(texts), "train_dataset")
    texts[2]["sub_question"] = ""
    with pytest.raises(
        ValueError, match=r"row 2 of train_dataset: sub_question is ''; allowed is text. Set it and its"
    ):
        collator().check_rows(of(texts), "train_dataset")
    collator().check_rows(of([{"question": "is it day", "question_id": "1"}]), "train_dataset")


@pytest.mark.parametrize("of", [list, datasets.Dataset.from_list])
def test_two_questions_of_one_id_are_found_before_training(of):
    names = ("question_id", "image_id", "question", "sub_question")
    same = [{name: triple(3)[name] for name in names} for _ in range(2)]
    same[1]["question"] = "is it  DAY"
    collator().check_evaluation_rows(of(same), "eval_dataset")
    collator().check_evaluation_rows(of([*same, {**same[0], "image_id": None}]), "eval_dataset")
    with pytest.raises(
        ValueError,
        match=r"question_id '3' have two .*'Is it day\?' about image 'i3', and 'Is it day\?' about image 'i4'",
    ):
        collator().check_evaluation_rows(of([*same, {**same[0], "image_id": "i4"}]), "eval_dataset")
    with pytest.raises(ValueError, match=r"have two reasoning questions: .*and 'does it move' about image 'i3'"):
        collator().check_evaluation_rows(of([*same, {**same[0], "question": "does it move"}]), "eval_dataset")
    alone = [{**one, "sub_question": None, "image_id": str(number)} for number, one in enumerate(same)]
    collator().check_evaluation_rows(of([*alone, same[0]]), "eval_dataset")  # what stands alone is not measured
