import pytest
import torch
from tiny import explain, make_batch, tiny_family, tiny_model

from hf_guidance.attributions import ContrastLogits, GradCAM, Gradient, InputXGradient
from hf_guidance.objectives import (
    L1,
    PPCE,
    Alignment,
    Energy,
    GradMask,
    Identity,
    MaxAbs,
    Positive,
    RightReasons,
    TaskLoss,
)


def test_default_normalizations_are_the_papers():
    assert Energy().normalization == GradMask().normalization == Alignment().normalization == Identity()
    assert L1().normalization == PPCE().normalization == Positive()
    assert RightReasons().normalization == MaxAbs()
    assert GradMask().attribution == Gradient(target=ContrastLogits(), channels="keep")


def test_right_reasons_with_gradients_is_rrr():
    """sum over channels and pixels of ((1 - M) g)^2 (arXiv 1703.03717), by loops."""
    model, family, batch = tiny_model("vit"), tiny_family("vit"), make_batch(images=2)
    objective = RightReasons(Gradient(channels="keep"), Identity())
    ours = objective(explain(model, family, batch, objective))
    for index in range(2):
        pixels = batch["pixel_values"][index].clone().requires_grad_()
        logit = model(pixel_values=pixels[None])["logits"][0, batch["target"][index]]
        (gradient,) = torch.autograd.grad(logit, pixels)
        expected = ((1 - batch["importance"][index]) * gradient.square()).sum()
        assert torch.allclose(ours[index], expected)


def test_the_attribution_grid_averages_the_importance():
    model, family, batch = tiny_model("resnet"), tiny_family("resnet"), make_batch()
    objective = Energy(InputXGradient("mid1"), grid="attribution")
    forward = explain(model, family, batch, objective)
    maps, importance = objective.compared(forward)
    assert maps.shape == importance.shape == (3, 8, 16)
    assert torch.allclose(importance, batch["importance"].reshape(3, 8, 4, 16, 4).mean((2, 4)).double())


def test_task_loss_equals_the_loss_of_transformers():
    model, batch = tiny_model("resnet"), make_batch()
    forward = explain(model, tiny_family("resnet"), batch, TaskLoss())
    theirs = model(pixel_values=batch["pixel_values"], labels=batch["labels"]).loss
    assert torch.allclose(TaskLoss()(forward).mean(), theirs)
    smooth = TaskLoss(label_smoothing=0.1)(forward)
    expected = torch.nn.functional.cross_entropy(forward.logits(), batch["labels"], label_smoothing=0.1)
    assert torch.allclose(smooth.mean(), expected)


def test_multi_hot_labels_get_binary_cross_entropy():
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    batch = make_batch() | {"labels": labels}
    forward = explain(tiny_model("resnet"), tiny_family("resnet"), batch, TaskLoss())
    logits = forward.logits()
    expected = -(labels * logits.sigmoid().log() + (1 - labels) * (-logits).sigmoid().log()).mean(1)
    assert torch.allclose(TaskLoss()(forward), expected)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Energy(grid="pixels"), r"Energy\(grid='pixels'\).*'importance', 'attribution'"),
        (lambda: Energy("GradCAM"), r"attribution='GradCAM'.*GradCAM\(\)"),
        (lambda: Energy(GradCAM), "is not an attribution"),
        (lambda: Energy(normalization="max"), r"normalization='max'"),
        (lambda: L1(normalization=Positive), "normalization="),
        (lambda: GradMask(variant="theirs"), r"variant='theirs'.*'paper', 'official'"),
        (lambda: Gradient(channels="mean"), r"channels='mean'.*'sum', 'abs', 'square', 'keep'"),
        (lambda: InputXGradient(target="label"), "target='label'"),
        (lambda: InputXGradient(layer=3), "layer=3"),
        (lambda: TaskLoss(label_smoothing=1.0), r"label_smoothing=1.0 is outside \[0, 1\)"),
    ],
)
def test_wrong_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_missing_column_is_named():
    batch = make_batch()
    del batch["importance"]
    forward = explain(tiny_model("resnet"), tiny_family("resnet"), batch, Energy())
    with pytest.raises(ValueError, match=r"no column 'importance'.*'pixel_values'.*collator"):
        Energy()(forward)
    with pytest.raises(ValueError, match="no column 'attention'"):
        Energy(importance="attention")(forward)
