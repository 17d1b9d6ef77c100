"""GradMask on a small MLP that reads pixels, against the authors' loss and its parameter gradients."""

import pytest
import torch
from tiny import parameter_gradients
from torch import nn

from hf_guidance.attributions import ContrastLogits, Gradient
from hf_guidance.families import Family
from hf_guidance.forward import Forward
from hf_guidance.objectives import GradMask


class Perceptron(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.l1, self.l2 = nn.Linear(72, 10), nn.Linear(10, 2)
        self.activation = activation

    def forward(self, pixel_values):
        return {"logits": self.l2(self.activation(self.l1(pixel_values.flatten(1))))}


def model_of(data, case):
    state = {
        f"{n}.{p}": torch.from_numpy(data[f"c{case}__p_{n}_{p}"]) for n in ("l1", "l2") for p in ("weight", "bias")
    }
    x, logits = torch.from_numpy(data[f"c{case}__x"]), torch.from_numpy(data[f"c{case}__logits"])
    for activation in (torch.tanh, torch.relu, nn.functional.softplus, torch.sigmoid, nn.functional.gelu):
        model = Perceptron(activation).double()
        model.load_state_dict(state)
        if torch.allclose(model(x)["logits"], logits):
            return model
    raise AssertionError("no activation reproduces the logits")


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize(
    ("variant", "loss", "gradients"), [("paper", "paper_sq", "sq"), ("official", "code_abs", "abs")]
)
def test_grad_mask_and_its_parameter_gradients(golden, agree, case, variant, loss, gradients):
    data = golden("crayon_sort/cmp_gradmask")
    model = model_of(data, case)
    outside = torch.from_numpy(data[f"c{case}__outside_mask"])
    assert torch.equal(outside[:, 0], outside[:, 1])
    batch = {
        "pixel_values": torch.from_numpy(data[f"c{case}__x"]),
        "target": torch.from_numpy(data[f"c{case}__y"]),
        "importance": 1 - outside[:, 0],
    }
    objective = GradMask(variant=variant)
    forward = Forward(model, Family(layers={}), batch, objective.needs())
    contrast = forward.attribution(Gradient(target=ContrastLogits(), channels="keep"))
    agree("crayon_sort/cmp_gradmask (contrast gradient)", contrast, data[f"c{case}__contrast_grad"])
    # The stored loss of the code carries its lambda, the paper's does not.
    factor = float(data[f"c{case}__lambda_"]) if variant == "official" else 1.0
    value = factor * objective(forward).sum()
    agree(f"crayon_sort/cmp_gradmask ({variant} value)", value, data[f"c{case}__loss_{loss}_sum"])
    names = [name.replace(".", "_") for name, _ in model.named_parameters()]
    for name, gradient in zip(names, parameter_gradients(value, model), strict=True):
        agree(f"crayon_sort/cmp_gradmask ({variant} gradient)", gradient, data[f"c{case}__g_{gradients}_{name}"])
