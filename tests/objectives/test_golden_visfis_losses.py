"""The losses of VisFIS, HINT and SCR on given numbers, against runs of the released code: value and gradient."""

import pytest
import torch
from given import Case, Given, Stored

from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import (
    Alignment,
    AnswerLoss,
    Identity,
    InvarianceDA,
    InvarianceFI,
    RandomSufficiency,
    RankingHINT,
    Sufficiency,
    Uncertainty,
    UnitNorm,
)
from hf_guidance.views import FULL


@pytest.mark.parametrize("index", range(6))
def test_task_loss(golden, agree, index):
    case = Case(golden("visfis/task_loss"), index)
    logits = case.logits.requires_grad_()
    value = AnswerLoss.loss(logits, case.answers, form=case.variant["t"]).mean()
    agree("visfis/task_loss (value)", value, case.loss)
    agree("visfis/task_loss (gradient)", torch.autograd.grad(value, logits)[0], case.grad_logits)


@pytest.mark.parametrize("index", range(10))
def test_alignment(golden, agree, index):
    case = Case(golden("visfis/alignment_loss"), index)
    distance = case.variant["type"].replace("cossim", "cosine")
    maps = case.output1.requires_grad_()
    human = case.output2.exp() if distance == "kl" else case.output2
    value = Alignment(distance=distance).formula(maps, human).mean()
    if distance == "kl":
        # The released code takes log-probabilities on both sides and divides by the boxes too.
        value = value / maps.shape[1]
        # Its slope ignores that its input is normalised; behind a softmax both have the same.
        (slope,) = torch.autograd.grad(value, maps)
        theirs = case.grad_output1 - maps.softmax(1) * case.grad_output1.sum(1, keepdim=True)
        agree("visfis/alignment_loss (gradient)", slope, theirs.detach())
    else:
        agree("visfis/alignment_loss (gradient)", torch.autograd.grad(value, maps)[0], case.grad_output1)
    agree("visfis/alignment_loss (value)", value, case.loss)


@pytest.mark.parametrize("index", range(6))
def test_hint(golden, agree, index):
    case = Case(golden("visfis/hint_loss"), index)
    agree("visfis/hint_loss (paper)", RankingHINT.loss(case.model_importance, case.human_scores),
          case.paper_eq3_sum_per_sample_INDEP)  # fmt: skip
    maps = case.model_importance.requires_grad_()
    rows = RankingHINT(variant="official").formula(maps, case.human_scores)
    value = (rows * case.hint_flags).mean()
    agree("visfis/hint_loss (official value)", value, case.loss)
    agree("visfis/hint_loss (official gradient)", torch.autograd.grad(value, maps)[0], case.grad_model_importance)


def test_ties_move_maps_in_the_released_code_only(golden):
    """Boxes of equal human importance are pulled together there; the paper ranks nothing between them."""
    human, maps = torch.ones(1, 4, dtype=torch.float64), torch.tensor([[0.0, 1.0, 2.0, 3.0]], dtype=torch.float64)
    assert RankingHINT.loss(maps, human) == 0
    assert RankingHINT(variant="official").formula(maps, human) == 10 / 4


@pytest.mark.parametrize("index", range(8))
def test_invariance_of_attributions(golden, agree, index):
    case = Case(golden("visfis/inv_fi_zero_loss"), index)
    maps, threshold = case.model_importance.requires_grad_(), float(case.threshold)
    objective = InvarianceFI(
        Stored(), UnitNorm() if case.variant["norm"] else Identity(), threshold=threshold,
        distance=case.variant["type"], variant="official",
    )  # fmt: skip
    batch = {
        "map": maps,
        "importance": case.human_scores,
        "annotated": case.hint_flags,
        "labels": torch.zeros(4).long(),
    }
    forward = Given({FULL: torch.zeros(4, 2, dtype=torch.float64)}, batch)
    value, _ = Guidance(task=Term(AnswerLoss(), 0.0), guided=objective)(forward)
    agree("visfis/inv_fi_zero_loss (value)", value, case.loss)
    agree("visfis/inv_fi_zero_loss (gradient)", torch.autograd.grad(value, maps)[0], case.grad_model_importance)
    if case.variant["norm"] and "noimp" not in case.variant:
        # The paper's sum is the released mean times the boxes.
        paper = InvarianceFI.loss(maps, case.human_scores, threshold=threshold, distance=case.variant["type"])
        agree("visfis/inv_fi_zero_loss (paper)", paper.mean() / maps.shape[1], case.loss)


def guidance_and_views(case):
    """The released total of a case as terms, and the views in the order of the stacked logits."""
    v, t = case.variant, float(case.threshold)
    form, distance = v.get("p", "softmax"), v.get("al", "kl")
    masked = v["aug"] in ("suff-human", "invariance")
    terms = {"task": AnswerLoss(form, threshold=t if masked else None)}
    suff = Sufficiency(t, form=form, variant="official")
    unc = Uncertainty(t, importance="of_mask", distance=distance, form=form, variant="official")
    inv, random = InvarianceDA(t, distance=distance, variant="official"), RandomSufficiency(form=form)
    views = {
        "suff-human": {"suff": suff}, "suff-random": {"suff": Term(random, v.get("ws", 1.0))}, "invariance": {"inv": inv},
        "uncertainty-uniform": {"unc": unc}, "suff-uncertainty": {"suff": suff, "unc": unc}, "none": {},
    }[v["aug"]]  # fmt: skip
    terms |= views
    if "zero" in v:
        weights = {"hatcp": (0.1, 0.1)}.get(v.get("ds"), (1e-3, 1e-5) if v.get("mt") == "lxmert" else (1.0, 1.0))
        terms["inv_fi"] = Term(InvarianceFI(Stored(), threshold=t, variant="official"), weights[0])
        terms["align"] = Term(Alignment(Stored()), weights[1])
    if "hint" in v:
        terms["hint"] = Term(RankingHINT(Stored(), variant="official"), v["wh"])
    return Guidance(terms), [(term.objective if isinstance(term, Term) else term).view for term in views.values()]


@pytest.mark.parametrize("index", range(26))
def test_whole_totals_from_logits(golden, agree, index):
    case = Case(golden("visfis/objectives_from_logits"), index)
    guidance, views = guidance_and_views(case)
    stacked, maps = case.logits_stacked.requires_grad_(), case.model_importance.requires_grad_()
    blocks = stacked.split(len(case.answers))
    # Two cases have a mask that their human scores do not explain; it is told by a column of its own.
    mask = case.batch_mask[-len(case.answers) :]
    of_mask = torch.where(mask[:, None] > 0, 0.0, torch.ones_like(case.human_scores))
    batch = {
        "map": maps, "importance": case.human_scores, "of_mask": of_mask, "labels": case.answers,
        "annotated": case.hint_flags,
    }  # fmt: skip
    total, _ = guidance(Given(dict(zip([FULL, *views], blocks, strict=True)), batch))
    agree("visfis/objectives_from_logits (value)", total, case.total_loss)
    gradients = torch.autograd.grad(total, (stacked, maps), allow_unused=True, materialize_grads=True)
    agree("visfis/objectives_from_logits (gradient)", gradients[0], case.grad_logits)
    agree("visfis/objectives_from_logits (gradient)", gradients[1], case.grad_model_importance)
