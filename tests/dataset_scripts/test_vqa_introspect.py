"""VQA-Introspect: sub-questions joined, mended and counted, irrelevant questions of the same image, and what is refused."""

import json

import pytest
from raw_questions import ANSWERS, introspect_entry, make_vqa_introspect, question, response, write_json

TRAIN = "VQAIntrospect_trainv1.0.json"


def asked(row, column="sub_questions"):
    return [(one["question"], one["answers"]) for one in row[column]]


def test_rows(prepare, tmp_path):
    splits, builder = prepare("vqa_introspect", data_dir=str(make_vqa_introspect(tmp_path / "raw")))
    assert {split: list(rows["question_id"]) for split, rows in splits.items()} == {
        "train": ["0", "2"], "validation": ["4"],
    }  # fmt: skip
    assert splits["train"][0] == {
        "question_id": "0", "image_id": "0", "question": "What color is thing 0?", "answers": ANSWERS,
        "question_type": "what color is", "answer_type": "other",
        "sub_questions": [{"question": "Is it bright?", "answers": ["yes"]}],
        "irrelevant_questions": [{"question": "What color is thing 1?", "answers": ANSWERS}],
    }  # fmt: skip
    assert builder.report == {}


def test_sub_questions_are_joined_mended_and_counted(prepare, tmp_path):
    entry = introspect_entry(
        0,
        response(("is the sky bright?", "yea"), ("is there sand?", " no ")),
        response(("Is the sky bright ?", "yes"), ("is there sand", "yes")),
        response(("is it a trick?", "yes"), kind="invalid"),
        response(),
        response(("what COLOR is thing 0?", "red"), ("?", "yes"), ("is it wet?", " "), kind="perception"),
        response(("is it dry?", "Yea")),
    )
    entries = {"0": entry, "2": introspect_entry(2, response(), response(("is it?", "no"), kind="invalid"))}
    raw = str(make_vqa_introspect(tmp_path / "raw", entries))
    splits, builder = prepare("vqa_introspect", data_dir=raw)
    assert list(splits["train"]["question_id"]) == ["0"]
    assert asked(splits["train"][0]) == [
        ("is the sky bright?", ["yes"]), ("is there sand?", ["no"]), ("is it dry?", ["yes"]),
    ]  # fmt: skip
    assert {reason: entry["count"] for reason, entry in builder.report.items()} == {
        "answer 'yea', read as 'yes'": 2,
        "sub-question twice": 1,
        "sub-question twice, with another answer": 1,
        "response that calls the reasoning question invalid": 2,
        "response without sub-questions": 2,
        "sub-question is the reasoning question": 1,
        "sub-question without text": 1,
        "sub-question without answer": 1,
        "reasoning question without sub-questions": 1,
    }
    item = builder.report["sub-question is the reasoning question"]["examples"][0]
    assert item.endswith(f"{TRAIN}, question 0, response 4, sub-question 0")


@pytest.mark.parametrize("said", ["yea", "yea.", " Yea!\n", "yea .", "YEA!!"])
def test_an_answer_is_mended_with_or_without_a_mark_at_its_end(said, prepare, tmp_path):
    entries = {"0": introspect_entry(0, response(("is the sky bright?", said), ("is it dry?", "No.")))}
    splits, builder = prepare("vqa_introspect", data_dir=str(make_vqa_introspect(tmp_path / "raw", entries)))
    assert asked(splits["train"][0]) == [("is the sky bright?", ["yes"]), ("is it dry?", ["No."])]
    assert builder.report["answer 'yea', read as 'yes'"]["count"] == 1


def test_irrelevant_questions(prepare, tmp_path):
    """Not reasoning questions, not those that a sub-question repeats; with "all" the sub-questions of others too."""
    questions = [question(number, image_id=0) for number in range(4)]
    entries = {
        "0": introspect_entry(0, response(("what color is thing 1?", "red"), ("is it bright?", "yes"))),
        "2": introspect_entry(2, response(("Is it bright?", "no"), ("is it big?", "no")), image_id=0),
    }
    raw = make_vqa_introspect(tmp_path / "raw", entries)
    for name, key in (
        ("v2_OpenEnded_mscoco_train2014_questions", "questions"),
        ("v2_mscoco_train2014_annotations", None),
    ):
        path = raw / f"{name}.json"
        if key:
            write_json(path, {"questions": questions})
        else:
            write_json(
                path, {"annotations": [e | {"image_id": 0} for e in json.loads(path.read_text())["annotations"]]}
            )
    splits, builder = prepare("vqa_introspect", data_dir=str(raw))
    texts = [[text for text, _ in asked(row, "irrelevant_questions")] for row in splits["train"]]
    assert texts == [["What color is thing 3?"], ["What color is thing 1?", "What color is thing 3?"]]
    assert builder.report == {}
    splits, _ = prepare("vqa_introspect", data_dir=str(raw), irrelevant="all")
    texts = [[text for text, _ in asked(row, "irrelevant_questions")] for row in splits["train"]]
    # "is it bright?" is a sub-question of both; that of thing 1 is repeated by VQA v2 with ten answers, which come later
    assert texts == [
        ["is it big?", "What color is thing 3?"],
        ["what color is thing 1?", "What color is thing 3?"],
    ]
    with pytest.raises(ValueError, match=r"irrelevant: got 'some'; allowed: 'vqa', 'all'"):
        prepare("vqa_introspect", data_dir=str(raw), irrelevant="some")


def test_questions_lie_elsewhere_or_nowhere(prepare, tmp_path):
    raw, moved = make_vqa_introspect(tmp_path / "raw"), tmp_path / "vqa"
    moved.mkdir()
    for path in raw.glob("v2_*.json"):
        path.rename(moved / path.name)
    splits, builder = prepare("vqa_introspect", data_dir=str(raw), questions_dir="../vqa")
    assert splits["train"][1]["answers"] == ANSWERS
    assert builder.report == {}
    splits, builder = prepare("vqa_introspect", data_dir=str(raw))
    assert splits["train"][1]["answers"] == ["red"]
    assert splits["train"][1]["question"] == "what color is thing 2"
    assert splits["train"][1]["irrelevant_questions"] == []
    assert {reason: entry["count"] for reason, entry in builder.report.items()} == {
        "split without questions of VQA v2": 2, "reasoning question without irrelevant questions": 3,
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"questions_dir: .*nowhere is not a folder"):
        prepare("vqa_introspect", data_dir=str(raw), questions_dir="nowhere")
    with pytest.raises(ValueError, match="no question file"):
        prepare("vqa_introspect", data_dir=str(raw), questions_dir=str(raw))


BAD = {
    "unknown id": ({"99": introspect_entry(99)}, "id names no question of VQA v2"),
    "an id twice": ({" 0": introspect_entry(0)}, "reasoning question listed twice"),
    "an id of both splits": ({"4": introspect_entry(4)}, "reasoning question listed twice"),
    "another image": ({"2": introspect_entry(2, image_id=9)}, "image of question and entry differ"),
    "no id": ({" ": introspect_entry(2)}, "question_id is no id"),
    "a list": ({"2": [1]}, "malformed record (TypeError)"),
    "no responses": ({"2": introspect_entry(2, introspect=None)}, "malformed record (TypeError)"),
    "responses without sub_qa": ({"2": introspect_entry(2, introspect=[{}])}, "malformed record (KeyError)"),
    "no question": ({"2": {"introspect": []}}, "malformed record (KeyError)"),
    "question is a number": ({"2": introspect_entry(2, reasoning_question=5)}, "question is not text"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_entries_are_refused_or_skipped(case, prepare, tmp_path):
    entries, reason = BAD[case]
    val = {"4": introspect_entry(4), "6": introspect_entry(6)}
    raw = str(make_vqa_introspect(tmp_path / "raw", {"0": introspect_entry(0), **entries}, val))
    with pytest.raises(ValueError, match=r"VQAIntrospect_.*invalid='skip'"):
        prepare("vqa_introspect", data_dir=raw)
    splits, builder = prepare("vqa_introspect", data_dir=raw, invalid="skip")
    rows = [*splits["train"]["question_id"], *splits["validation"]["question_id"]]
    assert rows == (["0", "6"] if case == "an id of both splits" else ["0", "4", "6"])
    assert builder.report[reason]["count"] == 1


@pytest.mark.parametrize("pair", [("is it?", None), ("is it?", 2), (None, "yes"), (["is it?"], "yes")])
def test_sub_questions_that_are_no_text(pair, prepare, tmp_path):
    raw = str(make_vqa_introspect(tmp_path / "raw", {"0": introspect_entry(0, response(("is it wet?", "no"), pair))}))
    with pytest.raises(ValueError, match=r"question 0, response 0, sub-question 1: its (question|answer) is"):
        prepare("vqa_introspect", data_dir=raw)
    splits, builder = prepare("vqa_introspect", data_dir=raw, invalid="skip")
    assert asked(splits["train"][0]) == [("is it wet?", ["no"])]
    assert sum(entry["count"] for entry in builder.report.values()) == 1


def test_reasoning_questions_without_an_answer(prepare, tmp_path):
    entries = {"0": introspect_entry(0), "2": introspect_entry(2, reasoning_answer_most_common="")}
    raw = write_json(tmp_path / "raw" / TRAIN, entries).parent
    with pytest.raises(ValueError, match="question 2: it has no reasoning_answer_most_common"):
        prepare("vqa_introspect", data_dir=str(raw))
    splits, builder = prepare("vqa_introspect", data_dir=str(raw), invalid="skip")
    assert list(splits["train"]["question_id"]) == ["0"]
    assert builder.report["reasoning question without answer"]["count"] == 1


def test_wording_that_differs_is_counted(prepare, tmp_path):
    raw = make_vqa_introspect(tmp_path / "raw", {"0": introspect_entry(0, reasoning_question="what colour is it?")})
    splits, builder = prepare("vqa_introspect", data_dir=str(raw))
    assert splits["train"][0]["question"] == "What color is thing 0?"
    assert list(builder.report) == ["question of other words than in VQA v2, whose are taken"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (TRAIN, [], "holds a list; allowed: id of a reasoning question -> its entry"),
        ("VQAIntrospect_train_withidv1.0.json", {}, "are both of split train; keep one"),
        ("VQAIntrospect_testv1.0.json", {}, r"VQAIntrospect_testv1\.0\.json: its name does not say which split"),
        ("VQAIntrospect_trainvalv1.0.json", {}, "its name does not say which split"),
    ],
)
def test_files_that_are_refused(name, content, message, prepare, tmp_path):
    raw = make_vqa_introspect(tmp_path / "raw")
    write_json(raw / name, content)
    with pytest.raises(ValueError, match=message):
        prepare("vqa_introspect", data_dir=str(raw))


def test_an_id_twice_in_a_file_and_no_row_left(prepare, tmp_path):
    raw = make_vqa_introspect(tmp_path / "raw")
    entry = json.dumps(introspect_entry(0))
    (raw / TRAIN).write_text(f'{{"0": {entry}, "0": {entry}}}')
    with pytest.raises(ValueError, match="the key '0' is there twice"):
        prepare("vqa_introspect", data_dir=str(raw), invalid="skip")
    for name in (TRAIN, "VQAIntrospect_valv1.0.json"):
        write_json(raw / name, {})
    with pytest.raises(ValueError, match="no question is left in any split"):
        prepare("vqa_introspect", data_dir=str(raw))
