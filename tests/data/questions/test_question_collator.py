"""QuestionCollator: what comes out, and what every bad row says."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BertTokenizer, LxmertTokenizer

from hf_guidance.data.boxes import box_importance_from_iou, box_importance_from_map
from hf_guidance.data.questions.answers import AnswerVocabulary
from hf_guidance.data.questions.collator import QuestionCollator
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance
from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering
from hf_guidance.models.updn.tokenization import word_tokenizer
from hf_guidance.objectives import AnswerLoss

WORDS = ["is", "it", "red", "what", "color"]
VOCABULARY = AnswerVocabulary(("yes", "no", "red"))
BOXES = [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0.25, 0, 1, 0.75]]


def row(number=0, objects=3, **columns):
    features = np.random.default_rng(number).normal(size=(objects, 4)).astype(np.float32)
    fields = {"question_id": str(number), "image_id": f"i{number}", "question": "Is it red?", "answers": ["yes"]}
    evidence = {"features": features.tolist(), "boxes": BOXES[:objects], "importance": [0.9, 0.1, 0.0][:objects]}
    merged = {**fields, **evidence, **columns}
    return {key: value for key, value in merged.items() if not (isinstance(value, str) and value == "absent")}


def collator(**options):
    return QuestionCollator(
        **{
            "tokenizer": word_tokenizer({word: index for index, word in enumerate(WORDS)}),
            "answers": VOCABULARY,
            **options,
        }
    )


def test_the_batch():
    batch = collator(seed=3)([row(0), row(1, objects=2, answers=["no"] * 2 + ["red"] * 8, annotated=False), row(2, 1)])
    shapes = {key: (tuple(value.shape), value.dtype) for key, value in batch.items() if key != "annotated"}
    assert shapes == {
        "input_ids": ((3, 14), torch.int64),
        "attention_mask": ((3, 14), torch.int64),
        "visual_feats": ((3, 3, 4), torch.float32),
        "visual_pos": ((3, 3, 4), torch.float32),
        "visual_attention_mask": ((3, 3), torch.int64),
        "labels": ((3, 3), torch.float32),
        "target": ((3,), torch.int64),
        "importance": ((3, 3), torch.float32),
        "random_importance": ((3, 3), torch.float32),
    }
    assert batch["annotated"] == [True, False, True]
    assert batch["visual_attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]
    assert batch["input_ids"][0].tolist() == [5] * 11 + [0, 1, 2]
    assert torch.equal(batch["labels"], torch.tensor([[1, 0, 0], [0, 0.6, 1], [1, 0, 0]]))
    assert batch["target"].tolist() == [0, 2, 0]
    assert torch.equal(batch["importance"][0], torch.tensor([0.9, 0.1, 0]))
    assert not batch["importance"][1].any()
    padding = batch["visual_attention_mask"] == 0
    for key in ("visual_feats", "visual_pos", "importance", "random_importance"):
        assert not batch[key][padding].any()
    assert torch.equal(batch["visual_feats"][0], torch.tensor(row(0)["features"]))


@pytest.mark.parametrize("tokenizer", [BertTokenizer, LxmertTokenizer])
def test_lxmert_tokens(tmp_path, tokenizer):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "?"]))
    collate = collator(tokenizer=tokenizer(str(tmp_path / "vocab.txt")), max_length=20)
    batch = collate([row(), row(1, question="What color?"), row(2, question="zebra zebra?")])
    assert batch["input_ids"].shape == batch["token_type_ids"].shape == (3, 20)
    assert batch["input_ids"][0, :6].tolist() == [2, 5, 6, 7, 10, 3]
    assert collate.counts["unknown words"] == 2
    short = collator(tokenizer=collate.tokenizer, max_length=20, padding="longest")([row()])
    assert short["input_ids"].shape == (1, 6)


def test_importance_from_each_source():
    boxes = torch.tensor(BOXES)
    pixels = np.zeros((30, 40), np.uint8)
    pixels[:10, :10] = 200
    columns = {
        "reference_boxes": [[0, 0, 0.5, 0.4]],
        "mask": Image.fromarray(pixels),
        "image": Image.new("RGB", (80, 60)),
    }
    expected = {
        "importance": torch.tensor([0.9, 0.1, 0.0]),
        "reference_boxes": box_importance_from_iou(boxes, columns["reference_boxes"]).float(),
        "mask": box_importance_from_map(torch.from_numpy(pixels), boxes).float(),
    }
    for source, scores in expected.items():
        assert torch.equal(collator(source=source)([row(**columns)])["importance"][0], scores)
    assert torch.equal(collator()([row(**columns)])["importance"][0], expected["importance"])
    assert torch.equal(collator()([row(importance=None, **columns)])["importance"][0], expected["reference_boxes"])
    columns["reference_boxes"] = None
    assert torch.equal(collator()([row(importance=None, **columns)])["importance"][0], expected["mask"])
    for empty in ({"importance": None}, {"importance": "absent"}, {"importance": None, "reference_boxes": []}):
        assert collator()([row(**empty)])["annotated"] == [False]
    empty_map = {"importance": None, "mask": Image.new("L", (40, 30))}
    assert collator()([row(**empty_map)])["annotated"] == [False]
    with pytest.raises(ValueError, match=r"question_id '0'\) has no column 'mask'"):
        collator(source="mask")([row()])


def test_evaluation_deals_out_no_importance():
    """The control is told wrong boxes in training; what it is measured by are the right ones. Counts go on."""
    rows = [row(0), row(1)]
    control = collator(control_seed=0)
    assert not torch.equal(control(rows)["importance"], collator()(rows)["importance"])
    true = control.for_evaluation()
    assert torch.equal(true(rows)["importance"], collator()(rows)["importance"])
    assert true.counts is control.counts
    assert control.counts["questions"] == 4
    assert control.control_seed == 0
    plain = collator()
    assert plain.for_evaluation() is plain


def test_random_importance_and_control_belong_to_the_question():
    rows = [row(number) for number in range(8)]
    first = collator(seed=1)(rows)["random_importance"]
    again = collator(seed=1)(rows[::-1])["random_importance"].flip(0)
    assert torch.equal(first, again)
    assert not torch.equal(first, collator(seed=2)(rows)["random_importance"])
    assert first.unique().numel() == 24
    assert ((first >= 0) & (first < 1)).all()
    control = collator(control_seed=0)(rows)
    assert torch.equal(control["importance"], collator(control_seed=0)(rows[::-1])["importance"].flip(0))
    assert torch.equal(control["importance"].sort(1).values, collator()(rows)["importance"].sort(1).values)
    assert not torch.equal(control["importance"], collator()(rows)["importance"])


def test_rows_without_answers_are_only_predicted():
    for vocabulary in (None, VOCABULARY):
        collate = collator(answers=vocabulary)
        batch = collate([row(answers=None), row(1, answers="absent")])
        assert "labels" not in batch
        assert "target" not in batch
        assert batch["annotated"] == [False, False]  # no label, nothing to explain
        assert batch["importance"].any()
        assert collate.counts == ({} if vocabulary is None else {"questions without answers": 2})
    with pytest.raises(ValueError, match="rows have answers but the collator no vocabulary"):
        collator(answers=None)([row()])


@pytest.mark.parametrize("none", [None, []])
def test_a_question_without_answers_has_the_same_labels_in_every_batch(none):
    silent, seen = [row(number, answers=none) for number in range(70)], []
    collate = collator()
    among = collate([row(99), silent[0]])
    for rows in ([silent[0]], silent):  # 70 of them are no fault of the vocabulary
        seen.append(collate(rows))
    for batch in seen:
        assert torch.equal(batch["labels"][0], among["labels"][1])
        assert batch["labels"].dtype == among["labels"].dtype
        assert batch["target"].dtype == among["target"].dtype
        assert batch["labels"].shape == (len(batch["target"]), len(VOCABULARY))
        assert not any(batch["annotated"])
        assert not batch["labels"].any()
        assert not batch["target"].any()


def test_training_on_rows_without_answers_says_what_is_missing():
    batch = collator()([row(answers="absent"), row(1, answers="absent")])
    model = UpDnForQuestionAnswering(
        UpDnConfig(vocab_size=len(WORDS) + 2, word_size=4, hidden_size=8, visual_feat_dim=4, num_labels=3)
    )
    guidance = Guidance(task=AnswerLoss())
    forward = Forward(model, family_of(model), batch, guidance.needs())
    assert forward.logits().shape == (2, 3)
    with pytest.raises(ValueError, match=r"the batch has no column 'labels'.*collator"):
        guidance(None, forward)


def test_an_empty_batch():
    with pytest.raises(ValueError, match="the batch is empty; give at least one row"):
        collator()([])


def test_unknown_words_and_answers_are_counted(caplog):
    collate = collator()
    batch = collate([row(question="zebra red?"), row(1, answers=["zebra", "zebra", "yes"]), row(2, answers=["zebra"])])
    assert collate.counts == {
        "unknown words": 1, "answers outside the vocabulary": 3, "questions without a label": 1, "questions": 3,
    }  # fmt: skip
    assert batch["labels"][2].tolist() == [0, 0, 0]
    assert batch["annotated"] == [True, True, False]  # without a label there is nothing to explain
    collate([row(3, answers=["zebra"])])
    assert len(caplog.records) == 3
    assert "question_id '2'" in caplog.text


def test_a_vocabulary_of_other_data_is_an_error():
    collate = collator()
    with pytest.raises(ValueError, match=r"none of 64 questions has a label.*'zebra'.*vocabulary begins \['yes'"):
        collate([row(number, answers=["zebra"]) for number in range(64)])
    collate = collator()
    collate([row()])
    collate([row(number, answers=["zebra"]) for number in range(64)])


def test_features_from_a_store():
    plain = row()
    store = {"i0": (np.asarray(plain["features"]), np.asarray(BOXES))}
    absent = {"features": "absent", "boxes": "absent"}
    batch = collator(regions=store)([row(**absent)])
    assert torch.equal(batch["visual_feats"], collator()([plain])["visual_feats"])
    with pytest.raises(ValueError, match=r"question_id '1'\): no image features. i1"):
        collator(regions=store)([row(), row(1, **absent)])
    with pytest.raises(ValueError, match="no column 'features' and the collator no regions"):
        collator()([row(**absent)])
    with pytest.raises(ValueError, match="has no image_id"):
        collator(regions=store)([row(image_id=None, **absent)])


NAN = float("nan")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"question": "  "}, "the question is '  '"),
        ({"question": None}, "the question is None"),
        ({"question": "?"}, r"'\?' holds no word"),
        ({"question_id": None}, "has no question_id"),
        ({"boxes": BOXES[:2]}, r"3 rows of features but boxes of shape \(2, 4\)"),
        ({"boxes": None}, "has features but no boxes"),
        ({"features": [], "boxes": []}, r"features have shape \(0,\)"),
        ({"features": [[NAN] * 4] * 3}, "features hold NaN"),
        ({"boxes": [[0, 0, 40, 30]] * 3}, "boxes reach from 0 to 40.*Divide pixel boxes"),
        ({"boxes": [[0.5, 0, 0.1, 1]] * 3}, "reversed"),
        ({"boxes": [[NAN, 0, 1, 1]] * 3}, "boxes reach"),
        ({"importance": [1.0, 0.0]}, r"importance has shape \(2,\) for 3 boxes"),
        ({"importance": [1.0, NAN, 0.0]}, "importance holds nan"),
        ({"importance": [1.0, 2.0, 0.0]}, "importance holds 2"),
        ({"importance": None, "reference_boxes": [[0, 0, 9, 9]]}, r"reference_boxes: reference_boxes\[0\] is"),
        ({"importance": None, "reference_boxes": [[0, 0, 1]]}, r"reference_boxes have shape \(1, 3\)"),
        ({"importance": None, "mask": Image.new("RGB", (4, 4), "red")}, r"mask: it has colours.*one channel is meant"),
        (
            {"importance": None, "mask": Image.new("L", (40, 40)), "image": Image.new("RGB", (40, 30))},
            "the map is 40x40, the image 40x30: not the same aspect ratio",
        ),
        (
            {"importance": None, "mask": Image.new("L", (40, 40)), "image": np.zeros((30, 40, 3), np.uint8)},
            "the map is 40x40, the image 40x30: not the same aspect ratio",
        ),
        (
            {"importance": None, "mask": Image.new("RGB", (40, 30), "red").convert("P")},
            "mask: it has a palette of colours, where one channel is meant",
        ),
        ({"answers": "yes"}, "answers is the text 'yes'"),
    ],
)
def test_bad_rows_are_named(columns, message):
    with pytest.raises(ValueError, match=message) as caught:
        collator()([row(7), row(**columns)])
    assert "row 1 of the batch (question_id " in str(caught.value)


def test_features_of_different_width():
    with pytest.raises(ValueError, match=r"features have \[4, 5\] numbers"):
        collator()([row(), row(1, features=[[0.0] * 5] * 3)])


def test_a_map_of_another_size_but_the_same_shape():
    mask = np.zeros((15, 21), np.uint8)
    mask[:7, :10] = 255
    batch = collator()([row(importance=None, mask=Image.fromarray(mask), image=Image.new("RGB", (640, 457)))])
    assert batch["annotated"] == [True]
    assert batch["importance"].argmax() == 0


def test_a_map_without_an_image_is_counted(caplog):
    mask = Image.new("L", (40, 30), 9)
    for image, unchecked in (
        ("absent", 1), (None, 1), (np.zeros(3), 1), (Image.new("RGB", (80, 60)), 0), (np.zeros((60, 80, 3)), 0),
    ):  # fmt: skip
        collate = collator()
        collate([row(importance=None, mask=mask, image=image), row(1)])
        assert collate.counts["map not checked against an image"] == unchecked
    assert "map not checked against an image, first in row 0 of the batch (question_id '0')" in caplog.text


def test_a_batch_of_one_and_all_boxes_important():
    batch = collator()([row(importance=[1.0, 1.0, 1.0])])
    assert batch["annotated"] == [True]
    assert batch["importance"].tolist() == [[1, 1, 1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "boxes"}, "source='boxes' is unknown"),
        ({"padding": "yes"}, "padding='yes' is unknown"),
        ({"max_length": 0}, "max_length=0"),
    ],
)
def test_unknown_options(options, message):
    with pytest.raises(ValueError, match=message):
        collator(**options)
