"""The formulas of the compared methods against numbers obtained by running the authors' code: values and gradients."""

import pytest
import torch
import torch.nn.functional as F

from hf_guidance.training.baselines.contrast import contrast, cosines
from hf_guidance.training.baselines.flac import independence
from hf_guidance.training.baselines.generalised_cross_entropy import generalised_cross_entropy
from hf_guidance.training.baselines.group_dro import robust_loss
from hf_guidance.training.baselines.lff import averaged, relative_difficulty
from hf_guidance.training.baselines.logit_correction import corrected_cross_entropy
from hf_guidance.training.baselines.mask_tune import kept_pixels
from hf_guidance.training.baselines.soft_con import soft_contrast

FOLDER = "crayon_sort"


@pytest.fixture
def arrays(golden):
    """The arrays of one case of a file, as tensors."""

    def case(name, number):
        data = golden(f"{FOLDER}/{name}")
        prefix = f"c{number}__"
        return {key.removeprefix(prefix): torch.from_numpy(data[key]) for key in data.files if key.startswith(prefix)}

    return case


@pytest.mark.parametrize("number", range(2))
def test_group_dro(arrays, agree, number):
    data = arrays("cmp_group_dro", number)
    weights = torch.full((4,), 0.25, dtype=torch.float64)
    for step in range(3):
        losses = F.cross_entropy(data["logits"][step], data["y"][step], reduction="none")
        loss, weights = robust_loss(losses, data["g"][step], weights, float(data["step_size"]))
        agree(f"{FOLDER}/cmp_group_dro (loss)", loss, data["robust_loss"][step])
        agree(f"{FOLDER}/cmp_group_dro (weights)", weights, data["adv_probs"][step])


@pytest.mark.parametrize("number", range(3))
def test_lff(arrays, agree, number):
    data = arrays("cmp_lff", number)
    q, alpha, rows = float(data["q"]), float(data["ema_alpha"]), len(data["labels"])
    averages = {name: torch.zeros(rows, dtype=torch.float64) for name in "bd"}
    classes = torch.full((rows,), -1)
    for step, index in enumerate(data["index"]):
        labels = data["labels"][index]
        logits = {name: data[f"logits_{name}"][step].clone().requires_grad_() for name in "bd"}
        losses = {name: F.cross_entropy(logits[name], labels, reduction="none") for name in "bd"}
        for name in "bd":
            averages[name] = averaged(averages[name], classes, index, losses[name].detach(), alpha)
        classes = classes.index_put((index,), labels)
        weight = relative_difficulty(averages["b"], averages["d"], classes, index)
        generalised = generalised_cross_entropy(logits["b"], labels, q)
        (gradient,) = torch.autograd.grad(generalised.mean(), logits["b"], retain_graph=True)
        total = (losses["d"] * weight).mean() + generalised.mean()
        for name, ours in (("weight", weight), ("gce", generalised), ("grad_gce_mean", gradient), ("total", total)):
            agree(f"{FOLDER}/cmp_lff ({name})", ours, data[name][step])


@pytest.mark.parametrize("number", range(3))
def test_lc(arrays, agree, number):
    data = arrays("cmp_lc", number)
    logits = data["logits"].clone().requires_grad_()
    losses = corrected_cross_entropy(logits, data["labels"], data["prior"])
    agree(f"{FOLDER}/cmp_lc (loss)", losses, data["loss"])
    agree(f"{FOLDER}/cmp_lc (gradient)", torch.autograd.grad(losses.mean(), logits)[0], data["grad_mean"])


@pytest.mark.parametrize("number", range(3))
def test_masktune(arrays, number):
    data = arrays("cmp_masktune_mask", number)
    assert torch.equal(kept_pixels(data["heat_maps"]), data["keep_mask"].bool())


@pytest.mark.parametrize("number", range(3))
def test_cnc(arrays, agree, number):
    data = arrays("cmp_cnc", number)
    features = data["features_anchor_pos_neg"].clone().requires_grad_()
    rows, positives = len(features), int(data["n_pos"])
    place = torch.arange(rows)[None]
    losses, usable = contrast(
        cosines(features)[:1], (place > 0) & (place <= positives), place >= rows - int(data["n_neg"]),
        float(data["temperature"]),
    )  # fmt: skip
    assert usable.all()
    agree(f"{FOLDER}/cmp_cnc (loss)", losses[0], data["loss"])
    agree(f"{FOLDER}/cmp_cnc (gradient)", torch.autograd.grad(losses[0], features)[0], data["grad"])


@pytest.mark.parametrize("number", range(3))
def test_softcon(arrays, agree, number):
    data = arrays("cmp_softcon", number)
    features = data["features_two_views"].clone().requires_grad_()
    loss = soft_contrast(features, data["bias_features"], data["labels"], float(data["temperature"]))
    agree(f"{FOLDER}/cmp_softcon (con)", loss, data["con"])
    agree(f"{FOLDER}/cmp_softcon (gradient)", torch.autograd.grad(loss, features)[0], data["grad_con"])
    agree(f"{FOLDER}/cmp_softcon (ce)", F.cross_entropy(data["logits"], data["labels"]), data["ce"])


@pytest.mark.parametrize("number", range(3))
def test_flac(arrays, agree, number):
    data = arrays("cmp_flac", number)
    features = data["features"].clone().requires_grad_()
    loss = independence(data["bias_features"], features, data["labels"], float(data["d"]))
    agree(f"{FOLDER}/cmp_flac (loss)", loss, data["loss"])
    agree(f"{FOLDER}/cmp_flac (gradient)", torch.autograd.grad(loss, features)[0], data["grad_features"])
