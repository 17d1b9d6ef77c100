"""Grown boxes in the collator: the published rule, training only, and nothing but boxes."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTImageProcessor

from hf_guidance import GuidanceCollator
from hf_guidance.data.boxes import boxes_to_mask, dilate_boxes
from hf_guidance.data.images.importance import ImportanceReader

SAME = ViTImageProcessor(size={"height": 224, "width": 224})
FILE = "model_guidance/boxes_and_annotations"


def row(boxes, categories=None, **more):
    categories = categories or [0] * len(boxes)
    objects = [{"bbox": list(box), "category": int(c)} for box, c in zip(boxes, categories, strict=True)]
    image = Image.new("RGB", (224, 224))
    return {"image": image, "image_id": "a", "labels": sorted(set(map(int, categories))), "objects": objects} | more


@pytest.mark.parametrize("fraction", ["0.0", "0.1", "0.25", "0.5"])
def test_boxes_grow_as_in_the_released_code(golden, agree, fraction):
    data = golden(FILE)
    collator = GuidanceCollator(SAME, num_labels=1, source="boxes", box_dilation=float(fraction))
    ours = collator([row([box]) for box in data["boxes"].tolist()])["importance"]
    theirs = torch.stack([boxes_to_mask(torch.from_numpy(box[None]), 224, 224) for box in data[f"dilated_{fraction}"]])
    agree(FILE, ours, theirs, 0.0)


def test_boxes_of_a_class_are_those_of_the_released_filter(golden, agree):
    data = golden(FILE)
    given = row(data["boxes"].tolist(), data["box_class"].tolist())
    collator = GuidanceCollator(SAME, "multi_label_classification", 6)
    batch = collator([given])
    index = batch["target"].tolist().index(int(data["filter_class"]))
    agree(FILE, batch["importance"][index], boxes_to_mask(torch.from_numpy(data["filter_result"]), 224, 224), 0.0)
    for c, importance in zip(batch["target"].tolist(), batch["importance"], strict=True):
        assert torch.equal(importance, boxes_to_mask(torch.from_numpy(data["boxes"][data["box_class"] == c]), 224, 224))


def test_the_share_is_of_the_image_as_it_was():
    # 40 x 20 pixels of a 100 x 50 image grow by 10 and 5 on each side, whatever the processor makes of them.
    given = {**row([(30, 20, 70, 40)]), "image": Image.new("RGB", (100, 50))}
    processor = ViTImageProcessor(size={"height": 50, "width": 100})
    batch = GuidanceCollator(processor, num_labels=1, box_dilation=0.25)([given])
    assert torch.equal(batch["importance"][0], boxes_to_mask([[20, 15, 80, 45]], 50, 100))


@pytest.mark.parametrize(
    ("box", "grown"),
    [
        ((214, 0, 224, 224), (212, 0, 224, 224)),
        ((223, 100, 224, 110), (223, 98, 224, 112)),  # the published rule would leave nothing of it
        ((0, 200, 224, 224), (0, 194, 224, 224)),
        ((0, 0, 224, 224), (0, 0, 224, 224)),
    ],
)
def test_a_box_at_the_far_edge_does_not_shrink(box, grown):
    ours = ImportanceReader("boxes", dilation=0.25)(row([box]), (224, 224), 0, "a row") > 0
    assert np.array_equal(ours, boxes_to_mask([grown], 224, 224).numpy() > 0)
    published = boxes_to_mask(dilate_boxes(torch.tensor([box]), 0.25, 224, 224), 224, 224).numpy() > 0
    assert not (published & ~ours).any()
    assert published.sum() < ours.sum()


def test_boxes_grow_before_the_control_moves_them():
    options = {"num_labels": 1, "control_seed": 3}
    rows = [row([(60, 60, 100, 80)], image_id=str(index)) for index in range(6)]
    moved, grown = (GuidanceCollator(SAME, box_dilation=share, **options)(rows) for share in (0.0, 0.5))
    assert moved["importance"].sum((1, 2)).tolist() == [40 * 20] * 6
    assert grown["importance"].sum((1, 2)).tolist() == [80 * 40] * 6  # wholly inside: places were drawn for its size
    again = GuidanceCollator(SAME, box_dilation=0.5, **options)(rows)
    assert torch.equal(grown["importance"], again["importance"])


def test_evaluation_takes_a_collator_of_its_own():
    training = GuidanceCollator(SAME, num_labels=1, box_dilation=0.5)
    plain = training.for_evaluation()([row([(60, 60, 100, 80)])])
    assert plain["importance"].sum() == 40 * 20
    assert training([row([(60, 60, 100, 80)])])["importance"].sum() == 80 * 40


def test_rows_without_boxes_need_none():
    collator = GuidanceCollator(SAME, num_labels=1, box_dilation=0.5)
    assert collator([row([], labels=[0]), row([(0, 0, 9, 9)])])["annotated"] == [False, True]


@pytest.mark.parametrize("share", [-0.1, float("nan"), float("inf")])
def test_no_share_of_a_box(share):
    with pytest.raises(ValueError, match=r"box_dilation=.*allowed is a share of the box, 0 or more"):
        GuidanceCollator(SAME, num_labels=1, box_dilation=share)


@pytest.mark.parametrize("source", ["mask", "importance"])
def test_sources_without_boxes_are_refused(source):
    with pytest.raises(ValueError, match=f"box_dilation=0.1 grows boxes, and source='{source}' has none"):
        GuidanceCollator(SAME, num_labels=1, source=source, box_dilation=0.1)
    column = {source: np.ones((224, 224))}
    with pytest.raises(ValueError, match=rf"image_id 'a'.*column '{source}'.*box_dilation=0\.1 grows boxes only"):
        GuidanceCollator(SAME, num_labels=1, box_dilation=0.1)([row([(0, 0, 9, 9)], **column)])
    both = GuidanceCollator(SAME, num_labels=1, source="boxes", box_dilation=0.1)([row([(5, 5, 15, 15)], **column)])
    assert both["importance"].sum() == 12 * 12
