"""VQA's official files load as they are; ids of any type agree; whatever is bad in them is refused or counted."""

import json

import pytest
from raw_questions import ANSWERS, annotation, make_vqa_cp, make_vqa_v2, question, write_json

TRAIN = "v2_OpenEnded_mscoco_train2014_questions.json"
ANNOTATED = "v2_mscoco_train2014_annotations.json"


def ids(splits, split="train"):
    return list(splits[split]["question_id"])


@pytest.mark.parametrize("kind", [str, float, int])
def test_ids_as_text_or_number_are_one_question(kind, prepare, tmp_path):
    answered = [annotation(number, question_id=kind(number), image_id=kind(number // 2)) for number in range(4)]
    splits, builder = prepare("vqa_v2", data_dir=str(make_vqa_v2(tmp_path / "raw", None, answered)))
    assert ids(splits) == ["0", "1", "2", "3"]
    assert list(splits["train"]["image_id"]) == ["0", "0", "1", "1"]
    assert splits["train"][2]["answers"] == ANSWERS
    assert builder.report == {}
    rebuilt, _ = prepare(
        "vqa_cp", data_dir=str(tmp_path / "raw"), question_ids={"train": [kind(1), 1, "1"], "test": ["5"]}
    )
    assert ids(rebuilt) == ["1"]


def test_answers_in_every_official_form(prepare, tmp_path):
    given = [["red", "red"], {"answer": ["red", "red"]}, [{"answer": "red"}] * 2, None]
    answered = [annotation(number, answers=answers) for number, answers in enumerate(given)]
    splits, _ = prepare("vqa_v2", data_dir=str(make_vqa_v2(tmp_path / "raw", None, answered)))
    assert list(splits["train"]["answers"]) == [["red", "red"]] * 3 + [["red"]]  # the last: multiple_choice_answer


BAD = {
    "a list for a question": ([[7]], [], "question is not an object"),
    "text for a question": (["what?"], [], "question is not an object"),
    "null for a question": ([None], [], "question is not an object"),
    "a list for an annotation": ([], [[7]], "annotation is not an object"),
    "no question id": ([question(9, question_id=None)], [], "question without id"),
    "a list as id": ([question(9, question_id=[9])], [], "question_id is no id"),
    "true as id": ([question(9, question_id=True)], [], "question_id is no id"),
    "an image id that is none": ([question(9, image_id=[1])], [annotation(9, image_id=[1])], "image_id is no id"),
    "a number for text": ([question(9, question=5)], [annotation(9)], "question is not text"),
    "a dict for text": ([question(9, question={"en": "what?"})], [annotation(9)], "question is not text"),
    "no text": ([question(9, question=None)], [annotation(9)], "question without id"),
    "no answers": (
        [question(9)],
        [annotation(9, answers=[], multiple_choice_answer=None)],
        "annotation without answers",
    ),
    "a text for answers": ([question(9)], [annotation(9, answers="red")], "answer is not text"),
    "a number for answers": ([question(9)], [annotation(9, answers=3)], "answer is not text"),
    "null among answers": ([question(9)], [annotation(9, answers=[{"answer": None}])], "answer is not text"),
    "another type of id twice": ([question(9), question(9, question_id="9")], [annotation(9)], "question listed twice"),
    "annotation twice": (
        [question(9)],
        [annotation(9), annotation(9, question_id="9", answers=["no"])],
        "annotation listed twice",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_every_bad_record_is_refused_or_skipped(case, prepare, tmp_path):
    asked, answered, reason = BAD[case]
    raw = str(make_vqa_v2(tmp_path / "raw", [question(0), *asked], [annotation(0), *answered]))
    with pytest.raises(ValueError, match=rf"{TRAIN}|{ANNOTATED}"):
        prepare("vqa_v2", data_dir=raw)
    splits, builder = prepare("vqa_v2", data_dir=raw, invalid="skip")
    kept = ["0", "9"] if "twice" in case else ["0"]
    assert ids(splits) == kept
    assert [list(answers) for answers in splits["train"]["answers"]] == [ANSWERS] * len(kept)
    assert [key.startswith(reason) for key in builder.report] == [True]


def test_errors_quote_what_they_saw(prepare, tmp_path):
    raw = str(make_vqa_v2(tmp_path / "raw", [question(0), question(9, question_id=[9])], [annotation(0)]))
    with pytest.raises(ValueError, match=r"question number 1: .*the id \[9\] is neither text nor a whole number"):
        prepare("vqa_v2", data_dir=raw)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("vizwiz_val", "validation"), ("test_dev", "test_dev"), ("x_test-dev2015", "test_dev"),
        ("v2_OpenEnded_mscoco_train2017", "train"), ("test-ood", "test_ood"), ("validation", "validation"),
    ],
)  # fmt: skip
def test_a_split_is_a_whole_word_of_the_name(name, split, prepare, tmp_path):
    write_json(tmp_path / "raw" / f"{name}_questions.json", [question(1)])
    splits, _ = prepare("vqa_v2", data_dir=str(tmp_path / "raw"))
    assert list(splits) == [split]


@pytest.mark.parametrize(
    "name", ["constrain", "interval", "minival2014", "trainval", "train_val", "my-train", "latest", ""]
)
def test_a_name_without_a_split_is_refused(name, prepare, tmp_path):
    make_vqa_v2(tmp_path / "raw")
    write_json(tmp_path / "raw" / f"{name}_questions.json", [question(1)])
    with pytest.raises(ValueError, match=rf"{name}_questions\.json: its name does not say which split it is; allowed"):
        prepare("vqa_v2", data_dir=str(tmp_path / "raw"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_json_in_any_utf(encoding, prepare, tmp_path):
    raw = make_vqa_v2(tmp_path / "raw", [question(0, question="Was für eine Möwe?")], [annotation(0)])
    path = raw / TRAIN
    path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False), encoding=encoding)
    splits, _ = prepare("vqa_v2", data_dir=str(raw))
    assert splits["train"][0]["question"] == "Was für eine Möwe?"


def test_vqa_cp_with_the_answers_in_the_questions(prepare, tmp_path):
    raw = make_vqa_cp(tmp_path / "raw")
    for split in ("train", "test"):
        asked = json.loads((raw / f"vqacp_v2_{split}_questions.json").read_text())
        (raw / f"vqacp_v2_{split}_annotations.json").unlink()
        write_json(
            raw / f"vqacp_v2_{split}_questions.json", [{**each, "answers": annotation(0)["answers"]} for each in asked]
        )
    splits, builder = prepare("vqa_cp", data_dir=str(raw))
    assert list(splits["train"]["answers"]) == [ANSWERS] * 4
    assert builder.report == {}


def test_vqa_cp_without_annotations_is_counted(prepare, tmp_path):
    raw = make_vqa_cp(tmp_path / "raw")
    (raw / "vqacp_v2_test_annotations.json").unlink()
    splits, builder = prepare("vqa_cp", data_dir=str(raw))
    assert list(splits["test"]["answers"]) == [[]] * 4
    assert builder.report["question file without annotations"]["count"] == 1


def test_vqa_cp_ids_are_counted_or_refused(prepare, tmp_path):
    raw = str(make_vqa_v2(tmp_path / "raw"))
    _, builder = prepare("vqa_cp", data_dir=raw, question_ids={"train": [1, 2, "1"], "test": [5]})
    assert builder.report["question listed twice"] == {"count": 1, "examples": ["question_ids, train, question 1"]}
    for wrong, message in (
        ({"train": [1, 2], "test": ["1", 5]}, "question 1: question_ids lists it in train and test"),
        ({"train": [1, None], "test": [5]}, "question_ids, train, number 1: question_ids: the id None"),
    ):
        with pytest.raises(ValueError, match=message):
            prepare("vqa_cp", data_dir=raw, question_ids=wrong)
        splits, _ = prepare("vqa_cp", data_dir=raw, question_ids=wrong, invalid="skip")
        assert "5" in ids(splits, "test")
