"""GuidedTrainer on captions: every visual word of a step counts, smoothing, and what evaluate() measures."""

import numpy as np
import pytest
import torch
from tiny import parameter_gradients, relative_error
from toy_captions import DIMS

from hf_guidance import Grounding, Guidance, GuidanceArguments, GuidedTrainer, recipes
from hf_guidance.attributions import Gradient, WordLogit
from hf_guidance.data import CaptionCollator, VisualWords, encode_mask
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.models import UpDnCaptionerConfig, UpDnForImageCaptioning, caption_tokenizer
from hf_guidance.objectives import CaptionLoss

LEFT = np.zeros((8, 8), bool)
LEFT[:, :4] = True
MASKS = [encode_mask("dog", LEFT), encode_mask("cat", ~LEFT)]
TEXTS = ["a dog and a cat and a dog", "the cat sits", "it is red"]  # 3, 1 and 0 visual words
TOKENIZER = caption_tokenizer(TEXTS)


def row(number):
    draw = np.random.default_rng(number)
    boxes = [[0, 0, 0.5, 1], [0.25, 0, 1, 1], [0.5, 0, 1, 1]]
    return {"caption_id": str(number), "features": draw.normal(size=(3, DIMS)).astype(np.float32), "boxes": boxes,
            "caption": TEXTS[number % 3], "segmentations": MASKS}  # fmt: skip


def trainer_of(folder, rows, guidance, **options):
    torch.manual_seed(0)
    config = UpDnCaptionerConfig(len(TOKENIZER), word_size=6, hidden_size=8, attention_size=5, visual_feat_dim=DIMS)
    collator = CaptionCollator(TOKENIZER, VisualWords({"dog": "dog", "cat": "cat"}))
    args = GuidanceArguments(
        str(folder), report_to="none", use_cpu=True, max_steps=2, per_device_train_batch_size=len(rows), save_strategy="no",
        **options,
    )  # fmt: skip
    grounding = Grounding(Gradient(target=WordLogit()), metrics=("plausibility",))
    return GuidedTrainer(
        UpDnForImageCaptioning(config), args, train_dataset=rows, eval_dataset=rows, data_collator=collator,
        processing_class=TOKENIZER, guidance=guidance, grounding=grounding,
    )  # fmt: skip


def test_every_visual_word_counts(tmp_path):
    rows, guidance = [row(number) for number in range(3)], recipes.hint_captions(task=1.0)
    trainer = trainer_of(tmp_path, rows, guidance)
    batch = trainer.data_collator(rows)
    assert batch["row"] == [0, 0, 0, 1]
    model = trainer.model.train()
    loss = trainer.compute_loss(model, dict(batch))
    needs = guidance.needs()
    expected, _ = guidance(Forward(model, family_of(model), batch, needs), None)
    assert relative_error(loss, expected) < 1e-5
    ours, theirs = parameter_gradients(loss, model), parameter_gradients(expected, model)
    for first, second in zip(ours, theirs, strict=True):
        assert torch.allclose(first, second, rtol=1e-4, atol=1e-6)
    trainer.train()
    measured = trainer.evaluate()
    assert {"eval_loss/task", "eval_loss/hint", "eval_plausibility"} <= measured.keys()


def test_captions_without_a_visual_word_train(tmp_path):
    """By the task alone: in a batch of their own, and beside others."""
    guidance, task = recipes.hint_captions(task=1.0), Guidance(task=CaptionLoss())
    trainer = trainer_of(tmp_path, [row(0), row(2), row(5)], guidance)
    batch, model = trainer.data_collator([row(2), row(5)]), trainer.model.train()
    assert batch["row"] == []
    loss = trainer.compute_loss(model, dict(batch))
    expected, _ = task(Forward(model, family_of(model), batch, task.needs()), None)
    assert relative_error(loss, expected) < 1e-6
    for ours, theirs in zip(parameter_gradients(loss, model), parameter_gradients(expected, model), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    trainer.train()
    assert trainer.state.global_step == 2


def test_a_training_without_any_visual_word_is_told(tmp_path):
    """Its batches are those of above, but a whole epoch of them would be an unguided run under the name of a guided one."""
    trainer = trainer_of(tmp_path, [row(2), row(5)], recipes.hint_captions(task=1.0))
    with pytest.raises(ValueError, match=r"saw no annotated row, so it was unguided.*'segmentations'"):
        trainer.train()
    assert trainer.evaluate()["eval_loss/hint"] == 0
    assert trainer_of(tmp_path, [row(2), row(5)], Guidance(task=CaptionLoss())).train().global_step == 2


def test_labels_are_smoothed(tmp_path):
    trainer = trainer_of(tmp_path, [row(0)], Guidance(task=CaptionLoss()), label_smoothing_factor=0.1)
    assert trainer.guidance["task"].objective == CaptionLoss(label_smoothing=0.1)


def test_the_start_that_the_model_generates_from(tmp_path):
    begun = CaptionCollator(TOKENIZER, VisualWords({"dog": "dog"}), begin=7)([row(0)])
    assert begun["input_ids"][0, 0] == 7
    with pytest.raises(ValueError, match="label_smoothing_factor"):
        trainer_of(tmp_path, [row(0)], Guidance(task=_Unsmoothed()), label_smoothing_factor=0.1)


class _Unsmoothed(CaptionLoss.__mro__[1]):
    """An objective without label smoothing."""

    def needs(self):
        return CaptionLoss().needs()

    def rows(self, forward):
        return CaptionLoss().rows(forward)

    def __call__(self, forward):
        return CaptionLoss()(forward)
