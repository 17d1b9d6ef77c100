"""keep and fill against the edited copies they stand for: values, gradients and second derivatives, in float64."""

import pytest
import torch
from tiny_updn import BATCH, DIMS, OBJECTS, tiny_inputs, tiny_labels, tiny_updn

COPIES = 4
ROWS = COPIES * BATCH
FILLS = {
    "number": -1.0,
    "scalar": (),
    "dims": (DIMS,),
    "objects": (OBJECTS, DIMS),
    "one value a box": (OBJECTS, 1),
    "batch": (BATCH, OBJECTS, DIMS),
    "one box a row of the batch": (BATCH, 1, DIMS),
    "one value a copy": (ROWS, 1, 1),
    "copies": (ROWS, OBJECTS, DIMS),
}


def drawn(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fill_and_copies(name, copies):
    """The fill, and the same for every edited copy."""
    shape = FILLS[name]
    if isinstance(shape, float):
        return shape, torch.full((copies * BATCH, OBJECTS, DIMS), shape, dtype=torch.float64)
    shape = tuple(copies * BATCH if size == ROWS else size for size in shape)
    fill = drawn(shape, 1)
    repeats = copies if shape[:1] == (BATCH,) and len(shape) == 3 else 1
    rows = fill.repeat(repeats, 1, 1) if repeats > 1 else fill
    return fill, rows.expand(copies * BATCH, OBJECTS, DIMS)


def keeps(copies):
    keep = drawn((copies * BATCH, OBJECTS), 2) > 0
    keep[0], keep[-1] = True, False
    return keep


def edited(model, input_ids, features, keep, filled, **given):
    copies = len(keep) // len(features)
    boxes = torch.where(keep[..., None], features.repeat(copies, 1, 1), filled)
    return model(input_ids.repeat(copies, 1), boxes, **given)


def derivatives(output, features, model):
    """First derivatives by boxes and parameters, and those of the gradient's square."""
    parameters = list(model.parameters())
    score = output.logits[:, 1].sum() + output.loss + (output.attention * torch.arange(OBJECTS)).sum()
    (by_boxes,) = torch.autograd.grad(score, features, create_graph=True)
    first = torch.autograd.grad(score, parameters, retain_graph=True, allow_unused=True)
    second = torch.autograd.grad(by_boxes.square().sum(), parameters, allow_unused=True)
    zeros = [torch.zeros_like(p) for p in parameters]
    return [by_boxes, *((z if g is None else g) for z, g in zip(zeros * 2, [*first, *second], strict=True))]


def assert_equal(ours, theirs):
    for name in ("logits", "attention", "loss"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("copies", [1, COPIES])
@pytest.mark.parametrize("name", FILLS)
def test_equals_the_edited_copies(name, copies, padding):
    model, (input_ids, features), labels = tiny_updn(), tiny_inputs(), tiny_labels()
    features.requires_grad_()
    keep, (fill, filled) = keeps(copies), fill_and_copies(name, copies)
    mask = torch.ones(BATCH, OBJECTS, dtype=torch.int64)
    mask[0, 3:] = 0
    mask = mask if padding else None
    full = model(input_ids, features, visual_attention_mask=mask)
    ours = model(
        visual_feats=features, visual_attention_mask=mask, labels=labels, question_embedding=full.question_embedding,
        box_projection=full.box_projection, keep=keep, fill=fill,
    )  # fmt: skip
    repeated = None if mask is None else mask.repeat(copies, 1)
    theirs = edited(
        model, input_ids, features, keep, filled, visual_attention_mask=repeated, labels=labels.repeat(copies, 1)
    )
    assert_equal(ours, theirs)
    for a, b in zip(derivatives(ours, features, model), derivatives(theirs, features, model), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("encoded_rows", [None, BATCH, ROWS])
def test_what_is_passed_in_again_changes_nothing(encoded_rows, training):
    """In training too, but for attention's dropout, which copies share: see below."""
    model, (input_ids, features), labels = tiny_updn(attention_dropout=0.0), tiny_inputs(), tiny_labels()
    full = model(input_ids, features)
    given = {"input_ids": input_ids}
    if encoded_rows is not None:
        given = {"question_embedding": full.question_embedding.repeat(encoded_rows // BATCH, 1)}
        given["box_projection"] = full.box_projection
    model.train(training)
    keep = keeps(COPIES)
    torch.manual_seed(3)
    ours = model(visual_feats=features, keep=keep, fill=-1.0, labels=labels, **given)
    torch.manual_seed(3)
    theirs = edited(model, input_ids, features, keep, torch.tensor(-1.0).double(), labels=labels.repeat(COPIES, 1))
    assert_equal(ours, theirs)


def test_all_boxes_kept_is_the_plain_answer():
    model, (input_ids, features) = tiny_updn(), tiny_inputs()
    full = model(input_ids, features)
    kept = model(input_ids, features, keep=torch.ones(BATCH, OBJECTS, dtype=torch.bool), fill=-1.0)
    torch.testing.assert_close(kept.logits, full.logits, rtol=1e-12, atol=0)
    torch.testing.assert_close(kept.box_projection, full.box_projection, rtol=0, atol=0)


def test_an_encoded_question_serves_several_copies_of_other_boxes():
    model, (input_ids, features) = tiny_updn(), tiny_inputs()
    question = model(input_ids, features).question_embedding
    others = drawn((2 * BATCH, OBJECTS, DIMS), 4)
    ours = model(visual_feats=others, question_embedding=question)
    theirs = model(input_ids.repeat(2, 1), others)
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": torch.ones(BATCH, OBJECTS, dtype=torch.bool)}, "keep is given without fill"),
        ({"fill": 0.0}, "fill is given without keep"),
        ({"keep": torch.ones(BATCH, OBJECTS), "fill": 0.0}, "keep has dtype torch.float32; bool"),
        ({"keep": torch.ones(BATCH + 1, OBJECTS) > 0, "fill": 0.0}, r"keep of shape \(4, 5\).*\(copies \* 3, 5\)"),
        ({"keep": torch.ones(BATCH, 2) > 0, "fill": 0.0}, r"keep of shape \(3, 2\)"),
        ({"keep": torch.ones(BATCH, OBJECTS) > 0, "fill": torch.zeros(2, 1, 1)}, r"fill of shape \(2, 1, 1\)"),
        ({"keep": torch.ones(BATCH, OBJECTS) > 0, "fill": torch.zeros(1, 3, 5, 4)}, r"fill of shape \(1, 3, 5, 4\)"),
        ({"box_projection": torch.zeros(BATCH, 2, 7)}, r"box_projection of shape \(3, 2, 7\) does not belong"),
        ({"question_embedding": torch.zeros(2, 7).double()}, "2 rows cannot be repeated to 3"),
    ],
)
def test_bad_input(given, message):
    model, (input_ids, features) = tiny_updn(), tiny_inputs()
    with pytest.raises(ValueError, match=message):
        model(input_ids, features, **given)


@pytest.mark.parametrize("training", [False, True])
def test_one_question_and_a_copy_for_every_box(training):
    model, (input_ids, features) = tiny_updn(attention_dropout=0.0).train(training), tiny_inputs(1)
    full = model(input_ids, features)
    again = {"question_embedding": full.question_embedding, "box_projection": full.box_projection}
    keep = ~torch.eye(OBJECTS, dtype=torch.bool)
    torch.manual_seed(3)
    ours = model(visual_feats=features, keep=keep, fill=-1.0, **again)
    torch.manual_seed(3)
    theirs = edited(model, input_ids, features, keep, torch.tensor(-1.0).double())
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-12, atol=1e-14)


def test_copies_share_the_units_that_attention_drops():
    model, (input_ids, features) = tiny_updn(attention_dropout=0.5, classifier_dropout=0.0).train(), tiny_inputs()
    keep = torch.ones(3 * BATCH, OBJECTS, dtype=torch.bool)
    keep[2 * BATCH :, 0] = False
    same, again, edited_copy = model(input_ids, features, keep=keep, fill=0.0).attention.chunk(3)
    torch.testing.assert_close(same, again, rtol=0, atol=0)
    assert not torch.isclose(same, edited_copy).any(-1).all()
    other = model(input_ids, features, keep=keep, fill=0.0).attention.chunk(3)[0]
    assert not torch.isclose(same, other).any(-1).all(), "another step draws anew"


def test_one_copy_in_training_is_the_edited_batch():
    model, (input_ids, features) = tiny_updn(attention_dropout=0.5).train(), tiny_inputs()
    keep = keeps(1)
    torch.manual_seed(3)
    ours = model(input_ids, features, keep=keep, fill=-1.0)
    torch.manual_seed(3)
    theirs = edited(model, input_ids, features, keep, torch.tensor(-1.0).double())
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-12, atol=1e-14)
