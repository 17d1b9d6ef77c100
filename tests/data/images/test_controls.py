from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hf_guidance.data.boxes import boxes_to_mask
from hf_guidance.data.images.controls import control_generator, moved_boxes, moved_mask
from hf_guidance.data.images.importance import ImportanceReader


def test_moved_boxes_stay_inside_keep_their_size_and_cover_every_place():
    places = set()
    for image in range(400):
        ((x0, y0, x1, y1),) = moved_boxes([[2, 3, 6, 8]], (10, 12), control_generator(0, str(image), 1))
        assert (x1 - x0, y1 - y0) == (4, 5)
        assert x0 >= 0
        assert y0 >= 0
        assert x1 <= 12
        assert y1 <= 10
        places.add((x0, y0))
    assert len(places) == 9 * 6


def test_a_moved_mask_is_the_same_block_elsewhere():
    mask = np.zeros((9, 9), np.uint8)
    mask[1, 2], mask[3, 4] = 255, 255
    moved = moved_mask(mask, np.random.default_rng(1))
    rows, columns = np.nonzero(moved)
    assert (moved == 255).sum() == 2
    assert (rows[1] - rows[0], columns[1] - columns[0]) == (2, 2)
    assert not moved_mask(np.zeros((4, 4), np.uint8), np.random.default_rng(1)).any()


def test_of_the_outside_of_a_box_the_box_is_moved():
    """The importance of the reversed task of Waterbirds: as one block it could not move at all."""
    outside = np.full((12, 16), 255, np.uint8)
    outside[2:5, 3:7] = 0
    places = {moved_mask(outside, np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert len(places) > 10
    moved = moved_mask(outside, np.random.default_rng(0))
    rows, columns = np.nonzero(moved == 0)
    assert moved.dtype == np.uint8
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1, len(rows)) == (3, 4, 12)


def test_a_map_without_zeros_is_moved_around_the_edges():
    map_ = np.arange(1, 13, dtype=np.uint8).reshape(3, 4)
    moved = [moved_mask(map_, np.random.default_rng(seed)) for seed in range(8)]
    assert all(sorted(m.flatten()) == sorted(map_.flatten()) for m in moved)
    assert any((m != map_).any() for m in moved)
    whole = np.full((3, 4), 255, np.uint8)
    assert (moved_mask(whole, np.random.default_rng(0)) == whole).all()


@pytest.mark.parametrize(
    ("box", "inside"),
    [([3.1, 3.0, 3.9, 9.0], (3, 3, 4, 9)), ([0.2, 0.4, 1.5, 0.6], (0, 0, 2, 1)), ([2, 3, 10, 9], (2, 3, 10, 9))],
)
@pytest.mark.parametrize("seed", [None, 0])
def test_every_pixel_that_a_box_touches_is_inside(box, inside, seed):
    row = {"objects": [{"bbox": box, "category": 1}], "image_id": "a"}
    importance = ImportanceReader("boxes", control_seed=seed)(row, (16, 24), 1, "a row") / 255
    x0, y0, x1, y1 = inside
    assert importance.sum() == (x1 - x0) * (y1 - y0)  # moved boxes keep their area to the pixel
    if seed is None:
        assert importance[y0:y1, x0:x1].all()


def test_drawing_many_boxes_needs_the_memory_of_one_mask():
    class Largest(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.count = max(self.count, result.numel())
            return result

    boxes = torch.tensor([[i, i, i + 2, i + 2] for i in range(50)])
    with Largest() as largest:
        mask = boxes_to_mask(boxes, 60, 60)
    assert mask.sum() == 50 * 4 - 49
    assert largest.count == 60 * 60


@pytest.mark.parametrize("image_id", [3, 3.0, np.int64(3), torch.tensor(3)])
def test_ids_as_text_or_number_draw_the_same_places(image_id):
    row = {"objects": [{"bbox": [2, 2, 5, 5], "category": 1}]}
    read = ImportanceReader("boxes", control_seed=0)
    assert np.array_equal(
        read(row | {"image_id": image_id}, (60, 60), 1, "a row"), read(row | {"image_id": "3"}, (60, 60), 1, "a row")
    )
    with pytest.raises(ValueError, match=r"a row: the id \[3\] is neither text nor a whole number"):
        read(row | {"image_id": [3]}, (60, 60), 1, "a row")
