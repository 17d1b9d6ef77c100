"""A small B-cos net under GuidedTrainer."""

import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification, ViTImageProcessor

from hf_guidance import Grounding, Guidance, GuidanceArguments, GuidedTrainer, Term
from hf_guidance.attributions import BcosContribution
from hf_guidance.models import BcosImageProcessor, BcosResNetConfig, BcosResNetForImageClassification
from hf_guidance.objectives import Energy

torch.set_num_threads(1)
SIZES = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic", "num_labels": 2}


def trainer_of(digits, tmp_path, guidance, processor=None, **trainer):
    torch.manual_seed(0)
    model = BcosResNetForImageClassification(BcosResNetConfig(**SIZES))
    args = GuidanceArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=8, learning_rate=3e-3, report_to="none", save_strategy="no",
        logging_steps=1, num_train_epochs=3, use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    processor = processor or BcosImageProcessor(size={"height": 32, "width": 32})
    return GuidedTrainer(
        model=model, args=args, train_dataset=digits["train"], eval_dataset=digits["test"], processing_class=processor,
        guidance=guidance, **trainer,
    )  # fmt: skip


@pytest.mark.parametrize("layer", ["input", "mid1", "final"])
def test_guided_steps_move_the_maps_into_the_boxes(digits, tmp_path, layer):
    attribution = BcosContribution(layer)
    guidance = Guidance(energy=Term(Energy(attribution), 5.0, reduction="rows"))
    grounding = Grounding(attribution, metrics=("epg",))
    guided = trainer_of(digits, tmp_path, guidance, grounding=grounding)
    plain = trainer_of(digits, tmp_path, Guidance(), grounding=grounding)
    before = guided.evaluate()["eval_epg"]
    guided.train()
    plain.train()
    logged = [entry["loss/energy"] for entry in guided.state.log_history if "loss/energy" in entry]
    assert len(logged) == 18
    assert all(0 < value < 1 for value in logged)
    after = guided.evaluate()
    assert after["eval_epg"] > before
    assert after["eval_epg"] > plain.evaluate()["eval_epg"] + 0.02


def test_a_guided_checkpoint_loads_with_its_processor(digits, tmp_path):
    trainer = trainer_of(digits, tmp_path, Guidance(energy=Energy(BcosContribution("final"))))
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "saved").eval()
    processor = AutoImageProcessor.from_pretrained(tmp_path / "saved")
    images = [row["image"] for row in digits["test"]]
    logits = model(**processor(images=images, return_tensors="pt")).logits
    expected = torch.from_numpy(trainer.predict(digits["test"]).predictions)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert Guidance.load(tmp_path / "saved") == trainer.guidance


def test_a_processor_of_another_model_is_refused(digits, tmp_path):
    trainer = trainer_of(digits, tmp_path, Guidance(), ViTImageProcessor(size={"height": 32, "width": 32}))
    with pytest.raises(ValueError, match=r"pixel_values has shape \(8, 3, 32, 32\).*BcosImageProcessor"):
        trainer.train()
