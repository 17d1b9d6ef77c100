"""Which question and annotation files belong together: by their split, wherever they lie; none is dropped without a word."""

import pytest
from raw_questions import ANSWERS, annotation, make_vqa_v2, question, write_json

ASKED = {"questions": [question(0)]}
ANSWERED = {"annotations": [annotation(0)]}


@pytest.mark.parametrize(
    ("questions", "annotations"),
    [
        ("MultipleChoice_mscoco_train2014_questions.json", "mscoco_train2014_annotations.json"),
        ("OpenEnded_mscoco_train2014_questions.json", "mscoco_train2014_annotations.json"),
        ("questions/v2_OpenEnded_mscoco_train2014_questions.json", "annotations/v2_mscoco_train2014_annotations.json"),
        ("v2_OpenEnded_mscoco_train2014_questions.json", "annotations/v2_mscoco_train2014_annotations.json"),
        ("train_questions.json", "v2_mscoco_train2014_annotations.json"),
        ("questions/train_questions.json", "train_annotations.json"),
    ],
)
def test_files_of_one_split_belong_together(questions, annotations, prepare, tmp_path):
    write_json(tmp_path / "raw" / questions, ASKED)
    write_json(tmp_path / "raw" / annotations, ANSWERED)
    splits, builder = prepare("vqa_v2", data_dir=str(tmp_path / "raw"))
    assert splits["train"]["answers"][:] == [ANSWERS]
    assert builder.report == {}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mscoco_dev2014_annotations.json", "no question file is of its split"),
        ("annotations/mscoco_train2014_annotations.json", "are both of split train"),
        ("my_annotations.json", "its name does not say which split .*before '_annotations"),
    ],
)
@pytest.mark.parametrize("builder", ["vqa_v2", "vqa_hat", "vqa_cp"])
def test_annotations_that_may_be_those_of_the_questions_are_refused(builder, name, message, build, tmp_path):
    raw = make_vqa_v2(tmp_path / "raw")
    write_json(raw / name, ANSWERED)
    if not name.startswith("annotations/"):
        next(raw.rglob("*train2014_annotations.json")).unlink()
    options = {"vqa_cp": {"question_ids": {"train": [0]}}, "vqa_hat": {"hints": "hints.json"}}.get(builder, {})
    write_json(raw / "hints.json", {})
    with pytest.raises(ValueError, match=message):
        build(builder, data_dir=str(raw), **options)


@pytest.mark.parametrize("name", ["mscoco_dev2014_annotations.json", "my_annotations.json"])
@pytest.mark.parametrize("builder", ["vqa_v2", "vqa_hat", "vqa_cp"])
def test_annotations_too_many_are_counted(builder, name, prepare, tmp_path):
    raw = make_vqa_v2(tmp_path / "raw")
    write_json(raw / name, ANSWERED)
    write_json(
        raw / "v2_OpenEnded_mscoco_test2015_questions.json", {"questions": [question(5)]}
    )  # has no answers anyway
    options = {"vqa_cp": {"question_ids": {"train": [0]}}, "vqa_hat": {"hints": "hints.json"}}.get(builder, {})
    write_json(raw / "hints.json", {"0": [0.5]})
    _, made = prepare(builder, data_dir=str(raw), **options)
    assert made.report["annotation file without questions, not read"]["count"] == 1


def test_questions_without_answers_are_counted_where_they_are_published(prepare, tmp_path):
    for split in ("train", "val", "test"):
        write_json(tmp_path / "raw" / f"{split}_questions.json", ASKED)
    _, builder = prepare("vqa_v2", data_dir=str(tmp_path / "raw"))
    ((reason, entry),) = builder.report.items()
    assert (reason, entry["count"]) == ("question file without annotations", 2)


@pytest.mark.parametrize(("questions", "annotations", "kind"), [([7], [], "question"), ([], [7], "annotation")])
def test_an_entry_that_is_no_object_is_named_by_its_place(questions, annotations, kind, prepare, tmp_path):
    raw = make_vqa_v2(tmp_path / "raw", questions, annotations)
    with pytest.raises(ValueError, match=rf"_{kind}s\.json, {kind} number 0: it is 7"):
        prepare("vqa_v2", data_dir=str(raw))


@pytest.mark.parametrize(("builder", "option"), [("vqa_hat", "hints"), ("vqa_cp", "question_ids")])
def test_files_of_options_lie_in_data_dir(builder, option, build, tmp_path):
    raw = make_vqa_v2(tmp_path / "raw")
    with pytest.raises(
        ValueError, match=rf"{option}: .*raw/nothing\.json is not a file; give its path, absolute or in"
    ):
        build(builder, data_dir=str(raw), **{option: "nothing.json"})
    write_json(raw / "ids.json", {"train": [0]})
    for path in ("ids.json", str(raw / "ids.json")):
        build(builder, data_dir=str(raw), **{option: path})
