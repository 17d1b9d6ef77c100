"""Builders by their names."""

import pickle
import subprocess
import sys

import pytest

from hf_guidance.common import shipped_folders
from hf_guidance.data import dataset_builder


def test_unknown_names_list_the_known():
    with pytest.raises(
        ValueError,
        match=r"dataset_scripts: got 'voc'; allowed: biased_celeba, clevr_xai, coco_captions, coco_objects, digits_on_photos, ",
    ):
        dataset_builder("voc")


def test_one_class_under_a_stable_name(digits):
    again = dataset_builder(
        "digits_on_photos", cache_dir=digits._cache_dir_root, train_size=12, validation_size=4, test_size=4
    )
    assert type(again) is type(digits)
    assert type(digits).__module__ == "hf_guidance.dataset_scripts.digits_on_photos.digits_on_photos"
    assert (digits.name, again.cache_dir) == ("digits_on_photos", digits.cache_dir)


def test_script_with_no_or_two_builders(tmp_path, monkeypatch):
    folder = tmp_path / "dataset_scripts" / "twice"
    folder.mkdir(parents=True)
    (folder / "twice.py").write_text(
        "import datasets\nclass A(datasets.GeneratorBasedBuilder): pass\nclass B(datasets.GeneratorBasedBuilder): pass\n"
    )
    monkeypatch.setattr(shipped_folders, "__file__", str(tmp_path / "hf_guidance" / "common" / "shipped_folders.py"))
    with pytest.raises(ValueError, match=r"twice\.py: 2 DatasetBuilder classes; allowed: exactly one"):
        dataset_builder("twice")


def test_builders_unpickle_where_the_script_was_never_loaded(digits):
    stream = digits.as_streaming_dataset("train")
    code = "import pickle, sys; print(sum(1 for _ in pickle.load(sys.stdin.buffer)))"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(stream), capture_output=True, check=True)
    assert int(done.stdout) == 12
