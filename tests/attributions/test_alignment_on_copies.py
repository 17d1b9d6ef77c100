"""What aligning the scores of edited copies trains: stopped scores, and maps of one box. In float64."""

import pytest
import torch
from tiny import explain, parameter_gradients
from toy_vqa import OBJECTS, region_batch, region_family, region_model

from hf_guidance.attributions import AverageEffect, KeepOneIn, LeaveOneOut
from hf_guidance.objectives import Alignment

METHODS = [LeaveOneOut, KeepOneIn]


def aligned(method, batch):
    """Gradients of the alignment, as a step has them."""
    model = region_model("updn")
    maps = explain(model, region_family("updn"), batch, method).attribution(method)
    return parameter_gradients(Alignment.loss(maps, batch["importance"]).sum(), model)


def by_hand(cls, batch, stop):
    """The same with every copy made and run by itself."""
    model, maps = region_model("updn"), []

    def score(keep):
        edited = torch.where(keep[None, :, None], batch["visual_feats"], -1.0)
        return model(batch["input_ids"], edited).logits.gather(1, batch["target"][:, None])[:, 0]

    for box in range(OBJECTS):
        one = torch.arange(OBJECTS) == box
        reference = score(torch.full((OBJECTS,), cls is LeaveOneOut))
        reference = reference.detach() if stop else reference
        maps.append(reference - score(~one) if cls is LeaveOneOut else score(one) - reference)
    return parameter_gradients(Alignment.loss(torch.stack(maps, 1), batch["importance"]).sum(), model)


@pytest.mark.parametrize("cls", METHODS)
def test_the_gradient_is_that_of_copies_made_by_hand(cls):
    batch = region_batch()
    for mine, theirs in zip(aligned(cls(), batch), by_hand(cls, batch, stop=True), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cls", METHODS)
def test_a_stopped_score_leaves_a_push_on_what_the_map_does_not_hang_on(cls):
    """The bias of the answers is in every score alike: no map changes with it, yet alignment moves it without end."""
    batch, model = region_batch(), region_model("updn")
    place = [name for name, _ in model.named_parameters()].index("classifier.3.bias")
    assert by_hand(cls, batch, stop=False)[place].abs().max() < 1e-12
    assert aligned(cls(), batch)[place].abs().max() > 1e-3


@pytest.mark.parametrize(
    "method",
    [LeaveOneOut(budget=1), KeepOneIn(budget=1), AverageEffect(samples=2)],
    ids=["LOO", "KOI", "AvgEffect"],
)
def test_a_map_of_one_box_has_nothing_to_align(method):
    """Its cosine is e_j / |e| with the sign of the entry, whatever the size: as Inv-FI with one box, it trains nothing."""
    batch = region_batch()
    one, every = (torch.cat([g.flatten() for g in aligned(m, batch)]).norm() for m in (method, LeaveOneOut()))
    assert one < 1e-5 * every  # what is left is the epsilon beside the squared norms
