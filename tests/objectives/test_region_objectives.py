"""The papers' formulas on views and boxes, by loops in float64; padding; what the official variants change."""

import math

import pytest
import torch
from given import Given, Stored
from tiny import explain, make_batch, tiny_family, tiny_model
from toy_vqa import region_batch, region_family, region_model

from hf_guidance.attributions import Gradient
from hf_guidance.objectives import (
    Alignment,
    AnswerLoss,
    ComparisonSCR,
    InfluenceSCR,
    InvarianceDA,
    InvarianceFI,
    RandomSufficiency,
    RankingHINT,
    SaliencyGuided,
    Sufficiency,
    Uncertainty,
    ranking_hint,
)
from hf_guidance.views import FULL

DRAWN = torch.Generator().manual_seed(0)
MAPS = torch.randn(4, 6, generator=DRAWN, dtype=torch.float64)
HUMAN = torch.rand(4, 6, generator=DRAWN, dtype=torch.float64)


def probabilities(visual_feats, batch, row):
    inputs = {"visual_feats": visual_feats[None], "question": batch["question"][row : row + 1]}
    return region_model("toy")(**inputs)["logits"][0].softmax(0)


def test_views_by_loops():
    batch = region_batch(images=4)
    suff, unc = Sufficiency(), Uncertainty()
    forward = explain(region_model("toy"), region_family("toy"), batch, suff, unc)
    for row in range(4):
        important = batch["importance"][row] > 0.5
        kept, rest = torch.full_like(batch["visual_feats"][row], -1), torch.full_like(batch["visual_feats"][row], -1)
        for box in range(5):
            (kept if important[box] else rest)[box] = batch["visual_feats"][row, box]
        answer = batch["labels"][row].argmax()
        assert torch.allclose(suff(forward)[row], -probabilities(kept, batch, row)[answer].log())
        divergence = sum(math.log(1 / 6 / p) / 6 for p in probabilities(rest, batch, row).tolist())
        assert unc(forward)[row].item() == pytest.approx(divergence)
        assert suff.rows(forward)[row] == unc.rows(forward)[row] == float(important.any())


def test_divergences_have_the_papers_direction():
    first, second = MAPS[:, :3], MAPS[:, 3:]
    p, q = first.softmax(1), second.softmax(1)
    expected = (p * (p / q).log()).sum(1)
    assert torch.allclose(InvarianceDA.loss(first, second), expected)
    assert torch.allclose(SaliencyGuided.loss(first, second), expected)


def test_excluded_answers_change_no_divergence():
    """A logit of -inf: the limit of 0 * log 0 is 0, in the value and in the gradient."""
    first, second = MAPS[:, :3].clone().requires_grad_(), MAPS[:, 3:].clone().requires_grad_()
    excluded = torch.full((4, 1), -torch.inf, dtype=torch.float64)
    for distance, factor in (("kl", 1), ("l2", 3 / 4)):
        expected = InvarianceDA.loss(first, second, distance=distance)
        both = [torch.cat([logits, excluded], 1) for logits in (first, second)]
        loss = InvarianceDA.loss(*both, distance=distance)
        assert torch.allclose(loss, expected * factor)
        ours = torch.autograd.grad(loss.sum(), (first, second))
        for mine, theirs in zip(ours, torch.autograd.grad(expected.sum(), (first, second)), strict=True):
            assert torch.allclose(mine, theirs * factor)
    one = torch.cat([MAPS[:, 3:], excluded], 1)
    possible = torch.cat([MAPS[:, :3], torch.zeros_like(excluded)], 1)
    assert torch.isfinite(InvarianceDA.loss(one, possible)).all()
    assert torch.isinf(InvarianceDA.loss(possible, one)).all()


def test_official_rows_without_important_box():
    """They bring a constant to Suff and lose their task loss, and are trained to know nothing in Unc."""
    human = torch.tensor([[0.9, 0.1], [0.1, 0.1], [0.9, 0.9]], dtype=torch.float64)
    logits, answers = torch.randn(3, 4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)[:3]
    batch = {"labels": answers, "importance": human, "map": human}
    suff, unc = Sufficiency(variant="official"), Uncertainty(variant="official")
    forward = Given({FULL: logits, suff.view: logits, unc.view: logits}, batch)
    assert suff(forward)[1] == math.log(4) == AnswerLoss(threshold=0.5)(forward)[1]
    assert torch.equal(suff(forward)[[0, 2]], AnswerLoss()(forward)[[0, 2]])
    assert (unc(forward) > 0).tolist() == [True, True, False]
    assert unc.rows(forward).tolist() == [1, 1, 1]
    assert Uncertainty().rows(forward).tolist() == Sufficiency().rows(forward).tolist() == [1, 0, 1]
    assert InvarianceFI(Stored()).rows(forward).tolist() == Alignment(threshold=0.5).rows(forward).tolist() == [1, 0, 1]
    assert InvarianceFI(Stored(), variant="official").rows(forward).tolist() == [1, 1, 1]


def test_attribution_losses_by_loops(monkeypatch):
    monkeypatch.setattr(ranking_hint, "_PAIRS_AT_ONCE", 30)  # several parts a row
    for row in range(4):
        a, e = MAPS[row].tolist(), HUMAN[row].tolist()
        pairs = [(i, j) for i in range(6) for j in range(6) if e[i] > e[j] and a[i] < a[j]]
        assert RankingHINT.loss(MAPS, HUMAN)[row].item() == pytest.approx(sum(a[j] - a[i] for i, j in pairs))
        length = math.sqrt(sum(x * x for x in a))
        outside = [abs(x) / length for x, h in zip(a, e, strict=True) if h <= 0.5]
        assert InvarianceFI.loss(MAPS, HUMAN)[row].item() == pytest.approx(sum(outside))
        squares = InvarianceFI.loss(MAPS, HUMAN, distance="l2")[row].item()
        assert squares == pytest.approx(sum(x * x for x in outside))
        sums = [sum(max(0.0, a[j] - a[i]) for j in range(6) if e[j] <= 0.5) for i in range(6) if e[i] > 0.5]
        assert InfluenceSCR.loss(MAPS, HUMAN)[row].item() == pytest.approx(min(sums, default=0.0))


def test_a_shift_of_the_map_costs_no_digits_of_the_ranking_loss():
    small = (MAPS.float(), HUMAN.float())
    assert torch.allclose(RankingHINT.loss(small[0] + 1024, small[1]), RankingHINT.loss(*small), atol=2e-3)


def test_padding_is_in_no_pair():
    """A padded box has attribution 0: it must not count as an unimportant box that leads a negative map."""
    maps, human = torch.tensor([[-2.0, -1.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    for objective, expected in ((RankingHINT(Stored()), 1.0), (InfluenceSCR(Stored()), 1.0)):
        forward = Given({FULL: torch.zeros(1, 2)}, {"map": maps, "importance": human})
        assert objective(forward).item() == expected + 2
        forward.batch["real"] = torch.tensor([[True, True, False]])
        assert objective(forward).item() == expected


def test_alignment_distances_by_loops():
    for row in range(4):
        a, e = MAPS[row], HUMAN[row]
        share, own = e / e.sum(), a.softmax(0)
        expected = {
            "l1": (a - e).abs().mean(), "l2": (a - e).square().mean(), "kl": (share * (share / own).log()).sum(),
            "cosine": 1 - torch.nn.functional.cosine_similarity(a, e, dim=0),
        }  # fmt: skip
        for distance, value in expected.items():
            assert torch.allclose(Alignment(distance=distance).formula(MAPS, HUMAN)[row], value)


def test_integer_labels_are_answers_of_score_one():
    labels = torch.tensor([1, 0, 2, 5])
    soft = torch.nn.functional.one_hot(labels, 6).double()
    for form in ("softmax", "sigmoid"):
        assert torch.allclose(AnswerLoss.loss(MAPS, labels, form=form), AnswerLoss.loss(MAPS, soft, form=form))


def test_images_without_annotation_keep_their_task_loss():
    batch = region_batch(images=3) | {"annotated": [True, False, True]}
    batch["importance"][:2] = 0
    forward = explain(region_model("toy"), region_family("toy"), batch, AnswerLoss())
    assert torch.equal(AnswerLoss(threshold=0.5)(forward)[1:], AnswerLoss()(forward)[1:])
    assert AnswerLoss(threshold=0.5)(forward)[0].item() == pytest.approx(math.log(6))


def test_random_views_of_other_draws_differ():
    torch.manual_seed(0)
    first, second = RandomSufficiency(), RandomSufficiency(draw=1)
    forward = explain(region_model("toy"), region_family("toy"), region_batch(images=8), first, second)
    assert not torch.equal(first(forward), second(forward))
    assert RandomSufficiency(shares=[0.5]) == RandomSufficiency(shares=(0.5,))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RandomSufficiency(shares=(1.5,)), r"RandomSufficiency\(shares=\(1.5,\).*each in \[0, 1\]"),
        (lambda: SaliencyGuided(attribution="gradient"), "attribution='gradient'"),
        (lambda: SaliencyGuided(shares=()), r"shares=\(\)"),
        (lambda: InfluenceSCR(slack=-1.0), r"slack=-1.0.*>= 0"),
    ],
)
def test_wrong_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_comparison_of_boxes_refuses_maps():
    objective = ComparisonSCR(Gradient("mid2"))
    with pytest.raises(ValueError, match=r"ComparisonSCR compares boxes.*gives \(\d+, \d+\) per explained row"):
        objective(explain(tiny_model("resnet"), tiny_family("resnet"), make_batch(), objective))
