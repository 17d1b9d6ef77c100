"""The methods with maps that CRAYON is compared with, against numbers of their released code: values and gradients.

GradMask and the losses on boxes are compared in test_golden_grad_mask.py and test_golden_losses.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from given import Given, Stored
from tiny import parameter_gradients
from torch import nn

from hf_guidance.attributions import Gradient, LogProbabilities, Target
from hf_guidance.families import Family
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import GRADIA, ActDiff, Identity, QuadrantTaskLoss, RightReasons, TaskLoss
from hf_guidance.views import FULL

CASES = range(3)
PIXELS = Family(layers={})


class Layers(nn.Module):
    """Linear layers in a row over whatever the pixels are, flattened."""

    def __init__(self, weights, biases, activation):
        super().__init__()
        self.weights, self.biases = nn.ParameterList(weights), nn.ParameterList(biases)
        self.activation = activation

    def forward(self, pixel_values):
        hidden = pixel_values.flatten(1)
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = (hidden if place == 0 else self.activation(hidden)) @ weight + bias
        return {"logits": hidden}


@dataclass(frozen=True)
class HighestProbability(Target):
    """The probability of the predicted class: what RRR's authors show as an explanation, a target of a user's own."""

    linear: ClassVar[bool] = False

    def score(self, logits, forward):
        return logits.softmax(-1).amax(-1)

    def __call__(self, logits, forward):
        shares = logits.softmax(-1)
        own = nn.functional.one_hot(shares.argmax(-1), shares.shape[-1])
        return (own - shares) * shares.amax(-1, keepdim=True)


def arrays(data, case):
    return lambda name: torch.from_numpy(data[f"c{case}__{name}"].copy())


def mlp(get, names, transpose, log_probs=None):
    """The model of a case, with the activation that gives its outputs."""
    weights = [get(f"p_{w}").T if transpose else get(f"p_{w}") for w, _ in names]
    x = get("x") if transpose else get("X")
    for activation in (torch.relu, torch.tanh, nn.functional.softplus, torch.sigmoid):
        model = Layers([w.contiguous() for w in weights], [get(f"p_{b}") for _, b in names], activation)
        found = model(x)["logits"]
        expected = get("logits") if log_probs is None else get(log_probs)
        if torch.allclose(found if log_probs is None else found.log_softmax(1), expected):
            return model
    raise AssertionError("no activation reproduces the outputs")


def agree_on_gradients(agree, file, gradients, get, names):
    """Weights of all layers first, then biases, as the model holds them."""
    for place, (weight, bias) in enumerate(names):
        agree(f"{file} (gradient)", gradients[place], get(f"g_{weight}"))
        agree(f"{file} (gradient)", gradients[len(names) + place], get(f"g_{bias}"))


@pytest.mark.parametrize("case", CASES)
def test_rrr_of_its_authors(golden, agree, case):
    """Cross-entropy, penalty and parameters, summed as their class with autograd does; all parameter gradients."""
    file, get = "crayon_sort/cmp_rrr_original", arrays(golden("crayon_sort/cmp_rrr_original"), case)
    names = [(f"W{i}", f"b{i}") for i in range(3)]
    model = mlp(get, names, transpose=False, log_probs="log_probs")
    batch = {
        "pixel_values": get("X")[:, None, None],
        "labels": get("y"),
        "target": get("y"),
        "importance": (~get("A"))[:, None].double(),
    }
    method = Gradient(target=LogProbabilities(), channels="keep")
    objective = RightReasons(method, Identity(), variant="official")
    guidance = Guidance(
        task=Term(TaskLoss(), reduction="sum"), rrr=Term(objective, float(get("l2_grads")), reduction="sum")
    )
    forward = Forward(model, PIXELS, batch, guidance.needs())
    total, logs = guidance(forward)
    shown = forward.attribution(Gradient(target=HighestProbability(), channels="keep"))[:, 0, 0]
    agree(f"{file} (gradient of the highest probability)", shown, get("input_grad_max_prob"))
    agree(f"{file} (input gradient)", forward.attribution(method)[:, 0, 0], get("input_grad_sum_log"))
    agree(f"{file} (cross-entropy)", logs["loss/task"], get("cross_entropy_sum"))
    agree(f"{file} (penalty)", logs["loss/rrr"], get("right_reasons"))
    total = total + float(get("l2_params")) * sum(p.square().sum() for p in model.parameters())
    agree(f"{file} (total)", total, get("total"))
    agree_on_gradients(agree, file, parameter_gradients(total, model), get, names)


@pytest.mark.parametrize("case", CASES)
def test_rrr_with_epsilon(golden, agree, case):
    """The logarithms of probabilities plus 1e-11, of later code."""
    file, get = "crayon_sort/cmp_rrr_eps", arrays(golden("crayon_sort/cmp_rrr_eps"), case)
    names = [(f"l{i}_weight", f"l{i}_bias") for i in (1, 2)]
    model = mlp(get, names, transpose=True)
    outside = get("outside_mask")
    assert torch.equal(outside[:, 0], outside[:, 1])
    batch = {"pixel_values": get("x"), "target": get("y"), "importance": 1 - outside[:, 0]}
    method = Gradient(target=LogProbabilities(epsilon=1e-11), channels="keep")
    objective = RightReasons(method, Identity(), variant="official")
    forward = Forward(model, PIXELS, batch, objective.needs())
    agree(f"{file} (input gradient)", forward.attribution(method), get("grad_sum_log_prob"))
    value = objective(forward).sum()
    agree(f"{file} (value)", value, get("loss_sq_sum"))
    agree_on_gradients(agree, file, parameter_gradients(value, model), lambda name: get(name).t(), names)


@pytest.mark.parametrize("case", CASES)
def test_act_diff(golden, agree, case):
    file, get = "crayon_sort/cmp_actdiff", arrays(golden("crayon_sort/cmp_actdiff"), case)
    plain, masked = ([get(f"{name}{i}").requires_grad_() for i in (0, 1)] for name in ("act", "masked"))
    value = ActDiff.loss(plain, masked, variant="official")
    agree(f"{file} (value)", value.mean(), get("loss"))
    gradients = torch.autograd.grad(value.mean(), [*plain, *masked])
    for gradient, name in zip(gradients, ("act0", "act1", "masked0", "masked1"), strict=True):
        agree(f"{file} (gradient)", gradient, get(f"g_{name}"))


@pytest.mark.parametrize("case", CASES)
def test_gradia(golden, agree, case):
    """Task, attention and their sum; the label map is given blurred."""
    file, get = "crayon_sort/cmp_gradia", arrays(golden("crayon_sort/cmp_gradia"), case)
    raw, logits, quadrant = get("raw_cam").requires_grad_(), get("logits").requires_grad_(), get("quadrant")
    batch = {"map": raw, "labels": get("y"), "quadrant": quadrant, "importance": get("attention_label")}
    batch["annotated"] = (quadrant < 3).tolist()
    objective, task = Labelled(Stored()), QuadrantTaskLoss()
    guidance = Guidance(task=task, gradia=Term(objective, reduction="rows"))
    forward = Given({FULL: logits}, batch)
    for weights, name in ((task.quadrant_weights, "pred_weight"), (objective.quadrant_weights, "att_weight")):
        agree(f"{file} (weights)", torch.tensor(weights, dtype=torch.float64)[quadrant], get(name))
    total, logs = guidance(forward)
    agree(f"{file} (map)", objective.compared(forward)[0], get("cam"))
    agree(f"{file} (task)", logs["loss/task"], get("task_loss"))
    agree(f"{file} (attention)", logs["loss/gradia"], get("attention_loss"))
    agree(f"{file} (total)", total, get("total"))
    for gradient, name in zip(torch.autograd.grad(total, [raw, logits]), ("raw_cam", "logits"), strict=True):
        agree(f"{file} (gradient)", gradient, get(f"g_{name}"))


class Labelled(GRADIA):
    """The golden label maps are used as they are: neither blurred nor scaled."""

    def compared(self, forward):
        return self.normalization(forward.attribution(self.attribution)), forward.importance(self.importance)
