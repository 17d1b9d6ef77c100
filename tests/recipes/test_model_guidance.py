"""The recipe of arXiv 2303.11932: its terms and weights, the units of its reductions, and the released code's numbers."""

import json

import pytest
import torch
from tiny import explain, make_batch, parameter_gradients, tiny_family, tiny_model
from torch import nn

from hf_guidance import recipes
from hf_guidance.attributions import BcosContribution, GradCAM, InputXGradient, IntegratedGradients
from hf_guidance.data.boxes import boxes_to_mask
from hf_guidance.families import Family
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import L1, PPCE, Energy, RightReasons, TaskLoss
from hf_guidance.recipes.model_guidance import BATCH_SIZE, WEIGHTS, model_guidance

OBJECTIVES = {"energy": Energy, "l1": L1, "ppce": PPCE, "rrr": RightReasons}
OFFICIAL = {"energy": "Energy", "l1": "L1", "ppce": "PPCE", "rrr": "RRR"}
METHODS = {
    ("vanilla", None): InputXGradient, ("vanilla", "ixg"): InputXGradient, ("vanilla", "gradcam"): GradCAM,
    ("xdnn", None): IntegratedGradients, ("xdnn", "intgrad"): IntegratedGradients, ("xdnn", "ixg"): InputXGradient,
    ("xdnn", "gradcam"): GradCAM, ("bcos", None): BcosContribution, ("bcos", "bcos"): BcosContribution,
    ("bcos", "ixg"): InputXGradient, ("bcos", "gradcam"): GradCAM,
}  # fmt: skip


@pytest.mark.parametrize("loss", OBJECTIVES)
@pytest.mark.parametrize(("model", "attribution"), METHODS, ids=str)
def test_terms(loss, model, attribution):
    guidance = model_guidance(loss, model, attribution, layer="mid2")
    assert list(guidance) == ["task", loss]
    assert guidance["task"].objective == TaskLoss()
    assert (guidance["task"].weight, guidance["task"].reduction) == (1.0, "batch")
    term = guidance[loss]
    assert type(term.objective) is OBJECTIVES[loss]
    assert (term.weight, term.reduction) == (WEIGHTS[loss][1], "sum")
    assert type(term.objective.attribution) is METHODS[model, attribution]
    assert term.objective.attribution.layer == "mid2"
    assert term.objective == OBJECTIVES[loss](term.objective.attribution)  # nothing else is changed
    assert getattr(term.objective.attribution, "exact", True)
    assert Guidance.from_dict(json.loads(guidance.to_json())) == guidance


def test_defaults():
    assert recipes.model_guidance() == model_guidance("energy", "vanilla", "ixg", "input", 1e-3, 1.0, "sum")
    assert set(WEIGHTS) == set(OBJECTIVES)
    assert all(values == tuple(sorted(values)) and len(values) == 3 for values in WEIGHTS.values())


@pytest.mark.parametrize(
    ("fields", "weight"),
    [
        ({}, 1e-3), ({"weight": 0.5}, 0.5), ({"fraction": 0.1}, 1e-2), ({"fraction": 0.01}, 0.1),
        ({"fraction": 0.001}, 0.1), ({"weight": 2.0, "fraction": 0.25}, 8.0), ({"reduction": "batch"}, 0.064),
        ({"reduction": "batch", "fraction": 0.1}, 0.64), ({"reduction": "rows"}, 0.064), ({"weight": 0.0}, 0.0),
        # half the batches of 64 have a row of one annotated image in 92.8; those have 1.378 of them in the mean
        ({"reduction": "rows", "fraction": 1 / 92.8, "weight": 1 / 92.8}, 1.378),
    ],
    ids=str,
)  # fmt: skip
def test_weights(fields, weight):
    assert model_guidance(**fields)["energy"].weight == pytest.approx(weight, rel=1e-3)


def batch_of(images):
    batch = make_batch(images=images, size=(32, 64))
    return batch | {"labels": torch.nn.functional.one_hot(batch["labels"], 3).double()}


@pytest.mark.parametrize("reduction", ["batch", "rows"])
def test_in_batches_of_64_the_reductions_agree(reduction):
    """All annotated: one loss, and one gradient."""
    model, family, batch = tiny_model("xdnn_resnet"), tiny_family("xdnn_resnet"), batch_of(BATCH_SIZE)
    values = []
    for chosen in ("sum", reduction):
        guidance = model_guidance("l1", "xdnn", layer="final", reduction=chosen)
        total, _ = guidance(explain(model, family, batch, *(term.objective for term in guidance.values())))
        values.append((total, parameter_gradients(total, model)))
    torch.testing.assert_close(values[0][0], values[1][0], rtol=1e-12, atol=0)
    for ours, theirs in zip(values[0][1], values[1][1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-14)


class OfMaps(nn.Module):
    """One class, whose attribution at "final" is the parameter itself; its cross-entropy is 0."""

    def __init__(self, maps):
        super().__init__()
        self.maps, self.stage, self.head = nn.Parameter(maps), nn.Identity(), nn.Linear(1, 1, bias=False).double()
        nn.init.constant_(self.head.weight, maps[0].numel())

    def forward(self, pixel_values):
        return {"logits": self.head(self.stage(self.maps).mean((-2, -1)))}


@pytest.mark.parametrize("loss", OBJECTIVES)
@pytest.mark.parametrize("case", range(3))
def test_sum_of_the_released_code(golden, agree, loss, case):
    """Raw maps to the weighted loss of a batch: normalisation, upscaling, loss, sum."""
    data = golden("model_guidance/postprocess_pipeline")
    size = data[f"c{case}_size_hw"].tolist()
    masks = [boxes_to_mask(torch.from_numpy(data[f"c{case}_boxes{i}"]), *size) for i in range(3)]
    labels = torch.zeros(3, dtype=torch.long)
    batch = {
        "pixel_values": torch.zeros(3, 3, *size),
        "labels": labels,
        "target": labels,
        "importance": torch.stack(masks),
    }
    model, guidance = OfMaps(torch.from_numpy(data[f"c{case}_raw"])), model_guidance(loss, layer="final", weight=0.3)
    family = Family(layers={"final": "stage"}, pooled_linear="head")
    total, logs = guidance(explain(model, family, batch, *(term.objective for term in guidance.values())))
    file = "model_guidance/postprocess_pipeline (recipe)"
    agree(file, logs[f"loss/{loss}"], data[f"c{case}_{OFFICIAL[loss]}_sum"])
    agree(file, total, 0.3 * data[f"c{case}_{OFFICIAL[loss]}_sum"])
    (gradient,) = torch.autograd.grad(total, model.maps)
    agree(file, gradient, 0.3 * data[f"c{case}_{OFFICIAL[loss]}_grad_raw"], 1e-8)


@pytest.mark.parametrize(("model", "name"), [("vanilla", "resnet"), ("xdnn", "xdnn_resnet")])
@pytest.mark.parametrize("layer", ["input", "final"])
@pytest.mark.parametrize("loss", OBJECTIVES)
def test_a_step(loss, layer, model, name):
    net, guidance = tiny_model(name), model_guidance(loss, model, layer=layer)
    forward = explain(net, tiny_family(name), batch_of(3), *(term.objective for term in guidance.values()))
    total, logs = guidance(forward)
    per_image = guidance[loss].objective(forward)
    assert logs[f"loss/{loss}"].item() == pytest.approx(per_image.sum().item())
    task = torch.nn.functional.binary_cross_entropy_with_logits(forward.logits(), forward.column("labels"))
    assert total.item() == pytest.approx((task + guidance[loss].weight * per_image.sum()).item())
    assert any(gradient.any() for gradient in parameter_gradients(total - task, net))


def test_random_supervision_of_it_reads_the_random_column():
    control = recipes.random_supervision(model_guidance())
    assert control["energy"].objective.importance == "random_importance"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "mse"}, r"loss='mse' is unknown; choose one of \['energy', 'l1', 'ppce', 'rrr'\]"),
        ({"model": "vit"}, r"model='vit' is unknown; choose one of \['vanilla', 'xdnn', 'bcos'\]"),
        (
            {"attribution": "lime"},
            r"attribution='lime' is unknown for model='vanilla'; choose one of \['ixg', 'gradcam'\]",
        ),
        ({"attribution": "intgrad"}, "attribution='intgrad' is unknown for model='vanilla'"),
        ({"attribution": "bcos", "model": "xdnn"}, r"model='xdnn'; choose one of \['intgrad', 'ixg', 'gradcam'\]"),
        ({"reduction": "mean"}, r"reduction='mean' is unknown; choose one of \['sum', 'batch', 'rows'\]"),
        ({"fraction": 0.0}, r"fraction=0.0 is outside \(0, 1\]"),
        ({"fraction": 1.5}, r"fraction=1.5 is outside \(0, 1\]"),
        ({"fraction": "0.1"}, r"fraction='0.1' is outside \(0, 1\]"),
        ({"weight": -1.0}, "finite weight >= 0"),
        ({"weight": "1"}, "weight='1' is not a number; give λ, as 0.001, or None"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        model_guidance(**fields)
