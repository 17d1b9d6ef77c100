"""Every builder of questions: one schema, the same rows however they are read, published form, and what each reads."""

import datasets
import numpy as np
import pytest
from huggingface_hub import DatasetCard
from raw_questions import (
    ANSWERS,
    annotation,
    make_clevr_xai,
    make_gqa,
    make_vqa_cp,
    make_vqa_hat,
    make_vqa_introspect,
    make_vqa_v2,
    question,
    write_json,
    write_map,
)  # fmt: skip

from hf_guidance.common.shipped_folders import shipped_folder
from hf_guidance.data import export_dataset
from hf_guidance.data.builders import _builder_class
from hf_guidance.data.questions.rows import question_features

RAW = {
    "clevr_xai": make_clevr_xai, "gqa": make_gqa, "vqa_cp": make_vqa_cp, "vqa_hat": make_vqa_hat, "vqa_v2": make_vqa_v2,
    "vqa_introspect": make_vqa_introspect,
}  # fmt: skip
BASIC = list(question_features())
each = pytest.mark.parametrize("name", sorted(RAW))


def plain(value):
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return np.asarray(value).tolist() if hasattr(value, "getpixel") else value


def rows(dataset):
    return [plain(row) for row in dataset]


@each
def test_rows_keep_the_schema(name, prepare, tmp_path):
    splits, builder = prepare(name, data_dir=str(RAW[name](tmp_path / "raw")))
    features = builder.info.features
    optional = [column for column in ("image", "importance", "reference_boxes", "mask") if column in features]
    own = {"coco_split", "sub_questions", "irrelevant_questions"} & set(features)
    assert {key: value for key, value in features.items() if key not in own} == question_features(*optional)
    for split in splits.values():
        assert len(set(split["question_id"])) == len(split)
        assert all(row["question"] and row["image_id"] for row in split)
    assert set(builder.report) <= {"attention without question"}


@each
def test_same_rows_streaming_in_two_processes_and_published(name, prepare, tmp_path):
    options = {"data_dir": str(RAW[name](tmp_path / "raw"))}
    splits, builder = prepare(name, **options)
    expected = {split: rows(dataset) for split, dataset in splits.items()}
    assert {split: rows(dataset) for split, dataset in builder.as_streaming_dataset().items()} == expected
    parallel, _ = prepare(name, num_proc=2, cache_dir=str(tmp_path / "parallel"), **options)
    assert {split: rows(dataset) for split, dataset in parallel.items()} == expected
    folder = export_dataset(builder, tmp_path / "published")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "loaded"))
    assert {split: rows(loaded[split]) for split in expected} == expected


@each
def test_card_and_options(name, build, tmp_path):
    folder = shipped_folder("dataset_scripts", name)
    card = DatasetCard.load(folder / "README.md")
    assert card.data.pretty_name
    assert card.data.license
    options = _builder_class(name).BUILDER_CONFIG_CLASS.__dataclass_fields__
    assert [
        option
        for option in options
        if option not in card.text and option not in ("name", "version", "data_files", "description")
    ] == []
    raw = str(RAW[name](tmp_path / "raw"))
    with pytest.raises(ValueError, match=r"unknown option colour; allowed: .*invalid"):
        build(name, colour="red", data_dir=raw)
    with pytest.raises(ValueError, match="invalid: got 'ignore'"):
        build(name, invalid="ignore", data_dir=raw)
    (tmp_path / "empty").mkdir()
    for wrong in (None, str(tmp_path / "nowhere"), str(tmp_path / "empty")):
        with pytest.raises(ValueError, match=r"data_dir: |maps_dir: "):
            build(name, data_dir=wrong)


def test_vqa_v2(prepare, tmp_path):
    splits, _ = prepare("vqa_v2", data_dir=str(make_vqa_v2(tmp_path / "raw")))
    assert {split: list(dataset["question_id"]) for split, dataset in splits.items()} == {
        "train": ["0", "1", "2", "3"], "validation": ["4", "5", "6", "7"], "test": ["8"],
    }  # fmt: skip
    assert splits["train"][3] == {
        "question_id": "3", "image_id": "1", "question": "What color is thing 3?", "answers": ANSWERS,
        "question_type": "what color is", "answer_type": "other",
    }  # fmt: skip
    assert splits["test"][0]["answers"] == []


def test_vqa_v2_in_the_layout_of_visfis(prepare, tmp_path):
    for split, suffix in (("train", "-100k"), ("dev", ""), ("test-id", ""), ("test-ood", "")):
        folder = tmp_path / "raw" / "questions"
        write_json(folder / f"{split}{suffix}_questions.json", {"questions": [question(1)]})
        answer = annotation(1, answers=[{"answer": "yes"}])
        write_json(folder / f"{split}{suffix}_annotations.json", {"annotations": [answer]})
    splits, _ = prepare("vqa_v2", data_dir=str(tmp_path / "raw"))
    assert list(splits) == ["train", "dev", "test_id", "test_ood"]
    assert splits["test_ood"][0]["answers"] == ["yes"]


@pytest.mark.parametrize(
    ("questions", "annotations", "reason"),
    [
        ([question(0), question(1, question=" ")], [annotation(0), annotation(1)], "empty question"),
        ([question(0), question(0)], [annotation(0)], "question listed twice"),
        ([question(0), question(1)], [annotation(0)], "question without annotation"),
        ([question(0)], [annotation(0), annotation(1)], "annotation without question"),
        (
            [question(0), question(1)],
            [annotation(0), annotation(1, image_id=9)],
            "image of question and annotation differ",
        ),
        ([question(0), question(1)], [annotation(0), annotation(1, answers=[{"answer": 3}])], "answer is not text"),
        (
            [question(0), question(1, image_id=None)],
            [annotation(0), annotation(1, image_id=None)],
            "question without id",
        ),
    ],
)
def test_bad_questions_are_raised_or_counted(prepare, tmp_path, questions, annotations, reason):
    raw = str(make_vqa_v2(tmp_path / "raw", questions, annotations))
    with pytest.raises(ValueError, match=r"question .*invalid='skip'"):
        prepare("vqa_v2", data_dir=raw)
    splits, builder = prepare("vqa_v2", data_dir=raw, invalid="skip")
    assert list(splits["train"]["question_id"]) == ["0"]
    assert [key.startswith(reason) for key in builder.report] == [True]


def test_a_json_file_cut_short(prepare, tmp_path):
    raw = make_vqa_v2(tmp_path / "raw")
    path = raw / "v2_mscoco_train2014_annotations.json"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(ValueError, match=r"train2014_annotations\.json: this is not well-formed JSON"):
        prepare("vqa_v2", data_dir=str(raw), invalid="skip")
    write_json(path, {"answers": []})
    with pytest.raises(ValueError, match="no list of annotations"):
        prepare("vqa_v2", data_dir=str(raw))


def test_vqa_cp_and_its_rebuilding(prepare, tmp_path):
    splits, _ = prepare("vqa_cp", data_dir=str(make_vqa_cp(tmp_path / "raw")))
    assert list(splits["train"]["coco_split"]) == ["train2014", "val2014"] * 2
    assert list(splits["test"]["question_id"]) == ["4", "5", "6", "7"]
    assert splits["test"][0]["answers"] == ANSWERS
    v2 = str(make_vqa_v2(tmp_path / "v2"))
    ids = {"train": [1, 5], "test": [7, 0]}
    for given in (ids, str(write_json(tmp_path / "ids.json", ids))):
        rebuilt, _ = prepare("vqa_cp", data_dir=v2, question_ids=given)
        assert list(rebuilt["train"]["question_id"]) == ["1", "5"]
        assert list(rebuilt["train"]["coco_split"]) == ["train2014", "val2014"]
        assert list(rebuilt["test"]["question_id"]) == ["7", "0"]
    with pytest.raises(ValueError, match="question 99: question_ids lists it"):
        prepare("vqa_cp", data_dir=v2, question_ids={"train": [99, 1]})
    with pytest.raises(ValueError, match="question_ids: allowed"):
        prepare("vqa_cp", data_dir=v2, question_ids={"train": 3})
    with pytest.raises(ValueError, match="To rebuild them"):
        prepare("vqa_cp", data_dir=v2)


def test_vqa_cp_is_rebuilt_from_annotated_questions(prepare, tmp_path):
    raw = make_vqa_v2(tmp_path / "v2")
    test = raw / "v2_OpenEnded_mscoco_test2015_questions.json"
    write_json(test, {"questions": [question(1, question="Which one?", image_id=99), question(8)]})
    splits, builder = prepare("vqa_cp", data_dir=str(raw), question_ids={"train": [1], "test": [5]})
    assert splits["train"][0]["answers"] == ANSWERS
    assert splits["train"][0]["image_id"] == "0"
    assert splits["train"][0]["coco_split"] == "train2014"
    assert builder.report == {"question file without annotations": {"count": 1, "examples": [str(test)]}}
    with pytest.raises(ValueError, match="question 8: question_ids lists it, the annotated"):
        prepare("vqa_cp", data_dir=str(raw), question_ids={"train": [8]})


def test_vqa_cp_refuses_a_question_of_two_splits(prepare, tmp_path):
    numbers = range(5)  # 4 is in val2014 too
    asked, answered = [question(number) for number in numbers], [annotation(number) for number in numbers]
    raw = str(make_vqa_v2(tmp_path / "v2", asked, answered))
    ids = {"train": [1, 4], "test": [5]}
    with pytest.raises(ValueError, match=r"question 4: .*holds it 2 times: .*train2014.*val2014"):
        prepare("vqa_cp", data_dir=raw, question_ids=ids)
    splits, builder = prepare("vqa_cp", data_dir=raw, question_ids=ids, invalid="skip")
    assert list(splits["train"]["question_id"]) == ["1"]
    assert builder.report["listed question is in two splits"] == {"count": 1, "examples": ["question 4"]}
    prepare("vqa_cp", data_dir=raw, question_ids={"train": [1], "test": [5]})


def test_vqa_hat_keeps_what_has_attention(prepare, tmp_path):
    raw = make_vqa_hat(tmp_path / "raw")
    splits, _ = prepare("vqa_hat", data_dir=str(raw), maps_dir="maps")
    assert list(splits["train"]["question_id"]) == ["1", "3"]
    assert list(splits["validation"]["question_id"]) == ["5"]
    assert np.asarray(splits["train"][0]["mask"]).max() == 40
    assert np.asarray(splits["validation"][0]["mask"]).max() == 80  # the mean of three annotators
    write_map(raw / "maps" / "99_1.png")
    _, builder = prepare("vqa_hat", data_dir=str(raw))
    assert builder.report == {"attention without question": {"count": 1, "examples": ["question 99"]}}
    write_map(raw / "maps" / "5_2.png", size=(20, 20))
    with pytest.raises(ValueError, match=r"5_1\.png: its 3 maps have sizes"):
        prepare("vqa_hat", data_dir=str(raw))
    (raw / "maps" / "5_2.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"5_2\.png: the image is unreadable or truncated"):
        prepare("vqa_hat", data_dir=str(raw))


def test_vqa_hat_from_scores_of_boxes(prepare, tmp_path):
    import pickle

    raw = make_vqa_v2(tmp_path / "raw")
    write_json(raw / "hints.json", {"1": [0.5, 1.0], "6": [0.25, 0.0]})
    (raw / "hints.pkl").write_bytes(pickle.dumps({1: np.array([0.5, 1.0]), 6: np.array([0.25, 0.0])}))
    for name in ("hints.json", "hints.pkl"):
        splits, _ = prepare("vqa_hat", data_dir=str(raw), hints=name)
        assert splits["train"][0]["importance"] == [0.5, 1.0]
        assert list(splits["validation"]["question_id"]) == ["6"]
    write_json(raw / "hints.json", {"1": [0.5, 2.0]})
    with pytest.raises(ValueError, match=r"question 1: its scores are \[0\.5, 2\.0\]"):
        prepare("vqa_hat", data_dir=str(raw), hints="hints.json")
    write_json(raw / "hints.json", {"99": [0.5]})
    with pytest.raises(ValueError, match="no question is left in any split"):
        prepare("vqa_hat", data_dir=str(raw), hints="hints.json")
    with pytest.raises(ValueError, match="got both"):
        prepare("vqa_hat", data_dir=str(raw), hints="hints.json", maps_dir="maps")
