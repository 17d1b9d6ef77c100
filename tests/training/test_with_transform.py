"""The usual recipe, with_transform and a collate function of one's own, guided: how it is written, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from hf_guidance import Grounding, Guidance, GuidanceCollator
from hf_guidance.attributions import InputXGradient
from hf_guidance.data import ExplainedRowsCollator, JointTransform
from hf_guidance.objectives import Energy

ENERGY = Guidance(energy=Energy(InputXGradient("input")))
TENSOR = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
LABELS = {"num_labels": 2}


def collate_fn(rows):
    """As the examples of transformers write it."""
    pixels = torch.stack([row["pixel_values"] for row in rows])
    return {"pixel_values": pixels, "labels": torch.tensor([row["labels"][0] for row in rows])}


def only_pixels(batch):
    """A transform as the examples of transformers write it."""
    pipeline = v2.Compose([v2.Resize((24, 24)), *TENSOR])
    return {**batch, "pixel_values": [pipeline(image.convert("RGB")) for image in batch.pop("image")]}


@pytest.mark.parametrize("unused", [True, False], ids=["default", "remove_unused_columns=False"])
def test_the_recipe_is_guided_where_boxes_follow(trainer_of, model_of, digits, processor, unused):
    """Evaluation equals that of the same pixels and boxes without with_transform; training logs the term."""
    train = digits["train"].with_transform(JointTransform(v2.Compose([v2.RandomResizedCrop(24), *TENSOR])))
    mirrored = digits["test"].with_transform(JointTransform(v2.Compose([v2.RandomHorizontalFlip(1.0), *TENSOR])))
    collator = ExplainedRowsCollator(collate_fn, GuidanceCollator(None, **LABELS))
    settings = {"data_collator": collator, "eval_dataset": mirrored, "processing_class": None}
    trainer = trainer_of(model_of(), ENERGY, settings, rows=train, remove_unused_columns=unused)
    turn = GuidanceCollator(processor, **LABELS, transform=v2.Compose([v2.RandomHorizontalFlip(1.0), *TENSOR]))
    expected = trainer_of(model_of(), ENERGY, {"eval_data_collator": turn})
    found, wanted = trainer.evaluate(), expected.evaluate()
    for name in ("eval_loss", "eval_loss/energy", "eval_epg"):
        assert found[name] == pytest.approx(wanted[name], rel=1e-5), name
    trainer.train()
    assert all(0 < entry["loss/energy"] < 1 for entry in trainer.state.log_history if "loss/energy" in entry)


def test_a_transform_needs_no_collate_function(trainer_of, model_of, digits):
    rows = digits["train"].with_transform(JointTransform(v2.Compose([v2.RandomCrop(24), *TENSOR])))
    trainer = trainer_of(model_of(), ENERGY, {"processing_class": None}, rows=rows)
    assert trainer.train().global_step == 6


def test_a_collate_function_that_knows_nothing_of_guidance_is_refused(trainer_of, model_of, digits):
    rows = digits["train"].with_transform(JointTransform(v2.Compose(TENSOR)))
    trainer = trainer_of(model_of(), ENERGY, {"data_collator": collate_fn}, rows=rows)
    message = r"no \['importance'\], which guidance reads; the collate function makes \['labels', 'pixel_values'\]"
    with pytest.raises(ValueError, match=rf"{message}.*ExplainedRowsCollator\(collate_fn, GuidanceCollator"):
        trainer.train()
    measured = {"data_collator": collate_fn, "grounding": Grounding(InputXGradient("input")), "eval_dataset": rows}
    with pytest.raises(ValueError, match=message):
        trainer_of(model_of(), Guidance(), measured).evaluate()
    assert trainer_of(model_of(), Guidance(), measured | {"grounding": None}).evaluate()["eval_loss"] > 0


def test_boxes_that_a_transform_leaves_behind_are_refused(trainer_of, model_of, digits):
    wrapped = ExplainedRowsCollator(collate_fn, GuidanceCollator(None, **LABELS))
    moved = digits["train"].with_transform(only_pixels)
    message = r"makes pixel_values of \(24, 24\) from an image of \(32, 32\).*leaves \['mask', 'objects'\]"
    for settings in ({"data_collator": wrapped}, {}):
        with pytest.raises(ValueError, match=message):
            trainer_of(model_of(), ENERGY, settings, rows=moved)
        with pytest.raises(ValueError, match=message):
            trainer_of(model_of(), ENERGY, settings | {"eval_dataset": {"moved": moved}})
        trainer = trainer_of(model_of(), ENERGY, settings)
        for refused in (trainer.evaluate, trainer.predict):
            with pytest.raises(ValueError, match=message):
                refused(moved)


def test_pixels_that_the_collate_function_changes_are_refused(digits):
    rows = list(digits["test"].select(range(4)).with_transform(JointTransform(v2.Compose(TENSOR))))
    explained = GuidanceCollator(None, **LABELS)

    def changed(by):
        return ExplainedRowsCollator(lambda rows: by(collate_fn(rows)), explained)

    def mixed(batch):
        return batch | {"pixel_values": 0.5 * (batch["pixel_values"] + batch["pixel_values"].flip(0))}

    def cropped(batch):
        return batch | {"pixel_values": batch["pixel_values"][..., :20, :20]}

    with pytest.raises(ValueError, match=r"makes 'pixel_values' with other values.*would not follow.*JointTransform"):
        changed(mixed)(rows)
    with pytest.raises(
        ValueError, match=r"of shape \(4, 3, 20, 20\), the rows' importance belongs to \(4, 3, 32, 32\)"
    ):
        changed(cropped)(rows)
    # More in the batch, another number type and labels of another form are the function's own affair.
    batch = changed(
        lambda b: {**b, "labels": torch.eye(2)[b["labels"]], "weight": 1, "pixel_values": b["pixel_values"].half()}
    )(rows)
    plain = explained(rows)
    assert set(batch) == {*plain, "weight"}
    assert torch.equal(batch["importance"], plain["importance"])
    assert batch["labels"].shape == (4, 2)
    with pytest.raises(ValueError, match="explained=None is a NoneType; give a collator of this library"):
        ExplainedRowsCollator(collate_fn, None)
    moving = ExplainedRowsCollator(collate_fn, GuidanceCollator(None, **LABELS, control_seed=1))
    assert moving.for_evaluation().explained == explained
    assert moving.sources == explained.sources
