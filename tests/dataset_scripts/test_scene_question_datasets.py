"""GQA's boxes and CLEVR-XAI's masks: the official numbers, the real sample, and what is wrong in them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from raw_questions import clevr_question, gqa_question, make_clevr_xai, make_gqa, write_json

from hf_guidance.data.boxes import box_importance_from_map
from hf_guidance.data.builders import _builder_class
from hf_guidance.data.questions.answers import AnswerVocabulary
from hf_guidance.data.questions.collator import QuestionCollator
from hf_guidance.models.updn.tokenization import word_tokenizer


@pytest.mark.parametrize("case", [0, 1])
def test_gqa_boxes_are_the_official_ones(prepare, tmp_path, case):
    path = Path(__file__).parents[2].parent / "shared" / "golden" / "visfis" / "gqa_important_boxes.npz"
    if not path.is_file():
        pytest.skip("no golden numbers beside the repository")
    data = np.load(path, allow_pickle=False)
    part = {
        name: json.loads(str(data[f"c{case}__{name}_json"]))
        for name in ("questions", "scene_graphs", "gt_boxes", "object_ids")
    }
    script = _builder_class("gqa").__module__
    found = {key: sys.modules[script].object_ids(entry["semantic"]) for key, entry in part["questions"].items()}
    assert found == part["object_ids"]
    raw = tmp_path / "raw"
    asked = {key: {"question": "Is it?", "answer": "yes", **entry} for key, entry in part["questions"].items()}
    write_json(raw / "train_balanced_questions.json", asked)
    write_json(raw / "sceneGraphs.json", part["scene_graphs"])
    splits, builder = prepare("gqa", data_dir=str(raw))
    boxes = {row["question_id"]: row["reference_boxes"] for row in splits["train"]}
    assert boxes.pop("q2") is None
    assert builder.report["program names no object"]["count"] == 1
    assert set(boxes) == set(part["gt_boxes"])
    for key, expected in part["gt_boxes"].items():
        assert np.allclose(np.reshape(boxes[key], (-1, 4)), np.reshape(expected, (-1, 4)), atol=1e-7)


def test_gqa_program_that_points_to_a_missing_object(prepare, tmp_path):
    questions = {"q1": gqa_question("apple (3381764), tray (4914337)"), "q2": gqa_question("?", imageId="other")}
    raw = str(make_gqa(tmp_path / "raw", questions))
    with pytest.raises(ValueError, match="question q1, object 4914337: its program points to object 4914337"):
        prepare("gqa", data_dir=raw)
    splits, builder = prepare("gqa", data_dir=raw, invalid="skip")
    assert len(splits["train"][0]["reference_boxes"]) == 1
    assert builder.report["program points to a missing object"]["count"] == 2  # in train and in val
    assert splits["train"][0]["question_type"] == "query"


def test_gqa_objects_outside_the_image_have_no_box(prepare, tmp_path):
    inside = {"1000": {"x": 100, "y": 60, "w": 50, "h": 50}, "1001": {"x": -5, "y": -5, "w": 6, "h": 6}}
    places = [(114, 0, 9, 9), (0, 70, 9, 9), (-9, 0, 9, 9), (0, -20, 9, 9)]
    outside = {str(2000 + index): dict(zip("xywh", place, strict=True)) for index, place in enumerate(places)}
    questions = {"q1": gqa_question(", ".join({**inside, **outside})), "q2": gqa_question(", ".join(outside))}
    raw = str(make_gqa(tmp_path / "raw", questions, {**inside, **outside}))
    splits, builder = prepare("gqa", data_dir=raw)
    first, second = splits["train"]["reference_boxes"]
    expected = [[100 / 114, 60 / 65, 1, 1], [0, 0, 1 / 114, 1 / 65]]
    assert np.allclose(first, expected, atol=1e-7)
    assert second == []
    assert builder.report["object outside the image"]["count"] == 16  # in train and in val
    assert "question q1, object 2000" in builder.report["object outside the image"]["examples"][0]


def test_clevr_xai(prepare, tmp_path):
    splits, _ = prepare("clevr_xai", data_dir=str(make_clevr_xai(tmp_path / "raw")))
    train = splits["train"]
    assert list(train["question_id"]) == ["0", "1", "2", "100000", "100001"]
    assert [row["answers"] for row in train] == [["metal"]] * 3 + [["yes"], ["2"]]
    assert set(train["question_type"]) == {"query_material"}
    mask = np.asarray(train[1]["mask"])
    assert mask.dtype == np.uint8
    assert (mask == 255).sum() == 5 * 8
    assert set(np.unique(mask)) == {0, 255}
    assert train[0]["image"].size == train[0]["mask"].size == (48, 32)
    union, builder = prepare("clevr_xai", data_dir=str(tmp_path / "raw"), kind="union")
    assert (np.asarray(union["train"][3]["mask"]) == 255).sum() == 4 * 12
    assert builder.report["question without mask"]["count"] == 3  # simple questions have no union


def test_clevr_xai_bad_answers_and_masks(prepare, tmp_path):
    raw = make_clevr_xai(tmp_path / "raw", [clevr_question(0), clevr_question(1, answer=None)])
    with pytest.raises(ValueError, match="question 1: its answer is None"):
        prepare("clevr_xai", data_dir=str(raw))
    splits, _ = prepare("clevr_xai", data_dir=str(raw), invalid="skip")
    assert len(splits["train"]) == 3
    path = raw / "ground_truth_simple_questions_single_object" / "0.npy"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"question 0: .*0\.npy"):
        prepare("clevr_xai", data_dir=str(raw))


def test_clevr_xai_on_the_real_sample(prepare, shared, tmp_path):
    """The two published examples, up to the collator: the box of the asked object is the important one."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("images", "ground_truth"):
        (raw / name).symlink_to(Path(shared("clevr_xai_sample")) / name)
    simple = clevr_question(2891, image_filename="2891.png", question="What is the small yellow sphere made of?")
    other = clevr_question(57, image_filename="57.png", answer=True, question="Is there any other thing?")
    write_json(raw / "CLEVR-XAI_simple_questions.json", {"questions": [simple]})
    write_json(raw / "CLEVR-XAI_complex_questions.json", {"questions": [other]})
    splits, builder = prepare("clevr_xai", data_dir=str(raw))
    assert builder.report == {}
    assert list(splits["train"]["answers"]) == [["metal"], ["yes"]]
    for row in splits["train"]:
        mask = np.asarray(row["mask"])
        assert mask.shape == (128, 128)
        ys, xs = np.nonzero(mask)
        tight = [xs.min() / 128, ys.min() / 128, (xs.max() + 1) / 128, (ys.max() + 1) / 128]
        scores = box_importance_from_map(mask.tolist(), [tight, [0.0, 0.0, 1.0, 1.0]])
        assert scores[0] > 0.99
        assert scores[1] == 0.5
    collate = QuestionCollator(word_tokenizer(splits["train"]["question"]), AnswerVocabulary(("metal", "yes")))
    evidence = {"features": [[1.0, 0.0], [0.0, 1.0]], "boxes": [tight, [0.0, 0.0, 1.0, 1.0]]}
    batch = collate([{**row, **evidence} for row in splits["train"]])
    assert batch["importance"][1].tolist() == [1, 0.5]
    assert batch["annotated"] == [True, True]
    assert batch["target"].tolist() == [0, 1]
    everything, _ = prepare("clevr_xai", data_dir=str(raw), kind="all_objects")
    for ours, all_objects in zip(splits["train"], everything["train"], strict=True):
        assert (np.asarray(all_objects["mask"]) > 0).sum() > (np.asarray(ours["mask"]) > 0).sum()
