"""The example script end to end, and what it says to a wrong name."""

from __future__ import annotations

import json

import pytest
from scripts import run_script
from transformers import AutoImageProcessor, AutoModelForImageClassification

from hf_guidance import Guidance


def run(folder, *options):
    small = json.dumps({"train_size": 24, "validation_size": 0, "test_size": 8, "image_size": 32, "digit_size": 16})
    fixed = [
        "--builder_config", small, "--image_size", "32", "--output_dir", str(folder), "--num_train_epochs", "1",
        "--report_to", "none", "--use_cpu", "true", "--save_strategy", "no",
    ]  # fmt: skip
    run_script("run_guided_image_classification", *fixed, *options)


RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
VIT = {
    "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16, "patch_size": 8,
}  # fmt: skip
GRADIENTS = [
    "--objective", "RightReasons", "--attribution", "IntegratedGradients", "--attribution_options", '{"steps": 2}',
    "--layer", "mid1",
]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        ["--model_config", json.dumps(RESNET), "--fraction", "0.5"],
        ["--model_type", "vit", "--model_config", json.dumps(VIT), *GRADIENTS],
        ["--model_type", "bcos_resnet", "--model_config", json.dumps(RESNET), "--attribution", "BcosContribution"],
    ],
    ids=["resnet", "vit", "bcos"],
)
def test_it_trains_measures_and_saves(options, tmp_path):
    run(tmp_path, *options)
    results = json.loads((tmp_path / "all_results.json").read_text())
    for name in ("accuracy", "epg", "attribution_iou", "pointing_game"):
        assert 0 <= results[f"before_{name}"] <= 1
        assert 0 <= results[f"after_{name}"] <= 1
    AutoModelForImageClassification.from_pretrained(tmp_path)
    AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    assert len(Guidance.load(tmp_path)) == 2


def test_a_wrong_objective_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"unknown name 'Enery'.*Energy"):
        run(tmp_path, "--objective", "Enery")
