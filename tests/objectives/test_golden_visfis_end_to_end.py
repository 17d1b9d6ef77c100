"""Whole training losses on the toy model, against runs of the released code: values and gradients of the parameters."""

import pytest
import torch
from given import Case
from golden_toy import NAMES, forward_of

from hf_guidance import recipes
from hf_guidance.attributions import Gradient, KeepOneIn, PredictedLogit, SoftLabelLogits
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import (
    Alignment,
    AnswerLoss,
    InvarianceDA,
    InvarianceFI,
    RandomSufficiency,
    RankingHINT,
    Sufficiency,
    Uncertainty,
)
from hf_guidance.views import FULL, ImportantOrRandom, RandomKeep

SINGLE, WHOLE = "visfis/end_to_end_single_objectives", "visfis/end_to_end_visfis_and_baselines"
GT, PREDICTED = Gradient(target=SoftLabelLogits()), Gradient(target=PredictedLogit())


def shuffled(case):
    """The released shuffle as it was drawn: kept rows among themselves, then the columns, for rows with a kept box."""
    moved, draws = case.objs.clone(), 0
    for row, mask in enumerate(case.aug_masks[0] > 0):
        if mask.any():
            places = mask.nonzero()[:, 0]
            order, columns = getattr(case, f"randperm_{draws}"), getattr(case, f"randperm_{draws + 1}")
            moved[row, places] = moved[row, places][order][:, columns]
            draws += 2
    return lambda features, importance: moved.transpose(1, 2)


def terms_of(case):
    t, name = float(case.threshold), case.variant["name"]
    suff = Sufficiency(t, variant="official")
    squares = Term(InvarianceFI(GT, threshold=t, distance="l2", variant="official"), 1.0)
    masked = AnswerLoss(threshold=t)
    visfis = {"suff": suff, "unc": Uncertainty(t, variant="official")}
    weight = 0.1 if name == "visfis_updn_hatcp" else 1.0
    if name.startswith("visfis"):
        visfis["inv_fi"] = Term(InvarianceFI(GT, threshold=t, variant="official"), weight)
        visfis["align"] = Term(Alignment(GT), weight)
        return {"task": AnswerLoss(), **visfis}
    if name == "chang2021":
        swapped = Sufficiency(t, shuffled(case), variant="official", swapped=True)
        return {"task": masked, "suff": swapped, "inv_fi": squares}
    if name == "singla2022":
        noise = case.normal_sample
        noisy = Sufficiency(t, lambda features, _: features + noise.transpose(1, 2), variant="official")
        return {"task": masked, "suff": noisy, "inv_fi": squares}
    return {
        "task_only": lambda: {"task": AnswerLoss()},
        "simpson2019": lambda: {"task": AnswerLoss(), "inv_fi": squares},
        "suff_random": lambda: {"task": AnswerLoss(), "suff": RandomSufficiency()},
        "suff_human": lambda: {"task": masked, "suff": suff},
        "unc": lambda: {"task": AnswerLoss(), "unc": visfis["unc"]},
        "inv_da": lambda: {"task": masked, "inv": InvarianceDA(t, variant="official")},
        "inv_fi_koi_gt_full_budget": lambda: {
            "task": AnswerLoss(),
            "inv_fi": InvarianceFI(KeepOneIn(target=SoftLabelLogits()), threshold=t, variant="official"),
        },
        "align_gradcam_pred": lambda: {"task": AnswerLoss(), "align": Alignment(PREDICTED)},
        "hint_gradcam_gt": lambda: {"task": AnswerLoss(), "hint": Term(RankingHINT(GT, variant="official"), 0.01)},
    }[name]()


@pytest.mark.parametrize(
    ("file", "index"), [*((SINGLE, index) for index in range(14)), *((WHOLE, index) for index in range(12))]
)
def test_totals_and_parameter_gradients(golden, agree, monkeypatch, file, index):
    case = Case(golden(file), index)
    for keep in (RandomKeep, ImportantOrRandom):  # what was drawn while the released code ran
        monkeypatch.setattr(keep, "__call__", lambda self, forward, space: case.aug_masks.bool())
    guidance = Guidance(terms_of(case))
    model, forward = forward_of(case, guidance.needs())
    total, logs = guidance(forward)
    agree(f"{file} (value)", total, case.total_loss)
    agree(f"{file} (logits)", forward.logits(), case.logits_stacked[: forward.images])
    for name, ours in zip(NAMES, model.gradients(total), strict=True):
        agree(f"{file} (gradient)", ours, getattr(case, f"grad_loss_model_{name}"), 1e-8)
    for term in guidance.on_attributions.values():
        agree(f"{file} (attribution)", forward.attribution(term.objective.attribution), case.importance)
    for name, term in guidance.items():
        view = getattr(term.objective, "view", FULL)
        blocks = case.logits_stacked.split(forward.images)
        if view != FULL:
            block = blocks[2] if name == "unc" and len(blocks) == 3 else blocks[1]
            agree(f"{file} (views)", forward.logits(view)[0], block)
    assert set(logs) >= {f"loss/{name}" for name in guidance}
    assert torch.isfinite(total)


@pytest.mark.parametrize("index", [2, 3, 4, 5, 6, 7])
def test_recipes_are_the_released_totals(golden, agree, index):
    """Where nothing is drawn at random; the threshold of the stored runs is that of VQA-HAT."""
    case = Case(golden(WHOLE), index)
    assert float(case.threshold) == recipes.THRESHOLDS["vqa_hat"]
    guidance = {
        "visfis_updn_hatcp": lambda: recipes.visfis("updn", "vqa_hat", "official"),
        "task_only": recipes.task_only,
        "simpson2019": lambda: recipes.simpson2019("updn", "vqa_hat", "official"),
    }[case.variant["name"]]()
    model, forward = forward_of(case, guidance.needs())
    total, _ = guidance(forward)
    agree(f"{WHOLE} (recipes)", total, case.total_loss)
    for name, ours in zip(NAMES, model.gradients(total), strict=True):
        agree(f"{WHOLE} (recipes)", ours, getattr(case, f"grad_loss_model_{name}"), 1e-8)
