"""The splits of a dataset by its name: of a builder of this library, or of a folder."""

from __future__ import annotations

import json

import pytest

from hf_guidance.data import load_splits
from hf_guidance.data.builders import known_datasets, reads_raw_files


def test_a_builder_gets_its_options_and_its_raw_files(tmp_path):
    small = {"train_size": 6, "validation_size": 2, "test_size": 3, "image_size": 32, "digit_size": 16}
    splits = load_splits("digits_on_photos", builder_config={**small, "cache_dir": str(tmp_path)})
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 6, "validation": 2, "test": 3}
    with pytest.raises(ValueError, match="digits_on_photos: unknown option siez; allowed: "):
        load_splits("digits_on_photos", builder_config={"siez": 6})
    with pytest.raises(ValueError, match=r"no Annotations folder in .*nowhere"):
        load_splits("pascal_voc", data_dir=str(tmp_path / "nowhere"), builder_config={"cache_dir": str(tmp_path)})


def test_any_other_name_is_for_load_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "data"
    folder.mkdir()
    for split, count in (("train", 3), ("test", 2)):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps({"number": i}) + "\n" for i in range(count)))
    splits = load_splits(str(folder))
    assert {name: splits[name]["number"][:] for name in splits} == {"train": [0, 1, 2], "test": [0, 1]}


@pytest.mark.parametrize("options", [{"data_dir": "raw"}, {"builder_config": {"invalid": "skip"}}])
@pytest.mark.parametrize("dataset", ["org/birds", "pascal-voc", "./data"])
def test_options_of_a_builder_are_refused_for_another_dataset(dataset, options):
    with pytest.raises(
        ValueError, match=rf"{dataset} is no builder .*pascal_voc.* so {next(iter(options))}=.* would not be used"
    ):
        load_splits(dataset, **options)


@pytest.mark.parametrize("dataset", ["digits_on_photos", "shapes_captions", "shapes_vqa"])
def test_raw_files_are_refused_for_a_builder_that_draws(dataset):
    with pytest.raises(ValueError, match=rf"{dataset} reads no raw files, so data_dir='raw' would not be used"):
        load_splits(dataset, data_dir="raw")


@pytest.mark.parametrize("dataset", known_datasets())
def test_all_others_read_raw_files(dataset):
    assert reads_raw_files(dataset) == (dataset not in ("digits_on_photos", "shapes_captions", "shapes_vqa"))
