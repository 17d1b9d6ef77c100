"""The picture of a card: the same images before training and now, through a resume, and no trace in the training."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import torch
from PIL import Image

from hf_guidance import Guidance, Term
from hf_guidance.attributions import ExpectedGradients, GradCAM
from hf_guidance.evaluation.displayed import displayed
from hf_guidance.objectives import Energy
from hf_guidance.training.publishing import card_trainer, drawing_trainer, maps_picture
from hf_guidance.training.publishing.maps_picture import PICTURE, draw_maps
from hf_guidance.training.publishing.sample import BEFORE, Sample

GUIDANCE = Guidance(energy=Term(Energy(GradCAM()), 1.0, "rows"))


@pytest.fixture
def drawn(monkeypatch):
    """What is given to the figure, each time."""
    calls, draw = [], maps_picture.attribution_figure
    monkeypatch.setattr(
        maps_picture,
        "attribution_figure",
        lambda rows, columns, path: calls.append((rows, columns)) or draw(rows, columns, path),
    )
    return calls


def test_four_images_before_and_now(drawn, trainer_of, model_of, tmp_path):
    trainer = trainer_of(model_of(), GUIDANCE, max_steps=3, learning_rate=0.1)
    start = trainer._chosen()
    untrained = [one for _, one, _ in trainer._maps(start)]
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    ((rows, columns),) = drawn
    assert columns == ["before training", "after 3 steps"]
    assert len(rows) == 4
    for row, first in zip(rows, untrained, strict=True):
        np.testing.assert_array_equal(row["before training"], first)
        assert row["boxes"].shape == (1, 4)
    assert any(not np.allclose(row["before training"], row["after 3 steps"]) for row in rows)
    with Image.open(tmp_path / "saved" / PICTURE) as picture:
        assert min(picture.size) > 300
    text = (tmp_path / "saved" / "README.md").read_text()
    assert f"({PICTURE})" in text
    assert "of annotated rows of the evaluation set" in text
    assert (tmp_path / "out" / BEFORE).is_file()
    assert not (tmp_path / "saved" / BEFORE).exists()


def test_a_resumed_run_has_the_maps_of_the_beginning(drawn, trainer_of, model_of, tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 2, "learning_rate": 0.1}
    first = trainer_of(model_of(), GUIDANCE, max_steps=2, **settings)
    measured = first.evaluate()
    first.train()
    assert drawn == []  # a checkpoint that stays here has a card without picture
    assert "![" not in (tmp_path / "out" / "checkpoint-2" / "README.md").read_text()
    kept = first._sample.before
    again = trainer_of(model_of(), GUIDANCE, max_steps=4, **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    again.evaluate()
    again.save_model()
    rows, columns = drawn[-1]
    assert columns == ["before training", "after 4 steps"]
    for row, map_ in zip(rows, kept, strict=True):
        np.testing.assert_array_equal(row["before training"], map_)
    assert f"| {measured['eval_epg']:.4g} |" in (tmp_path / "out" / "README.md").read_text()
    elsewhere = trainer_of(model_of(), GUIDANCE, max_steps=4, output_dir=str(tmp_path / "other"), **settings)
    elsewhere.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    np.testing.assert_array_equal(elsewhere._sample.before[0], kept[0])
    assert (tmp_path / "other" / BEFORE).is_file()


def test_a_new_run_in_the_same_folder_begins_anew(trainer_of, model_of, tmp_path):
    for seed in range(2):
        model = model_of()
        torch.manual_seed(seed)
        torch.nn.init.normal_(model.classifier[-1].weight, std=3.0)
        trainer = trainer_of(model, GUIDANCE, max_steps=1)
        trainer.train()
        trainer.save_model()
        np.testing.assert_array_equal(Sample.load(tmp_path / "out").before[0], trainer._sample.before[0])


def test_a_file_that_cannot_be_read_is_told_and_ends_nothing(drawn, trainer_of, model_of, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(drawing_trainer.logger, "warning", lambda text, **options: said.append(text))
    settings = {"save_strategy": "steps", "save_steps": 1}
    trainer_of(model_of(), GUIDANCE, max_steps=1, **settings).train()
    (tmp_path / "out" / BEFORE).write_bytes(b"not a file of torch")
    again = trainer_of(model_of(), GUIDANCE, max_steps=2, **settings)
    again.train(resume_from_checkpoint=True)
    again.save_model()
    assert len(said) == 1
    assert "will not show maps from before training" in said[0]
    assert drawn[-1][1] == ["after 2 steps"]


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_drawing_changes_nothing_of_the_training(kind, trainer_of, model_of, monkeypatch):
    """The numbers of a run are those of one that draws nothing, generators and BatchNorm included."""
    guidance = Guidance(energy=Term(Energy(ExpectedGradients(samples=1)), 1.0, "rows"))
    found = []
    for draws in (True, False):
        if not draws:
            monkeypatch.setattr(drawing_trainer.DrawingTrainer, "_chosen", lambda self: None)
        trainer = trainer_of(model_of(kind), guidance, max_steps=3, save_strategy="steps", save_steps=1)
        trainer.train()
        trainer.save_model()
        found.append(
            (torch.cat([p.flatten() for p in trainer.model.state_dict().values()]), random.random(), torch.rand(1))
        )
        random.seed(0)
        assert trainer.model.training
    (first, *rest), (second, *others) = found
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert rest[1:] == others[1:]


def test_a_picture_that_fails_leaves_a_card_without_one(trainer_of, model_of, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(drawing_trainer.logger, "warning", lambda text, **options: said.append(text))

    def broken(*args, **kwargs):
        raise RuntimeError("no map today")

    trainer = trainer_of(model_of(), GUIDANCE)
    monkeypatch.setattr(maps_picture, "attribution_figure", broken)
    trainer.create_model_card()
    assert "the card has no picture of maps (RuntimeError: no map today)" in said[0]
    assert "![" not in (tmp_path / "out" / "README.md").read_text()
    assert sorted(os.listdir(tmp_path / "out")) == ["README.md"]


def test_only_the_process_that_saves_writes(trainer_of, model_of, tmp_path, monkeypatch):
    trainer = trainer_of(model_of(), GUIDANCE, max_steps=1)
    monkeypatch.setattr(type(trainer.args), "should_save", False)
    monkeypatch.setattr(trainer, "is_world_process_zero", lambda: False)
    monkeypatch.setattr(card_trainer.CardTrainer, "_write_card", lambda *args, **kwargs: pytest.fail("wrote"))
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
    assert trainer._sample is None
    assert not (tmp_path / "out" / "README.md").exists()


def test_boxes_are_painted(tmp_path, drawn):
    boxes = np.array([[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]])
    assert draw_maps(
        tmp_path, None, boxes, [np.array([1.0, 0.0])], ["what $ is\nit? red"], {"now": [np.array([3.0, 1.0])]}
    )
    ((row,), _) = drawn[0]
    assert row["now"][0, 0] == 3
    assert row["now"][-1, -1] == 1
    assert row["now"][0, -1] == 0
    assert row["boxes"].tolist() == [[0, 0, 80, 80]]
    assert row["titles"]["now"] == "now\n75% inside"
    assert (tmp_path / PICTURE).is_file()
    assert not draw_maps(tmp_path / "none", None, None, [np.ones(2)], ["a"], {"now": [np.ones(2)]})
    assert not (tmp_path / "none").exists()


def test_images_are_shown_as_they_were(processor):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8))
    pixels = processor(images=[image], return_tensors="pt")["pixel_values"]
    np.testing.assert_allclose(displayed(pixels, processor)[0] * 255, np.asarray(image), atol=1.5)
    six = torch.rand(2, 6, 4, 4)
    assert displayed(six, None).shape == (2, 4, 4, 3)
    assert displayed(torch.zeros(1, 1, 4, 4), None).max() == 0
    assert displayed(torch.zeros(2, 3), None) is None
