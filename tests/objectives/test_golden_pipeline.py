"""Normalisation, then upscaling, then loss: the order of the authors' code, through the objectives' own path."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from hf_guidance.attributions import Attribution
from hf_guidance.data.boxes import boxes_to_mask
from hf_guidance.families import Family
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import L1, PPCE, Energy, RightReasons
from hf_guidance.views import FULL

OBJECTIVES = {"Energy": Energy, "L1": L1, "PPCE": PPCE, "RRR": RightReasons}


@dataclass(frozen=True)
class Stored(Attribution):
    """A map that the batch holds."""

    def needs(self):
        return frozenset({(FULL, "logits")})

    def __call__(self, forward):
        return forward.column("raw")


class NoModel(nn.Module):
    def forward(self, pixel_values):
        return {"logits": pixel_values.new_zeros(len(pixel_values), 2)}


def forward_of(data, case):
    height, width = data[f"c{case}_size_hw"].tolist()
    masks = [boxes_to_mask(torch.from_numpy(data[f"c{case}_boxes{i}"]), height, width) for i in range(3)]
    raw = torch.from_numpy(data[f"c{case}_raw"][:, 0]).requires_grad_()
    pixels = torch.zeros(3, 3, height, width, dtype=torch.float64)
    labels = torch.zeros(3, dtype=torch.long)
    batch = {"pixel_values": pixels, "labels": labels, "raw": raw, "importance": torch.stack(masks)}
    return raw, Forward(NoModel(), Family(layers={}), batch, Stored().needs())


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("case", range(3))
def test_pipeline_of_the_released_code(golden, agree, name, case):
    data = golden("model_guidance/postprocess_pipeline")
    raw, forward = forward_of(data, case)
    objective = OBJECTIVES[name](Stored())
    per_image = objective(forward)
    agree("model_guidance/postprocess_pipeline (per image)", per_image, data[f"c{case}_{name}_per_image"])
    # The training loop sums over the batch: reduction="sum" (plus the task term, which weighs nothing here).
    guidance = Guidance(task=Term(Guidance()["task"].objective, weight=0.0), guided=Term(objective, reduction="sum"))
    total, _ = guidance(forward)
    agree("model_guidance/postprocess_pipeline (sum)", total, data[f"c{case}_{name}_sum"])
    (gradient,) = torch.autograd.grad(total, raw)
    agree("model_guidance/postprocess_pipeline (gradient)", gradient, data[f"c{case}_{name}_grad_raw"][:, 0])


@pytest.mark.parametrize("case", range(3))
def test_maps_that_the_losses_see(golden, agree, case):
    data = golden("model_guidance/postprocess_pipeline")
    _, forward = forward_of(data, case)
    for name, objective in (("L1", L1), ("RRR", RightReasons)):
        seen, _ = objective(Stored()).compared(forward)
        agree("model_guidance/postprocess_pipeline (maps)", seen[0], data[f"c{case}_{name}_processed_img0"])
    raw_upscaled, _ = Energy(Stored()).compared(forward)
    agree("model_guidance/postprocess_pipeline (maps)", raw_upscaled[0], data[f"c{case}_interp_only_img0"])
