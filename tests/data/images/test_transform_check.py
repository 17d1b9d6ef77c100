"""A transform of rows that changes the size of pixels and leaves their boxes is found before training."""

from __future__ import annotations

import logging
import random

import datasets
import numpy as np
import pytest
import torch
from photo_rows import rows_of
from torchvision import transforms as v1
from torchvision.transforms import v2

from hf_guidance.data import JointTransform
from hf_guidance.data.images.transform_check import refuse_left_behind

TENSOR = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
SOURCES = ("importance", "mask", "objects")


def recipe(*steps):
    """As the examples of transformers do it: the image alone."""
    pipeline = v1.Compose([*steps, v1.ToTensor()])

    def transform(batch):
        made = {name: values for name, values in batch.items() if name != "image"}
        return {**made, "pixel_values": [pipeline(image.convert("RGB")) for image in batch["image"]]}

    return transform


@pytest.mark.parametrize("steps", [[v1.Resize((10, 20))], [v1.RandomResizedCrop(16)], [v1.CenterCrop(20)]])
def test_pixels_of_another_size_than_their_boxes_are_refused(steps):
    rows, state = rows_of().with_transform(recipe(*steps)), torch.random.get_rng_state()
    own = random.getstate()
    with pytest.raises(ValueError, match=r"from an image of \(20, 40\).*leaves \['mask', 'objects'\].*JointTransform"):
        refuse_left_behind(rows, SOURCES)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert random.getstate() == own


def raw(batch):
    """A transform that does not look at the image."""
    made = {name: values for name, values in batch.items() if name != "image"}
    return {**made, "pixel_values": [torch.zeros(3, 24, 40) for _ in batch["labels"]]}


def stored(kind):
    """The rows with images that are not decoded, or arrays."""
    rows = rows_of()
    if kind == "bytes":
        return rows.cast_column("image", datasets.Image(decode=False))
    shape = {"channels first": (3, 20, 40), "channels last": (20, 40, 3), "unknown": (2, 20, 40)}[kind]
    return rows.remove_columns("image").add_column(
        "image", [np.zeros(shape, np.uint8).tolist()] * 2, feature=datasets.Array3D(shape, "uint8")
    )


@pytest.mark.parametrize("kind", ["bytes", "channels first", "channels last", "unknown"])
def test_images_of_every_type_have_a_size(kind, caplog):
    rows = stored(kind).with_transform(raw)
    if kind == "unknown":
        refuse_left_behind(rows, SOURCES)
        assert "the size of an image of type list is not known" in caplog.text
    else:
        with pytest.raises(
            ValueError, match=r"pixel_values of \(24, 40\) from an image of \(20, 40\).*is v2\.Pad there"
        ):
            refuse_left_behind(rows, SOURCES)


def test_padding_leaves_boxes_where_they_are():
    rows = rows_of().with_transform(JointTransform(v2.Compose([v2.Pad([0, 0, 8, 12]), *TENSOR])))
    refuse_left_behind(rows, SOURCES)
    assert rows[0]["pixel_values"].shape == (3, 32, 48)
    assert [entry["bbox"] for entry in rows[0]["objects"]] == [entry["bbox"] for entry in rows_of()[0]["objects"]]


def test_a_joint_transform_that_is_shown_the_image_alone_is_refused():
    transform = JointTransform(v2.Compose([v2.Resize((10, 20)), *TENSOR]))
    rows = rows_of().with_transform(transform, columns=["image"], output_all_columns=True)
    with pytest.raises(ValueError, match=r"leaves \['mask', 'objects'\] as they were"):
        refuse_left_behind(rows, SOURCES)


def test_random_pixels_of_the_same_size_are_said(caplog):
    with caplog.at_level(logging.WARNING):
        refuse_left_behind(rows_of().with_transform(recipe(v1.RandomHorizontalFlip(0.5))), SOURCES)
    assert "is random, and leaves ['mask', 'objects'] as they were" in caplog.text


@pytest.mark.parametrize(
    "rows",
    [
        rows_of(),
        rows_of().with_format("torch"),
        rows_of().with_transform(recipe()),
        rows_of().with_transform(JointTransform(v2.Compose([v2.RandomResizedCrop(8), *TENSOR]))),
        rows_of().with_transform(lambda batch: batch),
        rows_of().select_columns(["image", "labels"]).with_transform(recipe(v1.Resize(8))),
        rows_of().to_iterable_dataset(),
        list(rows_of()),
        None,
    ],
)
def test_nothing_else_is_touched(rows, caplog):
    refuse_left_behind(rows, SOURCES)
    assert not caplog.text
