"""keep and fill of a stacked attention network against the edited copies: values, gradients and second derivatives."""

import pytest
import torch
from tiny_san import BATCH, DIMS, OBJECTS, tiny_inputs, tiny_labels, tiny_san

COPIES = 4
ROWS = COPIES * BATCH
FILLS = {
    "number": -1.0,
    "dims": (DIMS,),
    "one value a box": (OBJECTS, 1),
    "batch": (BATCH, OBJECTS, DIMS),
    "one value a copy": (ROWS, 1, 1),
    "copies": (ROWS, OBJECTS, DIMS),
}


def drawn(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fill_and_copies(name):
    """The fill, and the same for every edited copy."""
    shape = FILLS[name]
    if isinstance(shape, float):
        return shape, torch.full((ROWS, OBJECTS, DIMS), shape, dtype=torch.float64)
    fill = drawn(shape, 1)
    rows = fill.repeat(COPIES, 1, 1) if shape[0] == BATCH else fill
    return fill, rows.expand(ROWS, OBJECTS, DIMS)


def keeps():
    keep = drawn((ROWS, OBJECTS), 2) > 0
    keep[0], keep[-1] = True, False
    return keep


def derivatives(output, features, model):
    """First derivatives by boxes and parameters, and those of the gradient's square."""
    parameters = list(model.parameters())
    score = output.logits[:, 1].sum() + output.loss + (output.attention * torch.arange(OBJECTS)).sum()
    (by_boxes,) = torch.autograd.grad(score, features, create_graph=True)
    first = torch.autograd.grad(score, parameters, retain_graph=True, allow_unused=True)
    second = torch.autograd.grad(by_boxes.square().sum(), parameters, allow_unused=True)
    zeros = [torch.zeros_like(p) for p in parameters]
    return [by_boxes, *((z if g is None else g) for z, g in zip(zeros * 2, [*first, *second], strict=True))]


@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("name", FILLS)
def test_equals_the_edited_copies(name, hops, padding):
    model, given = tiny_san(hops=hops), tiny_inputs()
    features, labels = given["visual_feats"].requires_grad_(), tiny_labels()
    keep, (fill, filled) = keeps(), fill_and_copies(name)
    mask = torch.ones(BATCH, OBJECTS, dtype=torch.int64)
    mask[0, 3:] = 0
    masks = (mask, mask.repeat(COPIES, 1)) if padding else (None, None)
    full = model(**given, visual_attention_mask=masks[0])
    again = {n: full[n] for n in ("question_embedding", "box_projection")}
    ours = model(visual_feats=features, visual_attention_mask=masks[0], labels=labels, keep=keep, fill=fill, **again)
    boxes = torch.where(keep[..., None], features.repeat(COPIES, 1, 1), filled)
    words, answers = given["input_ids"].repeat(COPIES, 1), labels.repeat(COPIES, 1)
    theirs = model(words, boxes, visual_attention_mask=masks[1], labels=answers)
    for part in ("logits", "attention", "loss"):
        torch.testing.assert_close(ours[part], theirs[part], rtol=1e-12, atol=1e-14)
    for a, b in zip(derivatives(ours, features, model), derivatives(theirs, features, model), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fill": 0.0}, "fill is given without keep"),
        ({"keep": torch.ones(BATCH + 1, OBJECTS) > 0, "fill": 0.0}, r"keep of shape \(4, 5\).*\(copies \* 3, 5\)"),
        ({"keep": torch.ones(ROWS, OBJECTS) > 0, "fill": torch.zeros(2, 1, 1)}, r"fill of shape \(2, 1, 1\)"),
        ({"box_projection": torch.zeros(BATCH, 2, 7)}, r"box_projection of shape \(3, 2, 7\) does not belong"),
        (
            {"keep": torch.ones(ROWS, OBJECTS) > 0, "fill": 0.0, "question_embedding": torch.zeros(6, 7).double()},
            "6 rows cannot be repeated to 12",
        ),
    ],
)
def test_bad_input(given, message):
    with pytest.raises(ValueError, match=message):
        tiny_san()(**tiny_inputs() | given)
