"""Figures of images of odd forms are neither huge nor empty."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hf_guidance.evaluation.figures import Panel, panel_figure, save_figure


@pytest.mark.parametrize("size", [(4000, 1), (1, 4000), (300, 2), (1, 1)])
def test_a_strip_of_an_image_is_drawn_in_a_picture_of_common_size(size, tmp_path):
    image, values = np.full((*size, 3), 0.5), np.linspace(0, 1, size[0] * size[1]).reshape(size)
    save_figure(panel_figure([[Panel(image), Panel(image, map=values, title="cat 0.93")]] * 2), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        width, height = picture.size
    assert width == 528  # two panels
    assert 60 < height < 1500


def test_common_forms_keep_their_own_height():
    image = np.full((60, 40, 3), 0.5)
    width, height = panel_figure([[Panel(image)]], side=2.0).get_size_inches()
    assert (width, height) == pytest.approx((2.0, 2.0 * 1.5 + 0.3))
