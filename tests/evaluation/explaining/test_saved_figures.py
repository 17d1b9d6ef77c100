"""Figures of explanations: colours by sign, frames, and files that are whole or absent."""

import json

import numpy as np
import pytest
from kills import KILLED, kill_before
from nets import OnePixel, photo
from PIL import Image
from tiny import make_batch, tiny_model
from transformers import CLIPImageProcessor, ViTImageProcessor

from hf_guidance import explain
from hf_guidance.evaluation.figures import Panel, attribution_figure, panel_figure, save_figure

GREY = np.full((20, 30, 3), 0.5)
PIXELS = make_batch(3)["pixel_values"]
RESIZE = ViTImageProcessor(size={"height": 8, "width": 8})


def overlay(panel, signed_by=None):
    """The colours of a panel's map, beside another panel."""
    others = [] if signed_by is None else [Panel(GREY, map=signed_by)]
    return panel_figure([[panel, *others]]).axes[0].images[1].get_array()


def test_positive_maps_have_one_colour_and_signed_ones_two():
    values = np.zeros((20, 30))
    values[5, 5], values[10, 10] = 1, 0.5
    colours = overlay(Panel(GREY, map=values))
    assert colours[5, 5, 0] > colours[5, 5, 2]  # red
    assert colours[5, 5, 3] > colours[10, 10, 3] > colours[0, 0, 3] == 0
    values[10, 10] = -1
    signed = overlay(Panel(GREY, map=values))
    assert signed[5, 5, 0] > 0.9 > 0.1 > signed[5, 5, 2]
    assert signed[10, 10, 2] > 0.9 > 0.1 > signed[10, 10, 0]
    assert signed[0, 0, 3] == 0
    positive = np.abs(values)
    beside = overlay(Panel(GREY, map=positive), signed_by=values)
    assert np.allclose(beside[5, 5], signed[5, 5])  # one meaning of red in a figure


def test_maps_of_nothing_and_nan_are_drawn_as_nothing():
    for values in (np.zeros((20, 30)), np.full((20, 30), np.nan)):
        assert not overlay(Panel(GREY, map=values))[..., 3].any()


def test_a_figure_has_a_line_per_image_and_a_panel_per_class():
    found = explain(tiny_model("resnet"), PIXELS, target=[[0, 1], 1, 2])
    titles = [axis.get_title() for axis in found.plot().axes]
    assert titles[0] == "image 0"
    assert titles[1].startswith("LABEL_0 0.")
    assert [title.split(" ")[0] for title in titles] == [
        "image", "LABEL_0", "LABEL_1", "image", "LABEL_1", "", "image", "LABEL_2", "",
    ]  # fmt: skip


def test_what_a_crop_leaves_is_framed():
    crop = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    figure = explain(OnePixel(2, 2), photo(40, 80), crop, attribution="InputXGradient").plot()
    (frame,) = figure.axes[1].patches
    assert (frame.get_x(), frame.get_width()) == (19.5, 40)
    whole = explain(OnePixel(2, 2), photo(40, 80), RESIZE, attribution="InputXGradient").plot()
    assert not whole.axes[1].patches


def test_a_large_photo_is_drawn_small():
    found = explain(OnePixel(2, 2), photo(900, 1200), RESIZE, attribution="InputXGradient")
    assert found.plot().axes[1].images[0].get_array().shape == (300, 400, 3)
    assert found[0].map.shape == (900, 1200)


@pytest.mark.parametrize("name", ["maps.png", "maps.pdf", "maps.svg", "new/maps.jpg"])
def test_one_file(tmp_path, name):
    found = explain(tiny_model("resnet"), PIXELS)
    assert found.save(tmp_path / name) == [tmp_path / name]
    assert (tmp_path / name).stat().st_size > 3000
    assert found[0].save(str(tmp_path / name)) == [tmp_path / name]


def test_a_folder_has_a_picture_per_image_and_a_summary(tmp_path):
    for name in ("a/cat.png", "b/cat.png"):
        (tmp_path / name).parent.mkdir()
        photo(20, 30).save(tmp_path / name)
    given = [tmp_path / "a/cat.png", tmp_path / "b/cat.png", photo(9, 9)]
    found = explain(OnePixel(2, 2), given, RESIZE, attribution="InputXGradient", top_k=2)
    files = found.save(tmp_path / "maps")
    assert [file.name for file in files] == ["00000-cat.png", "00001-cat.png", "00002-image_2.png", "explanations.json"]
    assert all(Image.open(file).format == "PNG" for file in files[:3])
    entries = json.loads(files[-1].read_text())["explanations"]
    assert [entry["picture"] for entry in entries] == [file.name for file in files[:3] for _ in range(2)]
    assert entries[0]["image"] == str(tmp_path / "a/cat.png")
    assert entries[0]["score"] == pytest.approx(found[0].score)


def test_refusals(tmp_path):
    found = explain(tiny_model("resnet"), PIXELS)
    with pytest.raises(ValueError, match=r"maps\.doc: 'doc' is no format of a picture; choose one of"):
        found.save(tmp_path / "maps.doc")
    with pytest.raises(ValueError, match="nothing to draw"):
        panel_figure([])
    with pytest.raises(ValueError, match="nothing to draw"):
        found[:0].plot()
    many = explain(OnePixel(0, 0), PIXELS[:1].repeat(41, 1, 1, 1), attribution="InputXGradient")
    with pytest.raises(ValueError, match="41 images are too many for one figure"):
        many.plot()


def test_a_killed_save_leaves_no_half_file(tmp_path):
    found = explain(OnePixel(2, 2), PIXELS[:2], attribution="InputXGradient")
    found.save(tmp_path / "warm.png")
    folder, deaths = tmp_path / "maps", 0
    for operation in range(1, 40):
        killed = kill_before(operation, folder, lambda: found.save(folder)) == KILLED
        whole = [file for file in folder.glob("*") if not file.name.startswith(".")]
        for file in whole:
            if file.suffix == ".png":
                Image.open(file).load()
            else:
                assert len(json.loads(file.read_text())["explanations"]) == 2
                assert len(whole) == 3
        deaths += killed
        if not killed:
            break
    assert deaths > 5
    assert not killed
    assert not list(folder.glob(".*"))


def test_figures_of_the_demo_stay(tmp_path):
    rows = [
        {
            "image": GREY,
            "before": np.ones((20, 30)),
            "after": -np.ones((20, 30)),
            "boxes": [[1, 2, 5, 6]],
            "titles": {"before": "b"},
        }
    ]
    attribution_figure(rows, ("before", "after"), tmp_path / "new" / "grid.png")
    assert Image.open(tmp_path / "new" / "grid.png").size[0] > 300
    with pytest.raises(ValueError, match="nothing to draw"):
        attribution_figure([], ("before",), tmp_path / "none.png")
    save_figure(panel_figure([[Panel(GREY, boxes=[[1, 2, 5, 6]])]]), tmp_path / "boxes.png")


def test_a_file_without_a_suffix_is_no_folder(tmp_path):
    (tmp_path / "maps").write_text("notes")
    with pytest.raises(ValueError, match=r"maps is a file without a suffix"):
        explain(OnePixel(2, 2), PIXELS, target=0, attribution="InputXGradient").save(tmp_path / "maps")
    assert (tmp_path / "maps").read_text() == "notes"


def test_no_explanations_have_no_logits():
    found = explain(OnePixel(2, 2), PIXELS, target=0, attribution="InputXGradient")[:0]
    assert (found.logits.shape, found.scores.shape, len(found.maps), found.labels) == ((0, 0), (0,), 0, [])
