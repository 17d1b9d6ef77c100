"""Further arguments of the model's forward reach every call: in training, evaluation and prediction."""

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification

from hf_guidance import GuidanceArguments, GuidedTrainer
from hf_guidance.attributions import InputXGradient
from hf_guidance.families import family_of
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import Energy

SIZE = (35, 38)  # the model is made for 32 x 32
INTERPOLATED = {"interpolate_pos_encoding": True}


def vit():
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=32, patch_size=8,
        num_labels=2,
    )  # fmt: skip
    return ViTForImageClassification(config)


def trainer_of(folder, **options):
    importance = torch.zeros(SIZE)
    importance[:16] = 1
    rows = [
        {"pixel_values": torch.randn(3, *SIZE), "labels": i % 2, "target": i % 2, "importance": importance}
        for i in range(4)
    ]
    args = GuidanceArguments(
        str(folder), max_steps=1, per_device_train_batch_size=2, report_to="none", save_strategy="no", use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    model = options.pop("model", None) or vit()
    guidance = Guidance(energy=Energy(InputXGradient("final")))
    return GuidedTrainer(model, args, train_dataset=rows, eval_dataset=rows, guidance=guidance, **options)


def test_images_of_another_size_are_trained_on_and_measured(tmp_path):
    trainer = trainer_of(tmp_path, model_arguments=INTERPOLATED)
    trainer.train()
    assert 0 <= trainer.evaluate()["eval_epg"] <= 1
    unlabelled = [{"pixel_values": row["pixel_values"]} for row in trainer.eval_dataset]
    assert trainer.predict(unlabelled).predictions.shape == (4, 2)


def test_they_are_added_to_those_of_a_given_family(tmp_path):
    model = vit()
    trainer = trainer_of(tmp_path, model=model, family=family_of(model), model_arguments=INTERPOLATED)
    assert trainer.family.arguments == INTERPOLATED
    trainer.train()


def test_without_them_the_model_refuses_the_size(tmp_path):
    with pytest.raises(ValueError, match=r"doesn't match model \(32\*32\)"):
        trainer_of(tmp_path).train()
