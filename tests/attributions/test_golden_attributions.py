"""InputXGradient, GradCAM and IntegratedGradients on the authors' small networks, with the gradients of Energy."""

import pytest
import torch
import torch.nn.functional as F
from tiny import explain, parameter_gradients
from torch import nn

from hf_guidance.attributions import GradCAM, InputXGradient, IntegratedGradients
from hf_guidance.data.boxes import boxes_to_mask
from hf_guidance.families import Family
from hf_guidance.forward.maps import resize_maps
from hf_guidance.objectives import Energy, Positive

XDNN = Family(layers={"mid1": "layer1", "final": "layer2"}, pooled_linear="fc")


class Block(nn.Module):
    """A bottleneck without biases, scales and normalisation."""

    def __init__(self, inputs, planes, stride, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.downsample = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x):
        inner = self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))
        return F.relu(inner + self.downsample(x))


class BiasFree(nn.Module):
    def __init__(self, bias):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.layer1, self.layer2 = Block(4, 2, 1, 8), Block(8, 3, 2, 12)
        self.fc = nn.Linear(12, 3, bias=bias)

    def forward(self, pixel_values):
        x = F.max_pool2d(F.relu(self.conv1(pixel_values)), 3, 2, 1)
        return {"logits": self.fc(self.layer2(self.layer1(x)).mean((-2, -1)))}


class WithBatchNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, 5, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(5), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
        )  # fmt: skip

    def forward(self, pixel_values):
        return {"logits": self.net(pixel_values)}


def bias_free(data, case):
    state = {
        key.split("state__")[1].replace("__", "."): torch.from_numpy(data[key])
        for key in data.files
        if key.startswith(f"c{case}_state__")
    }
    model = BiasFree(bias="fc.bias" in state).double()
    model.load_state_dict(state)
    x = torch.from_numpy(data[f"c{case}_x"])
    masks = [boxes_to_mask(torch.from_numpy(data[f"boxes{i}"]), 20, 20) for i in range(3)]
    batch = {"pixel_values": x, "target": torch.from_numpy(data[f"c{case}_classes"]), "importance": torch.stack(masks)}
    return model, batch


@pytest.mark.parametrize("case", range(2))
def test_bias_free_network(golden, agree, case):
    data = golden("model_guidance/xdnn_ixg_intgrad")
    model, batch = bias_free(data, case)
    input_x_gradient, integrated = InputXGradient(), IntegratedGradients(steps=3)
    final, cam = InputXGradient(layer="final"), GradCAM()
    forward = explain(model, XDNN, batch, input_x_gradient, integrated, final, cam)
    file = "model_guidance/xdnn_ixg_intgrad"
    agree(file, forward.logits(), data[f"c{case}_logits"])
    agree(file, forward.attribution(input_x_gradient), data[f"c{case}_ixg"])
    agree(file, forward.attribution(integrated), data[f"c{case}_intgrad_zero_baseline"])
    agree(file, forward.attribution(integrated).sum((1, 2)), data[f"c{case}_attr_sum"])
    for method, name in ((final, "final_ixg"), (cam, "final_gradcam")):
        agree(file, forward.attribution(method), data[f"c{case}_{name}"])
        upscaled = resize_maps(Positive()(forward.attribution(method)), (20, 20))
        agree(file, upscaled, data[f"c{case}_{name}_pos_norm_up"])


@pytest.mark.parametrize("case", range(2))
@pytest.mark.parametrize("method", [InputXGradient(), IntegratedGradients(steps=2)], ids=["ixg", "intgrad"])
def test_energy_gradients_of_a_bias_free_network(golden, agree, case, method):
    data = golden("model_guidance/xdnn_ixg_intgrad")
    model, batch = bias_free(data, case)
    objective = Energy(method)
    total = objective(explain(model, XDNN, batch, objective)).sum()
    agree("model_guidance/xdnn_ixg_intgrad (energy)", total, data[f"c{case}_energy_sum"])
    for (name, _), gradient in zip(model.named_parameters(), parameter_gradients(total, model), strict=True):
        expected = data[f"c{case}_energygrad__{name.replace('.', '__')}"]
        if not expected.ndim:  # the bias: no gradient
            assert not gradient.any()
            continue
        agree("model_guidance/xdnn_ixg_intgrad (energy gradients)", gradient, expected)


def with_batch_norm(data, mode):
    model = WithBatchNorm().double()
    state = {key[7:].replace("__", "."): torch.from_numpy(data[key]) for key in data.files if key.startswith("state__")}
    model.net.load_state_dict(state)
    mask = boxes_to_mask(torch.from_numpy(data["box"]), 10, 10)
    batch = {
        "pixel_values": torch.from_numpy(data["x"]),
        "target": torch.from_numpy(data["classes"]),
        "importance": mask.expand(4, 10, 10),
    }
    return model.train(mode == "train"), batch


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_batch_norm_network(golden, agree, mode):
    """In train mode the batch's statistics couple the images; all are then explained together, as the authors do."""
    data = golden("model_guidance/vanilla_bn_ixg")
    model, batch = with_batch_norm(data, mode)
    objective = Energy(InputXGradient())
    forward = explain(model, Family(layers={}), batch, objective)
    file = f"model_guidance/vanilla_bn_ixg ({mode})"
    agree(file, forward.logits(), data[f"{mode}_logits"])
    agree(file, forward.attribution(InputXGradient()), data[f"{mode}_ixg_batch_mode"])
    total = objective(forward).sum()
    agree(file, total, data[f"{mode}_energy_sum"])
    for (name, _), gradient in zip(model.net.named_parameters(), parameter_gradients(total, model), strict=True):
        expected = data[f"{mode}_energygrad__{name.replace('.', '__')}"]
        if not expected.ndim:
            assert not gradient.any()
            continue
        agree(f"{file} (energy gradients)", gradient, expected)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_rows_of_their_own_slots_are_explained_one_by_one(golden, agree, mode):
    data = golden("model_guidance/vanilla_bn_ixg")
    model, batch = with_batch_norm(data, mode)
    batch |= {"row": [0, 1, 2, 3], "slot": [0, 1, 2, 3]}
    forward = explain(model, Family(layers={}), batch, InputXGradient())
    agree(
        f"model_guidance/vanilla_bn_ixg ({mode})",
        forward.attribution(InputXGradient()),
        data[f"{mode}_ixg_single_mode"],
    )
