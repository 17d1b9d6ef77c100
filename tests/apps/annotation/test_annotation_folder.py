"""Folders of what is asked: written, read, refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from asked import maps_folder
from PIL import Image

from hf_guidance.apps.annotation import AnnotationFolder, write_annotation_folder, write_patch_folder
from hf_guidance.apps.annotation.drawer import Drawer
from hf_guidance.apps.annotation.items.pictures import heat

ROWS = [{"image": Image.new("RGB", (20, 10), (40 * row, 0, 200))} for row in range(5)]
PATCHES = [
    {"image": 3, "row": 0, "col": 1, "box": [10, 0, 20, 10], "channels": [4, 7]},
    {"image": 3, "row": 0, "col": 0, "box": [0, 0, 10, 10], "channels": [1]},
]


@pytest.fixture
def folder(tmp_path):
    return maps_folder(tmp_path / "asked", 6)


def edited(folder: Path, change) -> Path:
    items = json.loads((folder / "items.json").read_text())
    items = change(items) or items
    (folder / "items.json").write_text(json.dumps(items))
    return folder


def test_maps_there_and_back(tmp_path):
    maps = np.random.default_rng(0).random((5, 3, 4)).astype(np.float32)
    items = AnnotationFolder(write_annotation_folder(ROWS, maps, tmp_path / "asked", question="Is it the bird?"))
    assert (len(items), items.ids, items[2].question) == (5, ["0", "1", "2", "3", "4"], "Is it the bird?")
    assert np.array_equal(items[2].map, maps[2])
    assert items[2].image.getpixel((0, 0)) == (80, 0, 200)
    assert AnnotationFolder(items.folder, "Another?")[0].question == "Another?"
    assert AnnotationFolder(items.folder).fingerprint == items.fingerprint


def test_patches_there_and_back(tmp_path):
    items = AnnotationFolder(write_patch_folder(ROWS, PATCHES, tmp_path / "asked"))
    assert items.ids == ["images/3.png:0:1", "images/3.png:0:0"]
    assert (items[0].box, items.channels(0)) == ((10, 0, 20, 10), [4, 7])
    assert "red rectangle" in items[0].question
    assert [path.name for path in (items.folder / "images").iterdir()] == ["3.png"], "images without a patch stay away"


def test_saved_maps_leave_their_fingerprint(tmp_path):
    class Maps(list):
        fingerprint = "of-a-model"

    one = np.ones((2, 2), np.float32)
    write_annotation_folder(ROWS, Maps([one] * 5), tmp_path / "asked")
    assert json.loads((tmp_path / "asked" / "items.json").read_text())["maps"] == "of-a-model"


@pytest.mark.parametrize("count", [4, 6])
def test_maps_of_another_data_set(tmp_path, count):
    with pytest.raises(ValueError, match=f"{count} maps"):
        write_annotation_folder(ROWS, np.ones((count, 2, 2)), tmp_path / "asked")
    assert not list(tmp_path.iterdir()), "nothing half written"


def test_a_folder_with_something_in_it_is_not_written_over(folder):
    with pytest.raises(ValueError, match="is there already"):
        write_annotation_folder(ROWS, np.ones((5, 2, 2)), folder)


def test_other_items_have_another_fingerprint(folder, tmp_path):
    found = {AnnotationFolder(folder).fingerprint}
    for number, change in enumerate(("map", "image", "id", "order")):
        other = Path(shutil.copytree(folder, tmp_path / str(number)))
        if change == "map":
            maps = np.load(other / "maps.npy")
            maps[5, 0, 0] += 1
            np.save(other / "maps.npy", maps)
        elif change == "image":
            Image.new("RGB", (9, 9)).save(other / "images" / "4.png")
        elif change == "id":
            edited(other, lambda items: items["items"][0].update(id="x"))
        else:
            edited(other, lambda items: items["items"].reverse())
        found.add(AnnotationFolder(other).fingerprint)
    assert len(found) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda items: {"items": []}, "holds no items"),
        (lambda items: [1], "holds no items"),
        (lambda items: items["items"][1].update(image="../secret.png"), r"item 1: '../secret.png' lies outside"),
        (lambda items: items["items"][1].update(image="images/../../secret.png"), "lies outside"),
        (lambda items: items["items"][1].update(image="/etc/passwd"), "lies outside"),
        (lambda items: items["items"][1].update(image="..\\secret.png"), "lies outside"),
        (lambda items: items["items"][1].update(image=5), "image is 5"),
        (lambda items: items["items"][1].update(image="images/99.png"), "'images/99.png' cannot be read"),
        (lambda items: items["items"][1].update(id="image-0"), "'image-0' is there twice"),
        (lambda items: items["items"][1].update(box=[1, 2, 3]), r"box is \[1, 2, 3\]"),
        (lambda items: items["items"][1].update(box=[5, 0, 1, 2]), "box is"),
        (lambda items: items["items"].__delitem__(0), r"shape \(6, 7, 7\); it must be .* \(5, h, w\)"),
    ],
)
def test_items_that_are_wrong(folder, change, message):
    with pytest.raises(ValueError, match=message):
        AnnotationFolder(edited(folder, change))


def test_files_that_are_damaged_or_missing(folder):
    whole = (folder / "maps.npy").read_bytes()
    (folder / "maps.npy").write_bytes(whole[:200])
    with pytest.raises(ValueError, match="cannot be read as maps"):
        AnnotationFolder(folder)
    (folder / "maps.npy").unlink()
    with pytest.raises(ValueError, match=r"neither maps\.npy nor a box"):
        AnnotationFolder(folder)
    (folder / "items.json").write_text("[{")
    with pytest.raises(ValueError, match="not well-formed JSON"):
        AnnotationFolder(folder)
    with pytest.raises(ValueError, match=r"has no items.json; write such a folder"):
        AnnotationFolder(folder / "images")


def test_pickled_maps_are_refused(folder):
    np.save(folder / "maps.npy", np.asarray([{}] * 6, object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read as maps"):
        AnnotationFolder(folder)


def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path):
    Image.new("RGB", (5, 5)).save(tmp_path / "secret.png")
    (folder / "images" / "2.png").unlink()
    (folder / "images" / "2.png").symlink_to(tmp_path / "secret.png")
    items = AnnotationFolder(folder)
    with pytest.raises(ValueError, match="leads out of"):
        items[2]


def test_a_map_is_drawn_in_red(folder):
    item = AnnotationFolder(folder)[0]
    ((heading, ((_, image), (_, over), (_, alone))),) = item.groups()
    assert heading == ""
    assert image.size == over.size == alone.size == (320, 240)
    red = np.asarray(alone)
    assert red[..., 1:].max() == 0
    assert red[..., 0].max() > 200
    assert np.asarray(over)[..., 0].mean() > np.asarray(image)[..., 0].mean()


@pytest.mark.parametrize(
    "values", [np.zeros((2, 2)), -np.ones((2, 2)), np.full((2, 2), np.nan), np.full((2, 2), np.inf)]
)
def test_a_map_without_numbers_above_zero_is_black(values):
    assert heat(values, (8, 8)).max() == 0


def test_a_patch_is_a_red_rectangle(tmp_path):
    item = AnnotationFolder(write_patch_folder(ROWS, PATCHES, tmp_path / "asked"))[0]
    ((_, ((_, image), (_, shown))),) = item.groups()
    changed = np.argwhere((np.asarray(image) != np.asarray(shown)).any(-1))
    assert changed.min(0).tolist() == [0, 160]
    assert changed.max(0).tolist() == [159, 319]
    assert shown.getpixel((160, 0)) == (255, 0, 0)


def test_pictures_are_addresses_that_hold_them(folder):
    draw = Drawer(AnnotationFolder(folder))
    question, text, ((_, found),) = draw(0)
    draw.prepare(1)
    assert [address[:23] for _, address in found] == ["data:image/jpeg;base64,"] * 3
    assert (question, text) == ("Does the model look at the right thing?", "")
    draw.close()
