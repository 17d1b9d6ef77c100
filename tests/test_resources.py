"""Finding, loading and publishing what travels with the package."""

import pickle
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from hf_guidance import resources
from hf_guidance.resources import dataset_builder, export_dataset, metric_path

ROOT = Path(__file__).parents[1]
SMALL = {"train_size": 12, "validation_size": 4, "test_size": 4}


@pytest.fixture
def digits(tmp_path):
    datasets.disable_progress_bars()
    return dataset_builder("digits_on_photos", cache_dir=str(tmp_path / "cache"), **SMALL)


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in (ROOT / "metrics").glob("*/*.py")))
def test_metric_path(folder):
    path = Path(metric_path(folder))
    assert path.is_absolute()
    assert (path / f"{folder}.py").is_file()


def test_unknown_names_list_the_known():
    with pytest.raises(
        ValueError,
        match=r"dataset_scripts: got 'voc'; allowed: clevr_xai, coco_objects, digits_on_photos, gqa, pascal_",
    ):
        dataset_builder("voc")
    with pytest.raises(ValueError, match=r"metrics: got 'nothing'; allowed: "):
        metric_path("nothing")


def test_package_comes_before_checkout(tmp_path, monkeypatch):
    package = tmp_path / "hf_guidance"
    for root in (tmp_path, package):
        folder = root / "metrics" / "mine"
        folder.mkdir(parents=True)
        (folder / "mine.py").touch()
    monkeypatch.setattr(resources, "__file__", str(package / "resources.py"))
    assert metric_path("mine") == str(package / "metrics" / "mine")
    (package / "metrics" / "mine" / "mine.py").unlink()
    assert metric_path("mine") == str(tmp_path / "metrics" / "mine")


def test_one_class_under_a_stable_name(digits):
    again = dataset_builder("digits_on_photos", cache_dir=digits._cache_dir_root, **SMALL)
    assert type(again) is type(digits)
    assert type(digits).__module__ == "hf_guidance.dataset_scripts.digits_on_photos.digits_on_photos"
    assert (digits.name, again.cache_dir) == ("digits_on_photos", digits.cache_dir)


def test_script_with_no_or_two_builders(tmp_path, monkeypatch):
    folder = tmp_path / "dataset_scripts" / "twice"
    folder.mkdir(parents=True)
    (folder / "twice.py").write_text(
        "import datasets\nclass A(datasets.GeneratorBasedBuilder): pass\nclass B(datasets.GeneratorBasedBuilder): pass\n"
    )
    monkeypatch.setattr(resources, "__file__", str(tmp_path / "hf_guidance" / "resources.py"))
    with pytest.raises(ValueError, match=r"twice\.py: 2 DatasetBuilder classes; allowed: exactly one"):
        dataset_builder("twice")


def test_builders_unpickle_where_the_script_was_never_loaded(digits):
    stream = digits.as_streaming_dataset("train")
    code = "import pickle, sys; print(sum(1 for _ in pickle.load(sys.stdin.buffer)))"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(stream), capture_output=True, check=True)
    assert int(done.stdout) == 12


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

    monkeypatch.setattr(resources if fault == "_card" else type(digits), fault, full)
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
