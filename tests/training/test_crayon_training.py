"""CRAYON end to end: maps of a model are written, answered, and the model is trained by the answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_rows import photo_rows
from transformers import ConvNextConfig, ConvNextForImageClassification, ViTImageProcessor

from hf_guidance import GuidanceArguments, GuidedTrainer, recipes
from hf_guidance.apps.annotation import AnnotationFolder, write_annotation_folder
from hf_guidance.data import SavedMaps, YesNoCollator, answer_counts, with_answers
from hf_guidance.evaluation import extract_maps
from hf_guidance.models.shared.image_classifier import image_classifier
from hf_guidance.training.pruning import prune_channels

WORDS = ["yes", "no", "no", "maybe", None, "yes", "no", "no"]
SHAPE = {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"}


@pytest.fixture
def processor():
    return ViTImageProcessor(size={"height": 32, "width": 32})


@pytest.fixture
def model():
    torch.manual_seed(0)
    return image_classifier(None, ["a", "b"], "single_label_classification", fields=SHAPE)[0]


@pytest.fixture
def answered(model, processor, tmp_path):
    rows = photo_rows(len(WORDS))
    return with_answers(rows, extract_maps(model, rows, tmp_path / "maps", processor), WORDS)


def trainer_of(model, rows, processor, folder, **settings):
    counts = answer_counts(rows["answer"])
    guidance = recipes.crayon(counts.relevant, counts.irrelevant, alpha=1.0, beta=2.0)
    args = GuidanceArguments(
        str(folder), per_device_train_batch_size=4, num_train_epochs=2, learning_rate=1e-2, report_to="none",
        disable_tqdm=True, use_cpu=True, **settings,
    )  # fmt: skip
    return GuidedTrainer(
        model, args, train_dataset=rows, eval_dataset=rows, processing_class=processor, guidance=guidance,
        data_collator=YesNoCollator(processor, num_labels=2, source="boxes"),
    )  # fmt: skip


def test_training_lowers_the_map_where_it_was_wrong(model, answered, processor, tmp_path):
    before = [np.array(each) for each in answered.with_format("numpy")["saved_map"][:]]
    trainer = trainer_of(model, answered, processor, tmp_path / "out", save_strategy="epoch")
    trainer.train()
    metrics = trainer.evaluate()
    assert metrics["eval_epg"] > 0  # of the boxes, not of the maps
    assert metrics["eval_loss/irrelevant"] >= 0
    again = extract_maps(trainer.model, answered.remove_columns(["saved_map", "answer"]), tmp_path / "after", processor)
    assert any(not np.allclose(again[place], before[place]) for place, word in enumerate(WORDS) if word == "no")
    resumed = trainer_of(model, answered, processor, tmp_path / "out", save_strategy="epoch")
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    for key, value in resumed.model.state_dict().items():
        torch.testing.assert_close(value, trainer.model.state_dict()[key], rtol=1e-5, atol=1e-6)


def test_one_forward_a_step(model, answered, processor, tmp_path):
    calls, trainer = [], trainer_of(model, answered, processor, tmp_path / "out", save_strategy="no")
    model.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    trainer.train()
    assert sum(calls) == 4, calls  # of four steps; the released code has two each


def test_the_page_knows_which_maps_it_asks_about(answered, processor, tmp_path):
    maps = SavedMaps.from_folder(tmp_path / "maps")
    rows = answered.remove_columns(["saved_map", "answer"])
    folder = AnnotationFolder(write_annotation_folder(rows, maps, tmp_path / "ask", processor=processor))
    assert folder.maps_fingerprint == maps.fingerprint
    assert np.array_equal(folder[3].map, maps[3])


def test_maps_of_one_architecture_train_another(answered, processor, tmp_path):
    config = ConvNextConfig(hidden_sizes=[8, 12, 16], depths=[1, 1, 1], num_stages=3, patch_size=2, num_labels=2)
    other = ConvNextForImageClassification(config)
    assert SavedMaps.from_folder(tmp_path / "maps").shape == (4, 4)
    trainer = trainer_of(other, answered, processor, tmp_path / "out", save_strategy="no", logging_steps=1)
    trainer.train()
    losses = [row["loss/relevant"] for row in trainer.state.log_history if "loss/relevant" in row]
    assert losses
    assert all(np.isfinite(losses))


def test_a_pruned_model_is_trained_in_one_masked_forward(model, answered, processor, tmp_path):
    keep = torch.ones(12, dtype=torch.bool)
    keep[[1, 5]] = False
    prune_channels(model, keep)
    trainer = trainer_of(model, answered, processor, tmp_path / "out", save_strategy="no")
    trainer.train()
    assert not trainer.model.classifier[1].weight[:, [1, 5]].any()
