"""Every builder in dataset_scripts/: one schema, the same rows however they are read, published form, clear options."""

import io
import os
import pickle
from pathlib import Path

import datasets
import numpy as np
import pytest
from huggingface_hub import DatasetCard
from raw_folders import (
    CELEBA_SIZES,
    make_celeba,
    make_coco,
    make_coco_captions,
    make_imagenet9,
    make_voc,
    make_waterbirds,
)
from test_question_datasets import RAW as QUESTIONS

from hf_guidance.data import category_masks, export_dataset
from hf_guidance.data.builders import _builder_class
from hf_guidance.data.captions.rows import caption_features
from hf_guidance.data.images.rows import annotated_image_features

FOLDERS = sorted(path for path in (Path(__file__).parents[2] / "dataset_scripts").iterdir() if path.is_dir())
# a new builder adds the smallest raw data it can read
RAW = {
    "biased_celeba": lambda folder: {"data_dir": str(make_celeba(folder)), "mask_dir": "mouths", **CELEBA_SIZES},
    "coco_captions": lambda folder: {"data_dir": str(make_coco_captions(folder))},
    "coco_objects": lambda folder: {"data_dir": str(make_coco(folder))},
    "digits_on_photos": lambda folder: {"train_size": 20, "validation_size": 8, "test_size": 8},
    "imagenet9": lambda folder: {"data_dir": str(make_imagenet9(folder)), "mask_dir": "only_fg"},
    "pascal_voc": lambda folder: {"data_dir": str(make_voc(folder))},
    "shapes_captions": lambda folder: {"train_size": 20, "dev_size": 8, "test_id_size": 8, "test_ood_size": 8},
    "shapes_vqa": lambda folder: {"train_size": 20, "dev_size": 8, "test_id_size": 8, "test_ood_size": 8},
    "waterbirds": lambda folder: {"data_dir": str(make_waterbirds(folder))},
    **{name: lambda folder, make=make: {"data_dir": str(make(folder))} for name, make in QUESTIONS.items()},
}
pytestmark = pytest.mark.parametrize("name", [path.name for path in FOLDERS if path.name != "__pycache__"])


@pytest.fixture
def options(name, tmp_path):
    return RAW[name](tmp_path / "raw")


def plain(value):
    """Rows as comparable values: images as their pixels."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return np.asarray(value).tolist() if hasattr(value, "getpixel") else value


def rows(dataset) -> list:
    return [plain(row) for row in dataset]


def test_folder_holds_a_script_and_a_card(name):
    folder = next(path for path in FOLDERS if path.name == name)
    card = DatasetCard.load(folder / "README.md")
    assert (folder / f"{name}.py").is_file()
    assert card.data.pretty_name
    assert card.data.license
    options = _builder_class(name).BUILDER_CONFIG_CLASS.__dataclass_fields__
    missing = [option for option in options if option not in {"name", "version", "data_files", "description"}]
    assert [option for option in missing if option not in card.text and option != "data_dir"] == []


def test_rows_keep_the_schema(name, options, prepare):
    splits, builder = prepare(name, **options)
    features = builder.info.features
    if "question" in features:
        check_question_rows(splits, builder)
        return
    if "caption" in features:
        check_caption_rows(splits, builder)
        return
    names = features["labels"].feature.names
    groups = features["group"].names if "group" in features else None
    assert features == annotated_image_features(names, mask="mask" in features, groups=groups)
    for split in splits.values():
        assert len(set(split["image_id"])) == len(split)
        for row in split:
            width, height = row["image"].size
            assert row["labels"] == sorted({entry["category"] for entry in row["objects"]})
            for x0, y0, x1, y1 in (entry["bbox"] for entry in row["objects"]):
                assert 0 <= x0 < x1 <= width
                assert 0 <= y0 < y1 <= height
            if "mask" in row:
                assert row["mask"].size == (width, height)
                assert row["mask"].mode == "L"
    assert builder.report == {}


def check_question_rows(splits, builder):
    """The row format of questions: names, answers, and evidence with importance for as many boxes."""
    for split in splits.values():
        assert len(set(split["question_id"])) == len(split)
        for row in split:
            assert row["question"].strip()
            assert all(isinstance(row[column], str) for column in ("image_id", "question_type", "answer_type"))
            assert row["answers"] or split.split == "test"  # published without answers
            if "boxes" in row:
                assert all(0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 for x0, y0, x1, y1 in row["boxes"])
                assert len(row["boxes"]) == len(row["features"])
            if row.get("importance") is not None:
                assert 0 <= min(row["importance"]) <= max(row["importance"]) <= 1
                assert "boxes" not in row or len(row["importance"]) == len(row["boxes"])
    assert builder.report == {}


def check_caption_rows(splits, builder):
    """The row format of captions: references that hold the caption, masks of one size, and as many boxes as features."""
    features = builder.info.features
    expected = caption_features(*(name for name in ("segmentations", "image") if name in features))
    assert {name: features[name] for name in expected} == expected
    for split in splits.values():
        assert len(set(split["caption_id"])) == len(split)
        for row in split:
            assert row["caption"] in row["captions"]
            assert all(mask.any() for mask in category_masks(row["segmentations"]).values())
            assert len(row.get("boxes", [])) == len(row.get("features", []))
    assert builder.report == {}


def test_same_rows_streaming_and_in_two_processes(name, options, prepare, build, tmp_path):
    splits, builder = prepare(name, **options)
    expected = {split: rows(dataset) for split, dataset in splits.items()}
    assert {split: rows(dataset) for split, dataset in builder.as_streaming_dataset().items()} == expected
    parallel, _ = prepare(name, num_proc=2, cache_dir=str(tmp_path / "parallel"), **options)
    assert {split: rows(dataset) for split, dataset in parallel.items()} == expected


def test_published_form(name, options, prepare, tmp_path):
    splits, builder = prepare(name, **options)
    folder = export_dataset(builder, tmp_path / "published")
    assert sorted(os.listdir(folder)) == ["README.md", "data"]
    assert sorted(os.listdir(tmp_path)) == sorted({"cache", "published", *(["raw"] if "data_dir" in options else [])})
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "loaded"))
    streamed = datasets.load_dataset(str(folder), streaming=True)
    assert set(loaded) == set(splits)
    for split, dataset in splits.items():
        assert loaded[split].features == dataset.features
        assert streamed[split].features == dataset.features
        assert rows(loaded[split]) == rows(streamed[split]) == rows(dataset)
    assert rows(builder.as_dataset()["train"]) == rows(splits["train"])  # exporting leaves the builder as it was
    card = DatasetCard.load(folder / "README.md")
    assert [entry["split"] for entry in card.data.configs[0]["data_files"]] == list(splits)


def test_writes_parquet_itself(name, options, build, tmp_path):
    builder = build(name, **options)
    builder.download_and_prepare(str(tmp_path / "out"), file_format="parquet")
    files = {"train": str(tmp_path / "out" / f"{name}-train.parquet")}
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "loaded"))
    assert rows(loaded) == rows(builder.as_streaming_dataset("train"))


def test_loads_into_torch_workers(name, options, build):
    from torch.utils.data import DataLoader

    stream = build(name, **options).as_streaming_dataset("train")
    loader = DataLoader(stream, batch_size=None, num_workers=2)
    assert sorted(row["image_id"] for row in loader) == sorted(row["image_id"] for row in stream)


def test_builders_do_not_share_state(name, options, build):
    builder = build(name, **options)
    buffer = io.BytesIO()
    pickle.dump(builder, buffer)
    copy = pickle.loads(buffer.getvalue())
    assert copy is not builder
    assert copy.config == builder.config
    assert copy.cache_dir == builder.cache_dir


def test_unknown_options_are_refused(name, options, build):
    with pytest.raises(ValueError, match=r"unknown option colour; allowed: .*invalid"):
        build(name, colour="red", **options)
    with pytest.raises(ValueError, match=r"invalid: got 'ignore'; allowed: 'raise', 'skip'"):
        build(name, invalid="ignore", **options)
