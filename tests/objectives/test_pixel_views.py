"""Sufficiency and Uncertainty on the pixels of image classifiers, against plain torch in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from tiny import fresh_model, make_batch, parameter_gradients, relative_error, tiny_family, tiny_model
from torch import nn

from hf_guidance import Family, Forward, Guidance
from hf_guidance.objectives import Sufficiency, Uncertainty
from hf_guidance.views import Blur, zeros

GUIDANCE = Guidance(sufficiency=Sufficiency(0.5, zeros), uncertainty=Uncertainty(0.5, zeros))
NAMES = ("resnet", "vit", "convnext", "timm_resnet")


def partly_annotated(images=5, annotated=(1, 3), channels=3, size=(32, 64)):
    """A batch of images of which two have an explained row, as the trainer leaves it."""
    batch = make_batch(images, size, channels)
    chosen = torch.tensor(annotated)
    batch |= {"importance": batch["importance"][chosen], "target": batch["labels"][chosen]}
    return batch | {"row": list(annotated), "slot": [0] * len(annotated), "annotated": [True] * len(annotated)}


def expected_loss(model, batch):
    """Task, Suff-Human and Unc as the paper writes them, on the annotated images alone; divided by the images of the batch."""
    pixels, labels, rows = batch["pixel_values"], batch["labels"], torch.tensor(batch["row"])
    important = (batch["importance"] > 0.5)[:, None]
    task = F.cross_entropy(model(pixel_values=pixels)["logits"], labels)
    kept = model(pixel_values=pixels[rows] * important)["logits"].log_softmax(1)
    rest = model(pixel_values=pixels[rows] * ~important)["logits"].log_softmax(1)
    sufficiency = -kept.gather(1, labels[rows, None]).sum()
    uncertainty = (-math.log(kept.shape[1]) - rest.mean(1)).sum()
    return task + (sufficiency + uncertainty) / len(pixels)


@pytest.mark.parametrize("name", NAMES)
def test_losses_and_gradients_are_those_of_the_paper_on_the_annotated_images(name):
    model, batch = tiny_model(name), partly_annotated()
    loss, _ = GUIDANCE(Forward(model, tiny_family(name), batch, GUIDANCE.needs()))
    wanted = expected_loss(model, batch)
    assert relative_error(loss.detach(), wanted.detach()) < 1e-12
    for ours, theirs in zip(parameter_gradients(loss, model), parameter_gradients(wanted, model), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def called_images(model, run):
    """How many images each call of the model had."""
    counts = []
    handle = model.register_forward_pre_hook(
        lambda module, args, kwargs: counts.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    run()
    handle.remove()
    return counts


@pytest.mark.parametrize("max_rows", [None, 2])
def test_only_annotated_images_are_called_edited(max_rows):
    model, batch = fresh_model("resnet"), partly_annotated()
    made = []
    counts = called_images(
        model, lambda: made.append(Forward(model, tiny_family("resnet"), batch, GUIDANCE.needs(), max_rows=max_rows))
    )
    assert counts == ([5, 4] if max_rows is None else [5, 2, 2])
    view = GUIDANCE["sufficiency"].objective.view
    logits = made[0].logits(view)
    assert logits.shape == (1, 5, 3)
    assert torch.equal(logits[0, [0, 2, 4]], torch.zeros(3, 3, dtype=torch.float64))


def test_fills_take_from_all_images_of_the_batch():
    model, batch = tiny_model("resnet"), partly_annotated()
    blurred = Sufficiency(0.5, Blur(3.0))
    found = blurred(Forward(model, tiny_family("resnet"), batch, blurred.needs()))
    fill = Blur(3.0)(batch["pixel_values"], None)
    rows = torch.tensor(batch["row"])
    edited = torch.where((batch["importance"] > 0.5)[:, None], batch["pixel_values"][rows], fill[rows])
    wanted = F.cross_entropy(model(pixel_values=edited)["logits"], batch["labels"][rows], reduction="none")
    assert torch.allclose(found, wanted, rtol=1e-12)


class NormedNet(nn.Module):
    """A convolution, BatchNorm and a head."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Linear(3, 3)

    def forward(self, pixel_values):
        return {"logits": self.fc(self.norm(self.conv(pixel_values)).relu().mean((-2, -1)))}


def test_batch_norm_in_train_mode_sees_the_other_images_as_they_are():
    """Copies of images without annotation are not emptied: else their grey would be most of what BatchNorm normalises by."""
    torch.manual_seed(0)
    model, batch = NormedNet().double().train(), partly_annotated(channels=2, size=(6, 8))
    objective = Sufficiency(0.5, zeros)
    family = Family(layers={"final": "conv"})
    found = objective(Forward(model, family, batch, objective.needs()))
    after_one_call = [value.clone() for value in (model.norm.running_mean, model.norm.running_var)]
    edited, rows = batch["pixel_values"].clone(), torch.tensor(batch["row"])
    edited[rows] = edited[rows] * (batch["importance"] > 0.5)[:, None]
    hidden = model.conv(edited)
    mean, variance = hidden.mean((0, 2, 3), keepdim=True), hidden.var((0, 2, 3), correction=0, keepdim=True)
    normed = (hidden - mean) / (variance + model.norm.eps).sqrt()
    logits = model.fc(normed.relu().mean((-2, -1)))
    wanted = F.cross_entropy(logits[rows], batch["labels"][rows], reduction="none")
    assert torch.allclose(found, wanted, rtol=1e-10)
    fresh = NormedNet().double().train()
    fresh.load_state_dict(
        {k: v for k, v in model.state_dict().items() if "running" not in k and "num" not in k}, strict=False
    )
    fresh(pixel_values=batch["pixel_values"])  # the statistics learn from the full images alone
    assert torch.allclose(after_one_call[0], fresh.norm.running_mean)
    assert torch.allclose(after_one_call[1], fresh.norm.running_var)


def test_soft_masks_are_cut_at_the_threshold():
    model, batch = tiny_model("resnet"), make_batch()
    batch["importance"] = torch.rand(3, 32, 64, generator=torch.Generator().manual_seed(4))
    for threshold in (0.25, 0.5):
        objective = Sufficiency(threshold, zeros)
        found = objective(Forward(model, tiny_family("resnet"), batch, objective.needs()))
        edited = batch["pixel_values"] * (batch["importance"] > threshold)[:, None]
        wanted = F.cross_entropy(model(pixel_values=edited)["logits"], batch["labels"], reduction="none")
        assert torch.allclose(found, wanted, rtol=1e-12)


def test_importance_of_another_size_is_averaged_over_each_pixel():
    model, batch = tiny_model("resnet"), make_batch()
    batch["importance"] = (torch.rand(3, 64, 128, generator=torch.Generator().manual_seed(4)) > 0.4).float()
    objective = Sufficiency(0.5, zeros)
    found = objective(Forward(model, tiny_family("resnet"), batch, objective.needs()))
    fine = batch["importance"]
    average = (fine[:, ::2, ::2] + fine[:, 1::2, ::2] + fine[:, ::2, 1::2] + fine[:, 1::2, 1::2]) / 4
    edited = batch["pixel_values"] * (average > 0.5)[:, None]
    wanted = F.cross_entropy(model(pixel_values=edited)["logits"], batch["labels"], reduction="none")
    assert torch.allclose(found, wanted, rtol=1e-12)


def test_an_image_with_several_explained_rows_keeps_what_is_important_to_any():
    model, batch = tiny_model("resnet"), make_batch()
    batch |= {"row": [0, 0, 2], "slot": [0, 1, 0], "annotated": [True] * 3}
    found = GUIDANCE["sufficiency"].objective(Forward(model, tiny_family("resnet"), batch, GUIDANCE.needs()))
    mask = batch["importance"] > 0.5
    kept = torch.stack([mask[0] | mask[1], mask[2]])[:, None]
    logits = model(pixel_values=batch["pixel_values"][[0, 2]] * kept)["logits"]
    wanted = F.cross_entropy(logits, batch["labels"][[0, 2]], reduction="none")
    assert torch.allclose(found, wanted[[0, 0, 1]], rtol=1e-12)


def test_a_batch_of_one_image():
    model, batch = tiny_model("resnet"), partly_annotated(1, (0,))
    loss, _ = GUIDANCE(Forward(model, tiny_family("resnet"), batch, GUIDANCE.needs()))
    assert relative_error(loss.detach(), expected_loss(model, batch).detach()) < 1e-12


def test_without_importance_the_error_names_the_column():
    batch = make_batch()
    del batch["importance"]
    with pytest.raises(ValueError, match=r"the batch has no column 'importance'; it has \['labels', 'pixel_values'"):
        Forward(tiny_model("resnet"), tiny_family("resnet"), batch, GUIDANCE.needs())
