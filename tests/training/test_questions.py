"""GuidedTrainer on questions: every attribution over boxes, and what the first step must not refuse."""

import numpy as np
import pytest
import torch

from hf_guidance import (
    AnswerVocabulary,
    AttributionPanel,
    Guidance,
    GuidanceArguments,
    GuidedTrainer,
    QuestionCollator,
    RegionFeatures,
    recipes,
)
from hf_guidance import attributions as every
from hf_guidance.attributions import Attribution, Gradient, SoftLabelLogits
from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering, word_tokenizer
from hf_guidance.objectives import Alignment, AnswerLoss
from hf_guidance.training.panels.maps import panel_maps
from hf_guidance.training.panels.rows import panel_rows

METHODS = [method for method in map(every.__dict__.get, every.__all__) if issubclass(method, Attribution)]
# Grad-CAM's weights need a layer with channels over boxes
NAMES = sorted({method.__name__ for method in METHODS} - {"Attribution", "GradCAM"})


def rows(importance, boxes=4):
    generator = np.random.default_rng(0)
    corners = generator.random((10, boxes, 2)).astype(np.float32) / 2
    return [
        {
            "question_id": str(index), "image_id": str(index), "question": f"what is thing {index % 3}",
            "answers": [("red", "blue", "green")[index % 3]], "boxes": np.concatenate([at, at + 0.4], 1),
            "features": generator.standard_normal((boxes, 6), dtype=np.float32), "importance": importance(generator, boxes),
        }
        for index, at in enumerate(corners)
    ]  # fmt: skip


def random_importance(generator, boxes):
    return generator.random(boxes, dtype=np.float32)


def trainer_of(guidance, data, folder, **collator):
    tokenizer = word_tokenizer([row["question"] for row in data])
    answers = AnswerVocabulary.from_answers([row["answers"] for row in data], min_occurrence=1)
    config = UpDnConfig(
        vocab_size=len(tokenizer), word_size=4, hidden_size=32, visual_feat_dim=6, id2label=answers.id2label,
        label2id=answers.label2id,
    )  # fmt: skip
    args = GuidanceArguments(
        str(folder), per_device_train_batch_size=5, max_steps=2, report_to="none", use_cpu=True, save_strategy="no",
        disable_tqdm=True, logging_steps=1,
    )  # fmt: skip
    return GuidedTrainer(
        UpDnForQuestionAnswering(config), args, train_dataset=data, eval_dataset=data,
        data_collator=QuestionCollator(tokenizer, answers, **collator), guidance=guidance,
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_attribution_over_boxes_trains_and_is_measured(name, tmp_path):
    guidance = Guidance(task=AnswerLoss(), align=Alignment(getattr(every, name)(target=SoftLabelLogits())))
    trainer = trainer_of(guidance, rows(random_importance), tmp_path)
    trainer.train()
    assert -1 <= trainer.evaluate()["eval_plausibility"] <= 1


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ["visfis", "hint", "scr", "simpson2019", "chang2021", "attention_align"])
def test_no_important_box_or_nothing_else_is_no_error(name, level, tmp_path):
    data = rows(lambda generator, boxes: np.full(boxes, level, np.float32))
    data[0]["importance"] = np.float32([1, 0, 0, 0])  # a set without any annotation is refused
    trainer_of(getattr(recipes, name)(), data, tmp_path).train()


def test_the_published_invariance_of_one_box_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"moves no parameter.*one sampled box is always 1"):
        trainer_of(recipes.invariance_fi(variant="official"), rows(random_importance), tmp_path).train()


def test_a_control_is_measured_by_the_true_importance(tmp_path):
    """Trained on importance that is dealt out to the wrong boxes; the same weights have the same plausibility."""
    data = rows(random_importance)
    guidance = Guidance(task=AnswerLoss(), align=Alignment(Gradient(target=SoftLabelLogits())))
    found = []
    for options in ({}, {"control_seed": 5}):
        torch.manual_seed(0)
        found.append(trainer_of(guidance, data, tmp_path, **options).evaluate()["eval_plausibility"])
    assert found[0] == found[1]


def test_random_supervision_is_measured_by_the_true_importance(tmp_path):
    guidance = recipes.random_supervision(recipes.visfis())
    trainer = trainer_of(guidance, rows(random_importance), tmp_path)
    assert trainer.grounding.importance == "importance"


@pytest.mark.parametrize("held_out", [None, "eval_dataset", "unseen"])
def test_images_without_features_are_counted_when_the_trainer_is_made(held_out, tmp_path):
    data = rows(random_importance)
    np.save(tmp_path / "features.npy", np.stack([row.pop("features") for row in data]))
    np.save(tmp_path / "boxes.npy", np.stack([row.pop("boxes") for row in data]))
    regions = RegionFeatures.from_numpy(tmp_path / "features.npy", tmp_path / "boxes.npy", range(10))
    guidance = Guidance(task=AnswerLoss(), align=Alignment(Gradient(target=SoftLabelLogits())))
    more = [*data, *({**data[0], "image_id": image} for image in ("a", "b", "b"))]
    trainer_of(guidance, data, tmp_path, regions=regions).train()
    sets = {"train_dataset": data, "eval_dataset": {"seen": data, "unseen": more} if held_out == "unseen" else more}
    if held_out is None:
        sets = {"train_dataset": more}
    trainer = trainer_of(guidance, data, tmp_path, regions=regions)
    error = rf"{held_out or 'train_dataset'}: 2 of 12 images have no features in .* \(first: \['a', 'b'\]\)"
    with pytest.raises(ValueError, match=error):
        GuidedTrainer(trainer.model, trainer.args, data_collator=trainer.data_collator, guidance=guidance, **sets)


def test_rows_without_answers_are_predicted(tmp_path):
    data = rows(random_importance)
    trainer = trainer_of(recipes.visfis(), data, tmp_path)
    unlabelled = [{name: value for name, value in row.items() if name != "answers"} for row in data]
    expected = trainer.predict(data).predictions
    logits = trainer.predict(unlabelled).predictions
    np.testing.assert_allclose(logits, expected, rtol=1e-5)


def test_a_panel_of_questions_is_drawn_as_bars(tmp_path):
    data = rows(random_importance)
    data[0] |= {"boxes": data[0]["boxes"][:3], "features": data[0]["features"][:3], "importance": np.float32([0, 1, 0])}
    guidance = Guidance(task=AnswerLoss(), align=Alignment(Gradient("input", target=SoftLabelLogits())))
    trainer = trainer_of(guidance, data, tmp_path)
    trainer.add_callback(AttributionPanel(count=3))
    trainer.train()
    assert [place.name for place in sorted((tmp_path / "panels").glob("*.png"))] == [
        "step-000000.png",
        "step-000002.png",
    ]
    maps = panel_maps(trainer, panel_rows(trainer, None, 3), Gradient("input", target=SoftLabelLogits()))
    assert [drawn.attribution.shape for drawn in maps.drawn] == [(3,), (4,), (4,)]  # without padding
    assert maps.drawn[0].importance.tolist() == [0, 1, 0]
    assert maps.drawn[1].title.startswith("what is thing 1\nblue")
    assert set(maps.losses) == {"loss/task", "loss/align"}
