"""Datasets in their published form."""

import datasets
import pytest
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from hf_guidance.data import export, export_dataset


def test_export_names_shards(digits, tmp_path):
    folder = export_dataset(digits, tmp_path / "out", max_shard_size=20_000, num_proc=2)
    names = sorted(path.name for path in (folder / "data").glob("train-*"))
    assert len(names) > 1
    assert names == [f"train-{index:05d}-of-{len(names):05d}.parquet" for index in range(len(names))]
    loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "loaded"))
    digits.download_and_prepare()
    assert loaded["image_id"][:] == digits.as_dataset("train")["image_id"][:]


def test_export_keeps_what_is_there_unless_told(digits, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    export_dataset(digits, folder)  # an empty folder is no loss
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"out is not empty; pass overwrite=True"):
        export_dataset(digits, folder)
    assert (folder / "mine.txt").exists()
    export_dataset(digits, folder, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "data"]


@pytest.mark.parametrize("fault", ["_card", "_generate_examples"])
def test_a_failed_export_leaves_everything_as_it_was(fault, digits, tmp_path, monkeypatch):
    folder = export_dataset(digits, tmp_path / "out")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export if fault == "_card" else type(digits), fault, full)
    for target in (folder, tmp_path / "new"):
        with pytest.raises((OSError, datasets.exceptions.DatasetGenerationError)):
            export_dataset(digits, target, overwrite=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out"]


def test_export_takes_any_builder(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,x\n2,y\n")
    builder = datasets.load_dataset_builder("csv", data_files=str(tmp_path / "rows.csv"), cache_dir=str(tmp_path / "c"))
    folder = export_dataset(builder, tmp_path / "out")
    loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "loaded"))
    assert loaded.to_dict() == {"a": [1, 2], "b": ["x", "y"]}


def test_card_tells_what_was_left_out_and_the_licence(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(type(digits), "report", {"box reversed": {"count": 3, "examples": ["a"]}})
    text = (export_dataset(digits, tmp_path / "out") / "README.md").read_text()
    assert "- 3 x box reversed" in text
    assert "license: cc-by-2.0" in text
    assert "| train | 12 |" in text


NASTY = "a: 'b' | \"c\"\n---\nlicense: evil"


def test_the_card_survives_any_name_and_text(tmp_path, monkeypatch, digits):
    features = datasets.Features({"odd | \"name\": 'x'": datasets.ClassLabel(names=[NASTY, "```", "日本"])})
    rows = datasets.Dataset.from_dict({next(iter(features)): [0, 1, 2]}, features=features)
    rows.to_parquet(str(tmp_path / "rows.parquet"))
    builder = datasets.load_dataset_builder(
        "parquet", data_files={"train": str(tmp_path / "rows.parquet")}, cache_dir=str(tmp_path / "c")
    )
    builder.info.license, builder.info.citation, builder.info.homepage = NASTY, "@misc{x,\n}```", "https://x.org"
    builder.report = {NASTY: {"count": 2, "examples": []}}
    folder = export_dataset(builder, tmp_path / "out")
    card = DatasetCard.load(folder / "README.md")
    assert card.data.license == NASTY
    assert card.data.tags == ["attribution-guidance", "hf_guidance"]
    assert card.data.dataset_info["features"][0]["dtype"]["class_label"]["names"]["0"] == NASTY
    tokens = MarkdownIt("commonmark").enable("table").parse(card.text)
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings == ["parquet", "Columns", "Splits", "Left out or repaired", "Licence", "Citation"]
    assert "Home of the raw data: https://x.org" in card.text
    loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "loaded"))
    assert loaded.features == features


def test_the_card_of_digits_reads_well(digits, tmp_path):
    text = (export_dataset(digits, tmp_path / "out") / "README.md").read_text()
    assert "\n# digits_on_photos\n".replace("_", "\\_") in text
    assert "Written by the `digits_on_photos` builder" in text
    assert "- nothing\n" in text
    assert "\n\n\n\n" not in text
