"""The compared methods with maps in the Trainer: a few steps with their own optimizer, evaluation, save and resume."""

from __future__ import annotations

import datasets
import pytest
import torch
from test_whole_checkpoints import SETTINGS, image_rows, model_of, state

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, recipes
from hf_guidance.data.images.quadrants import with_quadrants
from hf_guidance.recipes.crayon_baselines import METHODS

SAVING = {
    "eval_strategy": "no",
    "load_best_model_at_end": False,
    "metric_for_best_model": None,
    "greater_is_better": None,
}
ADAM = (torch.optim.Adam, {"lr": 1e-3, "weight_decay": 1e-4})


def guidance_of(method):
    return getattr(recipes, method)("waterbirds", weight=0.5)


def rows_of(method, count=8):
    rows = image_rows(count)
    return [row | {"quadrant": place % 3} for place, row in enumerate(rows)] if method == "gradia" else rows


def trainer_of(method, name, folder, **settings):
    args = GuidanceArguments(str(folder), **(SETTINGS | SAVING | {"label_smoothing_factor": 0.1} | settings))
    return GuidedTrainer(
        model_of(name), args, train_dataset=rows_of(method), eval_dataset=rows_of(method, 4),
        guidance=guidance_of(method), optimizer_cls_and_kwargs=ADAM,
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_train_evaluate_save_and_resume(method, name, tmp_path):
    """Random draws included: the second half of a resumed run ends where the whole run did."""
    whole = trainer_of(method, name, tmp_path)
    before = state(whole.model)
    whole.train()
    after = state(whole.model)
    assert type(whole.optimizer.optimizer if hasattr(whole.optimizer, "optimizer") else whole.optimizer) is ADAM[0]
    assert any(not torch.equal(after[key], before[key]) for key in after)
    assert all(torch.isfinite(value).all() for value in after.values())
    metrics = whole.evaluate()
    term = next(term for term in guidance_of(method) if term != "task")
    assert metrics[f"eval_loss/{term}"] >= 0
    assert ("eval_epg" in metrics) == (
        method != "actdiff"
    )  # of maps with one number per place, whatever the term reads
    assert Guidance.load(tmp_path / "checkpoint-2")[term] == guidance_of(method)[term]
    again = trainer_of(method, name, tmp_path)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    for key, value in state(again.model).items():
        torch.testing.assert_close(value, after[key], rtol=1e-5, atol=1e-6)


def test_quadrants_from_a_first_model(tmp_path):
    """The way of a user: predict, add the column, train; without the column the first step says what is missing."""
    answers = ["no", "yes", "maybe", None, "no", "yes", "no", "no"]
    given = [row | {"answer": answer} for row, answer in zip(image_rows(), answers, strict=True)]
    columns = {name: [row[name] for row in given] for name in ("label", "answer")}
    predictions = trainer_of("rrr", "resnet", tmp_path).predict(image_rows()).predictions.argmax(1)
    marked = with_quadrants(datasets.Dataset.from_dict(columns), predictions)["quadrant"][:]
    rows = [row | {"quadrant": quadrant} for row, quadrant in zip(given, marked, strict=True)]
    args = GuidanceArguments(str(tmp_path), **(SETTINGS | SAVING | {"save_strategy": "no"}))
    result = GuidedTrainer(model_of("resnet"), args, train_dataset=rows, guidance=guidance_of("gradia")).train()
    assert result.training_loss > 0
    bare = GuidedTrainer(model_of("resnet"), args, train_dataset=given, guidance=guidance_of("gradia"))
    with pytest.raises(ValueError, match=r"no column 'quadrant'.*with_quadrants"):
        bare.train()
