"""An imagefolder of boxes, as `datasets` documents it: labels come from the objects, and the example runs on it."""

from __future__ import annotations

import json

import datasets
import numpy as np
import pytest
from PIL import Image
from scripts import run_script

from hf_guidance.data import with_object_labels
from hf_guidance.data.splits import load_splits

RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
OBJECTS = [
    {"bbox": [[20, 10, 12, 6], [1, 2, 9, 9]], "category": [1, 0]}, {"bbox": [[20, 10, 12, 6]], "category": [1]},
    {"bbox": [], "category": []},
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def make(key="category", objects=OBJECTS):
        for split in ("train", "test"):
            lines = []
            for row, entry in enumerate(objects):
                place = tmp_path / "images" / split / f"{row:04}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.random.default_rng(row).integers(0, 256, (32, 40, 3), np.uint8)).save(place)
                entry = {"bbox": entry["bbox"], key: entry["category"]}
                lines.append(json.dumps({"file_name": place.name, "objects": entry}))
            (place.parent / "metadata.jsonl").write_text("\n".join(lines) + "\n")
        return str(tmp_path / "images")

    return make


@pytest.mark.parametrize("key", ["category", "categories"])
@pytest.mark.parametrize(("names", "expected"), [(None, ["0", "1"]), (["cat", "dog", "cow"], ["cat", "dog", "cow"])])
def test_labels_are_the_classes_of_the_objects(key, names, expected, folder):
    for rows in with_object_labels(load_splits(folder(key)), names).values():
        assert rows["labels"][:] == [[0, 1], [1], []]
        assert rows.features["labels"].feature.names == expected


def test_objects_in_rows_and_names_of_their_classes():
    one = {
        "bbox": datasets.List(datasets.Value("float32")),
        "category": datasets.ClassLabel(names=["cat", "dog", "cow"]),
    }
    rows = [[{"bbox": [1, 2, 3, 4], "category": 2}, {"bbox": [1, 2, 3, 4], "category": 0}], None]
    split = datasets.Dataset.from_dict({"objects": rows}, features=datasets.Features({"objects": datasets.List(one)}))
    labelled = with_object_labels({"train": split})["train"]
    assert labelled["labels"][:] == [[0, 2], []]
    assert labelled.features["labels"].feature.names == ["cat", "dog", "cow"]


def test_rows_with_labels_or_without_objects_stay_as_they_are():
    plain = datasets.Dataset.from_dict({"x": [1]})
    labelled = datasets.Dataset.from_dict({"label": [1], "objects": [{"bbox": [], "category": []}]})
    splits = with_object_labels({"plain": plain, "labelled": labelled})
    assert splits["plain"].column_names == ["x"]
    assert splits["labelled"].column_names == ["label", "objects"]


def split_of(objects, names=None):
    category = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    one = {"bbox": datasets.List(datasets.Value("float32")), "category": category}
    return datasets.Dataset.from_dict({"objects": objects}, datasets.Features({"objects": datasets.List(one)}))


ONE = [[{"bbox": [1, 2, 3, 4], "category": 1}]]


@pytest.mark.parametrize(
    ("splits", "names", "message"),
    [
        ({"train": split_of(ONE, ["cat", "dog"]), "test": split_of(ONE, ["dog", "cat"])}, None, "train as .*test as"),
        ({"train": split_of(ONE, ["cat", "dog"]), "test": split_of(ONE)}, None, "classes of their objects differently"),
        ({"train": split_of(ONE)}, "cat", "names='cat' is a text"),
        ({"train": datasets.Dataset.from_dict({"label": [1]})}, ["cat"], "would name nothing: the splits have labels"),
        ({"train": datasets.Dataset.from_dict({"objects": [{"bbox": [[1, 2, 3, 4]], "label": [1]}]})}, None,
         "train, row 0: objects has no 'category'"),
        ({"train": datasets.Dataset.from_dict({"objects": [["cat"]]})}, None, "train, row 0: its objects have"),
    ],
)  # fmt: skip
def test_objects_or_names_that_say_no_class(splits, names, message):
    with pytest.raises(ValueError, match=message):
        with_object_labels(splits, names)


def test_splits_named_alike_or_by_the_option():
    other = {"train": split_of(ONE, ["cat", "dog"]), "test": split_of(ONE, ["dog", "cat"])}
    for splits, names in (({"train": other["train"], "test": other["train"]}, None), (other, ["cat", "dog"])):
        for rows in with_object_labels(splits, names).values():
            assert rows.features["labels"].feature.names == ["cat", "dog"]


@pytest.mark.parametrize("category", ["cat", -1, 1.5, None])
def test_categories_that_are_no_label_are_named(category):
    split = datasets.Dataset.from_dict({"objects": [{"bbox": [[1, 2, 3, 4]], "category": [category]}]})
    with pytest.raises(ValueError, match=r"train, row 0: its objects have the categories .*; allowed: label indices"):
        with_object_labels({"train": split})


def test_more_classes_than_names(folder):
    with pytest.raises(ValueError, match="the objects have the category 1, and there are 1 names"):
        with_object_labels(load_splits(folder()), ["cat"])


def test_the_example_runs_on_it(folder, tmp_path):
    run_script(
        "run_guided_image_classification", "--dataset", folder(), "--bbox_format", "xywh", "--names", "cat", "dog",
        "--problem_type", "multi_label_classification", "--model_config", json.dumps(RESNET), "--image_size", "32",
        "--output_dir", str(tmp_path / "run"), "--num_train_epochs", "1", "--report_to", "none", "--use_cpu", "true",
        "--save_strategy", "no",
    )  # fmt: skip
    results = json.loads((tmp_path / "run" / "all_results.json").read_text())
    assert 0 <= results["after_epg"] <= 1
    assert json.loads((tmp_path / "run" / "config.json").read_text())["id2label"] == {"0": "cat", "1": "dog"}
