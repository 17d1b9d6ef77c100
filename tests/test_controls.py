from __future__ import annotations

import numpy as np

from hf_guidance.controls import control_generator, moved_boxes, moved_mask


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
