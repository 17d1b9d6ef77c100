"""The losses against numbers obtained by running the authors' code: value and gradient."""

import numpy as np
import pytest
import torch

from hf_guidance.data.boxes import boxes_to_mask
from hf_guidance.objectives import L1, PPCE, Alignment, Energy, RightReasons

FILES = {"energy": Energy, "l1": L1, "ppce": PPCE, "rrr": RightReasons}


def value_and_gradient(loss, attribution, mask):
    attribution = torch.from_numpy(attribution).requires_grad_()
    value = loss(attribution.flatten()[None], torch.as_tensor(mask).to(torch.float64).flatten()[None])
    assert value.shape == (1,)
    (gradient,) = torch.autograd.grad(value.sum(), attribution)
    return value[0], gradient


def comparable(name, attribution, mask):
    """Pixels away from ties, where the derivative is defined."""
    if name in ("energy", "ppce"):
        return attribution != 0
    if name == "l1":
        return (attribution != 0) & (attribution != mask)
    return np.ones_like(attribution, bool)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("case", range(10))
def test_losses_of_model_guidance(golden, agree, name, case):
    data = golden(f"model_guidance/loss_{name}")
    attribution, boxes, mask = (data[f"c{case}_{part}"] for part in ("attr", "boxes", "mask"))
    ours_mask = boxes_to_mask(torch.from_numpy(boxes), *mask.shape)
    assert np.array_equal(ours_mask.numpy(), mask)
    value, gradient = value_and_gradient(FILES[name].loss, attribution, ours_mask)
    if name == "ppce" and not mask.any():
        assert np.isnan(data[f"c{case}_loss"])
        assert value == 0
        assert not gradient.any()
        return
    agree(f"model_guidance/loss_{name} (value)", value, data[f"c{case}_loss"])
    where = comparable(name, attribution, mask)
    # 4e-9 is the slack of PPCE's float32 clamp constant (README of the golden numbers).
    tolerance = 1e-8 if name == "ppce" else 1e-10
    agree(f"model_guidance/loss_{name} (gradient)", gradient[where], data[f"c{case}_grad"][where], tolerance)


def test_ppce_has_no_slope_where_the_map_is_zero(golden):
    """The released code's is -1e12 / |M| there, harmless only because a clamp happens to block it."""
    data = golden("model_guidance/loss_ppce")
    attribution, mask = data["c0_attr"], data["c0_mask"]
    dead = (attribution == 0) & (mask == 1)
    assert data["c0_grad"][dead].max() < -1e9
    value, gradient = value_and_gradient(PPCE.loss, attribution, mask)
    assert value.item() == pytest.approx(float(data["c0_loss"]))
    assert not gradient[dead].any()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("case", range(4))
def test_losses_as_crayon_compares_them(golden, agree, name, case):
    data = golden("crayon_sort/cmp_bounding_box_losses")
    attribution = data[f"c{case}__{name}_input"]
    mask = boxes_to_mask(torch.from_numpy(data[f"c{case}__boxes_xyxy"]), *attribution.shape)
    value, gradient = value_and_gradient(FILES[name].loss, attribution, mask)
    where = comparable(name, attribution, mask.numpy())
    agree(f"crayon_sort/cmp_bounding_box_losses ({name})", value, data[f"c{case}__{name}_loss"])
    agree(
        f"crayon_sort/cmp_bounding_box_losses ({name})",
        gradient[where],
        data[f"c{case}__{name}_grad"][where],
        1e-8 if name == "ppce" else 1e-10,
    )


@pytest.mark.parametrize("case", [6, 7, 8, 9])
def test_alignment_of_visfis(golden, agree, case):
    data = golden("visfis/alignment_loss")
    assert "cossim" in str(data[f"c{case}__variant"])
    attribution = torch.from_numpy(data[f"c{case}__output1"]).requires_grad_()
    value = Alignment.loss(attribution, torch.from_numpy(data[f"c{case}__output2"])).mean()
    agree("visfis/alignment_loss (value)", value, data[f"c{case}__loss"])
    (gradient,) = torch.autograd.grad(value, attribution)
    agree("visfis/alignment_loss (gradient)", gradient, data[f"c{case}__grad_output1"])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_masks_of_any_type_give_the_same_loss(name, dtype):
    attribution = torch.rand(3, 20, dtype=torch.float64)
    mask = torch.rand(3, 20) > 0.5
    expected = FILES[name].loss(attribution, mask.double())
    assert torch.equal(FILES[name].loss(attribution, mask.to(dtype)), expected)
