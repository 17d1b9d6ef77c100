"""The bias-free network of the authors' blocks, through our own model, its loader, and the recipe of its paper."""

import dataclasses

import pytest
import torch
from tiny import explain, parameter_gradients
from torch import nn

from hf_guidance.attributions import GradCAM, InputXGradient, IntegratedGradients
from hf_guidance.data.boxes import boxes_to_mask
from hf_guidance.families import family_of
from hf_guidance.forward.maps import resize_maps
from hf_guidance.models import XDNNResNetConfig, XDNNResNetForImageClassification, load_official_xdnn
from hf_guidance.objectives import Positive
from hf_guidance.recipes import model_guidance

FILE = "model_guidance/xdnn_ixg_intgrad"


def official_name(key):
    name = key.split("state__")[1].replace("__", ".")
    return name.replace("layer1.", "layer1.0.").replace("layer2.", "layer2.0.")  # one block a stage


def model_and_batch(data, case):
    state = {official_name(k): torch.from_numpy(data[k]) for k in data.files if k.startswith(f"c{case}_state__")}
    sizes = {"embedding_size": 4, "hidden_sizes": [8, 12], "depths": [1, 1], "num_labels": 3}
    config = XDNNResNetConfig(**sizes, head_bias="fc.bias" in state, problem_type="multi_label_classification")
    model = XDNNResNetForImageClassification(config).double().eval()
    model.stem.convolution = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False).double()  # the file's is smaller
    load_official_xdnn(model, state)
    masks = [boxes_to_mask(torch.from_numpy(data[f"boxes{i}"]), 20, 20) for i in range(3)]
    classes = torch.from_numpy(data[f"c{case}_classes"])
    batch = {
        "pixel_values": torch.from_numpy(data[f"c{case}_x"]),
        "labels": nn.functional.one_hot(classes, 3).double(),
        "target": classes,
        "importance": torch.stack(masks),
    }
    return model, batch


@pytest.mark.parametrize("case", range(2))
def test_attributions(golden, agree, case):
    data = golden(FILE)
    model, batch = model_and_batch(data, case)
    family = family_of(model)
    assert family.biases == ()
    exact, single = IntegratedGradients(exact=True), InputXGradient()
    final, cam = InputXGradient("final"), GradCAM("final")
    forward = explain(model, family, batch, exact, single, final, cam)
    agree(f"{FILE} (our model)", forward.logits(), data[f"c{case}_logits"])
    agree(f"{FILE} (our model)", forward.attribution(single), data[f"c{case}_ixg"])
    agree(f"{FILE} (our model)", forward.attribution(exact), data[f"c{case}_intgrad_zero_baseline"])
    for method, name in ((final, "final_ixg"), (cam, "final_gradcam")):
        agree(f"{FILE} (our model)", forward.attribution(method), data[f"c{case}_{name}"])
        upscaled = resize_maps(Positive()(forward.attribution(method)), (20, 20))
        agree(f"{FILE} (our model)", upscaled, data[f"c{case}_{name}_pos_norm_up"])
    at_zero = explain(model, family, batch | {"pixel_values": torch.zeros(3, 3, 20, 20).double()}, exact)
    agree(f"{FILE} (our model)", at_zero.scores(exact.target), data[f"c{case}_logits_at_zero"])
    for method in (exact, final):
        agree(f"{FILE} (our model)", forward.attribution(method).sum((1, 2)), data[f"c{case}_attr_sum"])


@pytest.mark.parametrize("case", range(2))
def test_the_path_walked_is_the_one_gradient(golden, agree, case):
    data = golden(FILE)
    model, batch = model_and_batch(data, case)
    walked = IntegratedGradients(steps=7)
    unknown = dataclasses.replace(family_of(model), biases=None)
    forward = explain(model, unknown, batch, walked)
    agree(f"{FILE} (path)", forward.attribution(walked), data[f"c{case}_intgrad_zero_baseline"])


@pytest.mark.parametrize("attribution", ["intgrad", "ixg"])
@pytest.mark.parametrize("case", range(2))
def test_total_loss_of_the_recipe(golden, agree, case, attribution):
    """``BCE + λ * sum of energies``, value and gradient: those of the file for the sum, torch's own for the BCE."""
    data = golden(FILE)
    model, batch = model_and_batch(data, case)
    guidance = model_guidance("energy", "xdnn", attribution, weight=0.7)
    total, logs = guidance(explain(model, family_of(model), batch, *(t.objective for t in guidance.values())))
    agree(f"{FILE} (recipe)", logs["loss/energy"], data[f"c{case}_energy_sum"])
    task = nn.functional.binary_cross_entropy_with_logits(model(batch["pixel_values"]).logits, batch["labels"])
    agree(f"{FILE} (recipe)", total, task.detach() + 0.7 * data[f"c{case}_energy_sum"])
    names = [k.split("__", 1)[1] for k in data.files if k.startswith(f"c{case}_energygrad__")]
    expected = {official_name(f"state__{name}"): data[f"c{case}_energygrad__{name}"] for name in names}
    assert len(expected) == len(list(model.parameters()))
    both = zip(parameter_gradients(total, model), parameter_gradients(task, model), strict=True)
    for (name, parameter), (whole, of_task) in zip(model.named_parameters(), both, strict=True):
        theirs = torch.from_numpy(expected[theirs_of(name)]).expand_as(parameter)  # scalar 0: no gradient
        agree(f"{FILE} (recipe, gradients)", whole, of_task + 0.7 * theirs)


def theirs_of(name):
    plain = {"stem.convolution.weight": "conv1.weight", "classifier.weight": "fc.weight", "classifier.bias": "fc.bias"}
    if name in plain:
        return plain[name]
    _, stage, block, part, *rest = name.split(".")
    layer = "downsample" if part == "shortcut" else f"conv{int(rest[0]) + 1}"
    return f"layer{int(stage) + 1}.{block}.{layer}.weight"
