"""GQA's official entries load as they are; boxes are clipped and counted; what is bad is refused or skipped."""

import numpy as np
import pytest
from raw_questions import gqa_question, make_gqa, write_json


def ids(splits, split="train"):
    return list(splits[split]["question_id"])


def gqa(root, objects=None, **questions):
    return str(make_gqa(root, questions or None, objects))


def test_gqa_official_entries_load_without_options(prepare, tmp_path):
    official = gqa_question(
        isBalanced=True, fullAnswer="Yes, the apple is red.", semanticStr="select: apple (3381764)", groups={"global": None},
        annotations={"answer": {"0": "3381764"}, "question": {"1:3": "3381764"}, "fullAnswer": {"2": "3381764"}},
        entailed=["q2"], equivalent=["q1"],
    )  # fmt: skip
    plain = gqa_question("scene", annotations={"answer": {}, "question": {}, "fullAnswer": {}})
    splits, builder = prepare("gqa", data_dir=gqa(tmp_path / "raw", q1=official, q2=plain))
    assert np.allclose(splits["train"][0]["reference_boxes"], [[1 / 114, 18 / 65, 42 / 114, 56 / 65]])
    assert splits["train"][1]["reference_boxes"] is None
    assert [*builder.report] == ["program names no object"]


def test_gqa_test_questions_have_neither_answer_nor_program(prepare, tmp_path):
    write_json(
        tmp_path / "raw" / "test_all_questions.json",
        {"q1": {"imageId": "n1", "question": "Is it red?", "isBalanced": True}},
    )
    splits, _ = prepare("gqa", data_dir=str(tmp_path / "raw"))
    row = splits["test"][0]
    assert (row["answers"], row["reference_boxes"], row["question_type"]) == ([], None, "")


def test_gqa_boxes_are_clipped_and_empty_ones_counted(prepare, tmp_path):
    objects = {
        "1000": {"x": -3, "y": 10, "w": 20, "h": 10},
        "1001": {"x": 100, "y": 60, "w": 30, "h": 30},
        "1002": {"x": 5, "y": 5, "w": 0, "h": 9},
        "1003": {"x": 5, "y": 5, "w": 9, "h": 0},
    }
    raw = gqa(tmp_path / "raw", objects, q1=gqa_question(", ".join(objects)))
    splits, builder = prepare("gqa", data_dir=raw)
    expected = [[0, 10 / 65, 17 / 114, 20 / 65], [100 / 114, 60 / 65, 1, 1]]
    assert np.allclose(splits["train"][0]["reference_boxes"], expected, atol=1e-7)
    assert {key: entry["count"] for key, entry in builder.report.items()} == {
        "box partly outside the image, clipped": 4, "object without area": 4,
    }  # fmt: skip  # in train and in val


GRAPH = {"width": 114, "height": 65, "objects": {"3381764": {"x": 1, "y": 18, "w": 41, "h": 38}}}
BOX = GRAPH["objects"]["3381764"]
WRONG_BOX = {
    "reversed": ({**BOX, "w": -5}, "box reversed"),
    "not finite": ({**BOX, "x": float("nan")}, "box not finite"),
}


@pytest.mark.parametrize("case", WRONG_BOX)
def test_gqa_wrong_boxes_are_left_out(case, prepare, tmp_path):
    box, reason = WRONG_BOX[case]
    raw = gqa(tmp_path / "raw", {"3381764": box, "3381765": BOX}, q1=gqa_question("a (3381764), b (3381765)"))
    with pytest.raises(ValueError, match="question q1, object 3381764: box "):
        prepare("gqa", data_dir=raw)
    splits, builder = prepare("gqa", data_dir=raw, invalid="skip")
    assert len(splits["train"][0]["reference_boxes"]) == 1
    assert splits["train"][0]["answers"] == ["yes"]
    assert builder.report[reason]["count"] == 2


WRONG_GRAPH = {
    "boxes in [0, 1]": {**GRAPH, "objects": {"3381764": {"x": 0.1, "y": 0.2, "w": 0.5, "h": 0.5}}},
    "no width": {"height": 65, "objects": GRAPH["objects"]},
    "width 0": {**GRAPH, "width": 0},
    "a list of objects": {**GRAPH, "objects": [BOX]},
    "a box without h": {**GRAPH, "objects": {"3381764": {"x": 1, "y": 2, "w": 3}}},
    "a list for a graph": [1],
}
WRONG_QUESTION = {
    "list": [1],
    "text": "Is it red?",
    "null": None,
    "no image": gqa_question(imageId=None),
    "no answer": gqa_question(answer=None),
    "number for an answer": gqa_question(answer=2),
    "list for an answer": gqa_question(answer=["yes"]),
    "list for types": gqa_question(types=["query"]),
    "text for a program": gqa_question(semantic="select: apple (3381764)"),
    "list for a step": gqa_question(semantic=[["select", "apple (3381764)"]]),
}


@pytest.mark.parametrize("case", [*WRONG_GRAPH, *WRONG_QUESTION])
def test_gqa_bad_records_are_refused_or_skipped(case, prepare, tmp_path):
    raw = tmp_path / "raw"
    make_gqa(raw, {"q1": WRONG_QUESTION.get(case, gqa_question()), "q2": gqa_question(imageId="good")})
    for split in ("train", "val"):
        write_json(raw / f"{split}_sceneGraphs.json", {"im": WRONG_GRAPH.get(case, GRAPH), "good": GRAPH})
    with pytest.raises(ValueError, match=r"train_balanced_questions\.json, question q1"):
        prepare("gqa", data_dir=str(raw))
    splits, builder = prepare("gqa", data_dir=str(raw), invalid="skip")
    assert ids(splits) == ["q2"]
    assert splits["train"][0]["answers"] == ["yes"]
    assert len(splits["train"][0]["reference_boxes"]) == 1
    assert [entry["count"] for entry in builder.report.values()] == [2]  # in train and in val


def test_gqa_files_that_say_two_things(prepare, tmp_path):
    raw = make_gqa(tmp_path / "raw")
    write_json(raw / "val_sceneGraphs.json", {"im": {**GRAPH, "width": 999}})
    with pytest.raises(ValueError, match=r"val_sceneGraphs\.json: image im has another scene graph"):
        prepare("gqa", data_dir=str(raw))
    write_json(raw / "old_val_sceneGraphs.json", {"im": GRAPH})  # no official name: not read
    (raw / "val_sceneGraphs.json").unlink()
    prepare("gqa", data_dir=str(raw))
    write_json(raw / "questions" / "train_balanced_questions.json", {"q9": gqa_question()})
    with pytest.raises(ValueError, match="are both of split train; keep one"):
        prepare("gqa", data_dir=str(raw))
    (raw / "questions" / "train_balanced_questions.json").unlink()
    path = raw / "train_balanced_questions.json"
    text = path.read_text()
    path.write_text(text.replace('"q2"', '"q1"'))
    with pytest.raises(ValueError, match=r"train_balanced_questions\.json: .*the key 'q1' is there twice"):
        prepare("gqa", data_dir=str(raw))
    path.write_text(text)
    write_json(raw / "train_sceneGraphs.json", [GRAPH])
    with pytest.raises(ValueError, match=r"train_sceneGraphs\.json holds a list; allowed: id -> entry"):
        prepare("gqa", data_dir=str(raw))


@pytest.mark.parametrize("inner", ["", "questions", "questions1.2"])
def test_gqa_all_questions_in_parts(inner, prepare, tmp_path):
    raw = make_gqa(tmp_path / "raw")
    (raw / "train_balanced_questions.json").unlink()
    for part, numbers in enumerate((["q1", "q2"], ["q3"])):
        path = raw / inner / "train_all_questions" / f"train_all_questions_{part}.json"
        write_json(path, {number: gqa_question() for number in numbers})
    splits, builder = prepare("gqa", data_dir=str(raw))
    assert {name: rows["question_id"][:] for name, rows in splits.items()} == {
        "train": ["q1", "q2", "q3"], "validation": ["q1", "q2"],
    }  # fmt: skip
    assert builder.report == {}
    write_json(path, {number: gqa_question() for number in ("q2", "q3")})
    with pytest.raises(ValueError, match=r"_1\.json, question q2: it is the same as .*_0\.json, question q2"):
        prepare("gqa", data_dir=str(raw))
    splits, _ = prepare("gqa", data_dir=str(raw), invalid="skip")
    assert splits["train"]["question_id"][:] == ["q1", "q2", "q3"]
    write_json(raw / inner / "train_balanced_questions.json", {"q9": gqa_question()})  # which is the one that is used
    assert prepare("gqa", data_dir=str(raw))[0]["train"]["question_id"][:] == ["q9"]
