"""Padding: a row alone and the same row beside a longer one have one loss, and no fill holds what stands at padding."""

import pytest
import torch
from given import Given, Stored
from tiny import explain
from toy_vqa import OBJECTS, region_batch, region_family, region_model

from hf_guidance.attributions import Gradient, SoftLabelLogits
from hf_guidance.forward import Forward
from hf_guidance.objectives import Alignment, InfluenceSCR, InvarianceFI, RankingHINT, SaliencyGuided
from hf_guidance.views import (
    FULL,
    Important,
    MostAttributed,
    OneBox,
    ShuffleImportant,
    View,
    gaussian,
    gaussian_noise,
    marginal,
    sees_places,
    shuffle,
)

REAL = 3
GT = Gradient(target=SoftLabelLogits())
MAP_LOSSES = [
    *(Alignment(Stored(), distance=distance) for distance in ("cosine", "kl", "l1", "l2")),
    *(InvarianceFI(Stored(), variant=variant) for variant in ("paper", "official")),
    *(RankingHINT(Stored(), variant=variant) for variant in ("paper", "official")),
    *(InfluenceSCR(Stored(), variant=variant) for variant in ("paper", "official")),
]


@pytest.mark.parametrize("boxes", [1, 3, 5, 7])
@pytest.mark.parametrize("objective", MAP_LOSSES, ids=lambda objective: type(objective).__name__)
def test_a_map_has_one_loss_with_and_without_padding(objective, boxes):
    """Values and gradients; two more places of padding, and a map that is zero there as every attribution."""
    generator = torch.Generator().manual_seed(boxes)
    for _ in range(20):
        maps = torch.randn(1, boxes, generator=generator, dtype=torch.float64)
        human = torch.rand(1, boxes, generator=generator, dtype=torch.float64)
        found = []
        for padding in (0, 4):
            own = maps.clone().requires_grad_()
            longer = [torch.cat([values, torch.zeros(1, padding)], 1) for values in (own, human)]
            real = (torch.arange(boxes + padding) < boxes)[None]
            forward = Given({FULL: torch.zeros(1, 2)}, {"map": longer[0], "importance": longer[1], "real": real})
            value = objective(forward)
            found.append((value.detach(), torch.autograd.grad(value.sum(), own)[0]))
        torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


def shorter(batch):
    """The first image of a batch by itself, with its real boxes only."""
    boxes = ("visual_feats", "visual_pos", "importance", "visual_attention_mask")
    return {name: values[:1, :REAL] if name in boxes else values[:1] for name, values in batch.items()}


def padded(images=3):
    batch = region_batch(images=images)
    batch["visual_attention_mask"] = (torch.arange(OBJECTS) < REAL).long().expand(images, -1).clone()
    batch["visual_attention_mask"][1:] = 1
    batch["visual_feats"][0, REAL:] = 1000.0
    batch["importance"] = batch["importance"] * batch["visual_attention_mask"]
    return batch


@pytest.mark.parametrize("name", ["updn", "pythia", "san", "lxmert"])
@pytest.mark.parametrize(
    "objective",
    [
        *(SaliencyGuided(shares=(share,)) for share in (0.9, 0.75, 0.5, 1.0, 0.0)),
        Alignment(GT, distance="kl"), Alignment(GT, distance="l2"), InvarianceFI(GT, variant="official"),
        RankingHINT(GT, variant="official"), InfluenceSCR(GT, variant="official"),
    ],
    ids=lambda objective: type(objective).__name__,  # a repr holds addresses of functions
)  # fmt: skip
def test_a_row_alone_and_beside_a_longer_one(name, objective):
    batch = padded()
    if isinstance(objective, InfluenceSCR):  # a mean over the rows that count: leave one
        batch["annotated"] = [True, False, False]
    values = [
        objective(explain(region_model(name), region_family(name), one, objective))[0]
        for one in (batch, shorter(batch))
    ]
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-9, abs=1e-12)


def test_padding_is_not_among_the_most_attributed():
    keep = View(MostAttributed(GT, (1.0,)))
    forward = Forward(region_model("updn"), region_family("updn"), padded(), frozenset({(keep, "logits")}))
    assert torch.equal(forward.keep(keep)[0], padded()["visual_attention_mask"] > 0)


@pytest.mark.parametrize("replace", [gaussian, gaussian_noise, marginal, shuffle])
@pytest.mark.parametrize("keep", [Important(0.6), OneBox()], ids=repr)
def test_fills_do_not_see_padding(replace, keep):
    batch, view = padded(images=6), View(keep, replace)
    forward = Forward(region_model("updn"), region_family("updn"), batch, frozenset({(view, "logits")}))
    fill, real = forward.fill(view).transpose(1, 2), batch["visual_attention_mask"] > 0
    assert fill[real].abs().max() < 20


def test_gaussians_take_statistics_of_real_places(monkeypatch):
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    batch = padded()
    features, real = batch["visual_feats"], batch["visual_attention_mask"] > 0
    mean, deviation = features[real].mean(), features[real].std()
    given = features.transpose(1, 2)
    assert torch.allclose(gaussian(given, None, real), deviation + mean)
    assert torch.allclose(gaussian_noise(given, None, real), given + deviation)
    half = gaussian(given.half(), None, real)
    assert half.dtype == torch.float16
    assert torch.allclose(half.double(), deviation + mean, atol=1e-2)


def test_the_marginal_permutes_the_real_places():
    batch = padded(images=6)
    features, real = batch["visual_feats"], batch["visual_attention_mask"] > 0
    fill = marginal(features.transpose(1, 2), None, real).transpose(1, 2)
    assert sorted(fill[real].tolist()) == sorted(features[real].tolist())
    assert not torch.equal(fill[real], features[real])


def test_shuffle_lets_only_replaced_boxes_take_part():
    """What is kept does not come back in what is replaced; the replaced boxes hold their own numbers again."""
    batch, view = padded(images=40), View(Important(0.6), shuffle)
    forward = Forward(region_model("updn"), region_family("updn"), batch, frozenset({(view, "logits")}))
    features, fill = batch["visual_feats"], forward.fill(view).transpose(1, 2)
    replaced = ~forward.keep(view)[0] & (batch["visual_attention_mask"] > 0)
    assert torch.equal(fill[~replaced], features[~replaced])
    for image in range(40):
        old, new = features[image, replaced[image]], fill[image, replaced[image]]
        assert sorted(map(sorted, old.tolist())) == sorted(map(sorted, new.tolist()))
    assert not torch.equal(fill[replaced], features[replaced])


def test_a_view_of_several_copies_shuffles_all_boxes():
    """One fill for copies that replace other boxes: what one of them keeps may stand in another place of it."""
    batch, view = region_batch(images=40), View(OneBox(), shuffle)
    forward = Forward(region_model("updn"), region_family("updn"), batch, frozenset({(view, "logits")}))
    moved = (forward.fill(view).transpose(1, 2) != batch["visual_feats"]).any(2)
    assert moved.any(0).all()


def test_replace_functions_of_two_arguments_and_of_other_columns():
    seen = {}

    def plain(features, importance):
        seen["plain"] = importance
        return features.new_zeros(())

    @sees_places
    def told(features, importance, *, replaced, real):
        seen["told"] = (replaced, real)
        return features.new_zeros(())

    told.column = "other"

    def undeclared(features, importance, real=None):
        return features.new_zeros(())

    with pytest.raises(ValueError, match=r"undeclared has the parameters \['real'\].*sees_places"):
        View(Important(0.6), undeclared)
    with pytest.raises(ValueError, match=r"replace=<lambda> cannot be called as replace\(features, importance\)"):
        View(Important(0.6), lambda features: features)
    batch = padded() | {"other": torch.rand(3, OBJECTS)}
    views = [
        View(Important(0.6), plain),
        View(Important(0.6), told),
        View(Important(), ShuffleImportant(column="none")),
    ]
    run = (region_model("updn"), region_family("updn"), batch)
    Forward(*run, frozenset((view, "logits") for view in views[:2]))
    assert torch.equal(seen["plain"], batch["importance"])
    assert torch.equal(seen["told"][0], batch["importance"] <= 0.6)
    assert torch.equal(seen["told"][1], batch["visual_attention_mask"] > 0)
    with pytest.raises(ValueError, match=r"ShuffleImportant\(\) needs the column 'none'"):
        Forward(*run, frozenset({(views[2], "logits")}))
