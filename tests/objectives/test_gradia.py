"""GRADIA and its task: label maps, quadrants, weights."""

import json

import pytest
import torch
from tiny import explain, make_batch, parameter_gradients, tiny_family, tiny_model

from hf_guidance.attributions import GradCAM
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import GRADIA, QuadrantTaskLoss, TaskLoss

FAMILY = tiny_family("resnet")


def step(guidance, batch):
    forward = explain(tiny_model("resnet"), FAMILY, batch, *(term.objective for term in guidance.values()))
    return guidance(forward)


def square_batch(**columns):
    return make_batch(images=4, size=(96, 96)) | columns


def test_label_map_is_averaged_blurred_and_scaled():
    """The kernel (1, 2, 1) / 4 both ways, edges mirrored: one bright cell in a corner of 3x3."""
    batch = square_batch()
    batch["importance"][:] = 0
    batch["importance"][0, :32, :32] = 0.5
    objective = GRADIA()
    cam, label = objective.compared(explain(tiny_model("resnet"), FAMILY, batch, objective))
    assert cam.shape == label.shape == (4, 3, 3)
    assert torch.allclose(label[0], torch.tensor([[1, 0.5, 0], [0.5, 0.25, 0], [0, 0, 0]], dtype=label.dtype))
    assert not label[1:].any()
    assert cam.amin((1, 2)).tolist() == [0] * 4
    assert cam.amax((1, 2)).tolist() == [1] * 4
    sharp = GRADIA(blur=False)
    _, label = sharp.compared(explain(tiny_model("resnet"), FAMILY, batch, sharp))
    assert label[0].sum() == label[0, 0, 0] == 1


def test_quadrants_weigh_images_and_those_of_weight_0_do_not_count():
    batch = square_batch(quadrant=torch.tensor([0, 1, 2, 3]), annotated=[True] * 4)
    plain = square_batch(quadrant=torch.tensor([0, 0, 0, 0]))
    values = []
    for columns in (batch, plain):
        forward = explain(tiny_model("resnet"), FAMILY, columns, GRADIA())
        values.append((GRADIA()(forward), GRADIA().rows(forward)))
    weights = torch.tensor([1, 1.6, 0.2, 0], dtype=torch.float64)
    assert torch.allclose(values[0][0], values[1][0] * weights)
    assert values[0][1].tolist() == [1, 1, 1, 0]
    assert values[1][1].tolist() == [1] * 4
    _, logs = step(Guidance(gradia=Term(GRADIA(), reduction="rows")), batch)
    assert torch.allclose(logs["loss/gradia"], values[0][0].sum() / 3)


def test_task_is_weighted_and_divided_by_the_number_of_images():
    batch = square_batch(quadrant=torch.tensor([0, 1, 2, 3]))
    losses = TaskLoss()(explain(tiny_model("resnet"), FAMILY, batch, TaskLoss()))
    _, logs = step(Guidance(task=QuadrantTaskLoss()), batch)
    assert torch.allclose(logs["loss/task"], (losses * torch.tensor([1, 0.4, 0.8, 1])).sum() / 4)
    smooth = QuadrantTaskLoss(label_smoothing=0.1, class_weights=(1.0, 2.0, 3.0), quadrant_weights=(1, 1, 1, 1))
    same = TaskLoss(0.1, (1.0, 2.0, 3.0))
    forward = explain(tiny_model("resnet"), FAMILY, batch, smooth)
    assert torch.equal(smooth(forward), same(forward))


def test_first_order_form_differs_in_its_gradients_alone():
    found = []
    for fixed in (False, True):
        guidance = Guidance(gradia=GRADIA(GradCAM(relu=False, fixed_weights=fixed)))
        total, _ = step(guidance, square_batch(quadrant=torch.tensor([0, 1, 2, 0])))
        found.append((total, parameter_gradients(total, tiny_model("resnet"))))
    assert torch.equal(found[0][0], found[1][0])
    assert any(not torch.allclose(one, other) for one, other in zip(found[0][1], found[1][1], strict=True))


@pytest.mark.parametrize("objective", [GRADIA(), QuadrantTaskLoss()])
def test_without_quadrants_the_error_says_how_to_make_them(objective):
    batch = square_batch()
    del batch["quadrant"]
    with pytest.raises(ValueError, match=r"no column 'quadrant'.*every data set.*with_quadrants"):
        objective(explain(tiny_model("resnet"), FAMILY, batch, objective))


@pytest.mark.parametrize("cls", [GRADIA, QuadrantTaskLoss])
@pytest.mark.parametrize(
    "weights", [(1, 1, 1), (0, 0, 0, 0), (1, -1, 1, 1), (1, float("nan"), 1, 1), "1111", ("1",) * 4, 1]
)
def test_weights_that_are_refused(cls, weights):
    with pytest.raises(ValueError, match=rf"{cls.__name__}\(quadrant_weights=.*four finite numbers >= 0"):
        cls(quadrant_weights=weights)


def test_way_to_json_and_back():
    guidance = Guidance(
        task=QuadrantTaskLoss(quadrant_weights=[1.0, 0.5, 0.5, 1.0]),
        gradia=Term(GRADIA(GradCAM(relu=False, fixed_weights=True), blur=False), reduction="rows"),
    )
    assert Guidance.from_dict(json.loads(guidance.to_json())) == guidance
