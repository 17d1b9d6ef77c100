"""Whatever a model is trained with, it is evaluated on annotations as they are."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from hf_guidance import Grounding, Guidance, GuidanceCollator, Term
from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.objectives import Energy

ENERGY = Guidance(energy=Term(Energy(GradCAM()), reduction="rows"))
TRAINING = {
    "moved boxes": {"control_seed": 3},
    "dilated boxes": {"source": "boxes", "box_dilation": 0.5},
    "augmentation": {"transform": v2.RandomHorizontalFlip(p=1.0)},
}


def collators(processor, **options):
    return GuidanceCollator(processor, num_labels=2, source="boxes"), GuidanceCollator(
        processor, num_labels=2, **({"source": "boxes"} | options)
    )


@pytest.mark.parametrize("options", TRAINING.values(), ids=TRAINING)
def test_evaluation_knows_nothing_of_what_is_done_to_training_rows(trainer_of, model_of, digits, processor, options):
    plain, changed = collators(processor, **options)
    rows = [digits["train"][index] for index in range(4)]
    assert any(not torch.equal(plain(rows)[name], changed(rows)[name]) for name in ("pixel_values", "importance"))
    expected = trainer_of(model_of(), ENERGY, {"data_collator": plain})
    trainer = trainer_of(model_of(), ENERGY, {"data_collator": changed})
    assert trainer.evaluate()["eval_epg"] == expected.evaluate()["eval_epg"]
    assert trainer.predict(digits["test"]).metrics["test_epg"] == expected.evaluate()["eval_epg"]
    batch = next(iter(trainer.get_train_dataloader()))
    assert trainer.data_collator is changed
    trainer.data_collator = plain
    unchanged = next(iter(trainer.get_train_dataloader()))
    assert any(not torch.equal(batch[name], unchanged[name]) for name in ("pixel_values", "importance"))


def test_a_collator_of_its_own_for_evaluation(trainer_of, model_of, processor):
    plain, moved = collators(processor, control_seed=3)
    given = trainer_of(model_of(), ENERGY, {"data_collator": plain, "eval_data_collator": moved})
    expected = trainer_of(model_of(), ENERGY, {"data_collator": plain})
    assert given.evaluate()["eval_epg"] != expected.evaluate()["eval_epg"]


def test_pairs_without_annotation_are_left_out_or_count_as_zero(trainer_of, model_of, digits):
    def measured(unannotated, rows):
        grounding = Grounding(InputXGradient("input"), ("epg", "attribution_iou"), unannotated=unannotated)
        settings = {"grounding": grounding, "eval_dataset": rows}
        return trainer_of(model_of(), Guidance(), settings, per_device_eval_batch_size=4).evaluate()

    rows = [digits["test"][index] for index in range(10)]
    emptied = [
        {**row, "objects": [], "mask": None} if index in (1, 4, 5, 6, 7) else row for index, row in enumerate(rows)
    ]  # a batch
    without, zero = measured("drop", emptied), measured("zero", emptied)
    for name in ("eval_epg", "eval_attribution_iou"):
        assert zero[name] == pytest.approx(without[name] / 2, rel=1e-6)
        assert zero[name] > 0
    assert measured("zero", rows)["eval_epg"] == measured("drop", rows)["eval_epg"]
    assert measured("zero", [{**row, "objects": [], "mask": None} for row in rows])["eval_epg"] == 0
    with pytest.raises(ValueError, match=r"unannotated='skip' is unknown; choose one of \['drop', 'zero'\]"):
        Grounding(GradCAM(), unannotated="skip")
    with pytest.raises(ValueError, match=r"attribution='gradcam' is a str; give an attribution, as GradCAM\(\)"):
        Grounding("gradcam")


def test_a_stream_on_several_processes_is_not_evaluated(trainer_of, model_of, digits, monkeypatch):
    stream = digits["test"].to_iterable_dataset()
    trainer = trainer_of(model_of(), ENERGY, {"eval_dataset": {"stream": stream, "rows": digits["test"]}})
    assert trainer.evaluate(stream)["eval_epg"] == trainer.evaluate(digits["test"])["eval_epg"]
    monkeypatch.setattr(type(trainer.args), "world_size", 2)
    for refused in (
        lambda: trainer.evaluate(stream), lambda: trainer.evaluate("stream"), lambda: trainer.predict(stream),
        lambda: trainer_of(model_of(), ENERGY, {"eval_dataset": stream}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="streaming dataset cannot be evaluated on several processes"):
            refused()
