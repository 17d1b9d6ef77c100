"""The script of consistent answers end to end: drawn questions, files of VQA-Introspect among those of VQA v2, bad options."""

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from scripts import run_script

from hf_guidance import Guidance
from hf_guidance.models import PythiaForQuestionAnswering

sys.path.append(str(Path(__file__).resolve().parents[1] / "dataset_scripts"))
from raw_questions import make_vqa_introspect

SIZES = {"train_size": 60, "dev_size": 8, "test_id_size": 30, "test_ood_size": 30, "reasoning_share": 0.6}
DRAWN = ("--builder_config", json.dumps(SIZES))
CONSISTENCY = {"r_right_s_right", "r_right_s_wrong", "r_wrong_s_right", "r_wrong_s_wrong", "reasoning_accuracy"}
RANKED = {"mp_at_1", "ranking_accuracy", "mrr", "wpr"}


def run(folder, *options):
    fixed = ("--output_dir", str(folder), "--report_to", "none", "--use_cpu", "true", "--num_train_epochs", "1")
    run_script("run_sort", *fixed, "--save_strategy", "no", *options)
    return json.loads((folder / "results.json").read_text())


@pytest.fixture
def real(tmp_path):
    """VQA-Introspect and VQA v2 with region features of their four images, as the released files are laid out."""
    make_vqa_introspect(tmp_path / "raw")
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "train36.hdf5", "w") as file:
        corner = rng.uniform(0, 0.5, (4, 5, 2))
        file["image_features"] = rng.normal(size=(4, 5, 6)).astype(np.float32)
        file["spatial_features"] = np.concatenate([corner, corner + 0.4, np.full((4, 5, 2), 0.4)], 2).astype(np.float32)
        file["image_ids"] = np.arange(4)
    named = ("--dataset", "vqa_introspect", "--data_dir", str(tmp_path / "raw"), "--eval_splits", "validation")
    return (*named, "--regions", str(tmp_path / "train36.hdf5"))


@pytest.mark.parametrize(
    "options",
    [
        ("--recipe", "sort", "--similarity", "both"),
        ("--recipe", "sort", "--swapped", "true", "--pairs", "all"),
        ("--recipe", "squint", "--recipe_options", '{"attention": 10}'),
        ("--recipe", "sort_only_sub_questions", "--model_type", "updn"),
        ("--recipe", "task_only", "--recipe_options", '{"role_weights": [1, 1, 0]}', "--similarity", "none"),
    ],
    ids=lambda options: options[1],
)
def test_it_trains_measures_and_saves(options, tmp_path):
    results = run(tmp_path, *DRAWN, *options)
    for when in ("before", "after"):
        for split in ("test_id", "test_ood"):
            expected = CONSISTENCY if "none" in options else CONSISTENCY | RANKED
            assert expected | {"vqa_accuracy"} <= set(results[when][split])
            assert 0 <= results[when][split]["vqa_accuracy"] <= 1
    assert "task" in Guidance.load(tmp_path)
    if "updn" not in options:
        PythiaForQuestionAnswering.from_pretrained(tmp_path)


def test_published_files_are_mixed_with_all_questions(real, tmp_path):
    mixed = ("--mixed_with", "vqa_v2", "--mixed_data_dir", str(tmp_path / "raw"))
    for folder, options, rows in ((tmp_path / "alone", (), 2), (tmp_path / "mixed", mixed, 2 + 4)):
        results = run(folder, *real, *options, "--per_device_train_batch_size", "1")
        assert results["after"]["validation"].keys() >= CONSISTENCY | {"vqa_accuracy"}
        assert json.loads((folder / "trainer_state.json").read_text())["max_steps"] == rows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--recipe", "sorted"), r"--recipe sorted is unknown; give one of sort, "),
        (("--recipe", "squint"), r"--recipe squint with --recipe_options \{\}: .*attention"),
        (("--recipe", "sort", "--recipe_options", '{"weight": 1}'), r"--recipe sort with .*weight"),
        (("--guidance", "folder", "--recipe_options", '{"a": 1}'), r"--recipe_options is for a recipe"),
        (("--similarity", "cosine"), r"similarity='cosine'"),
    ],
)
def test_bad_options_are_told(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, *DRAWN, *options)
    assert not (tmp_path / "results.json").exists()


def test_questions_without_sub_questions_are_refused(tmp_path, real):
    with pytest.raises(ValueError, match=r"--dataset vqa_v2 has no column 'sub_questions'.*--mixed_with"):
        run(tmp_path, "--dataset", "vqa_v2", *real[2:])
