"""Links and hidden files among raw files: one that is gone is refused or counted, a linked folder is read once."""

import numpy as np
import pytest
from PIL import Image
from raw_folders import make_coco, make_voc
from raw_questions import make_clevr_xai, make_vqa_hat

from hf_guidance.data.images.image_files import FileIndex, files_below

LINKED = {  # builder -> its raw folder, a folder of images in it, and options
    "pascal_voc": (make_voc, "JPEGImages", {}),
    "coco_objects": (make_coco, "images", {}),
    "vqa_hat": (make_vqa_hat, "maps", {"maps_dir": "maps"}),
    "clevr_xai": (make_clevr_xai, "images", {}),
}


@pytest.mark.parametrize("name", LINKED)
def test_a_link_that_leads_back_adds_nothing(name, tmp_path, prepare):
    make, folder, options = LINKED[name]
    root = make(tmp_path / "raw")
    before, _ = prepare(name, data_dir=str(root), **options)
    for place in ("self", "up"):
        (root / folder / place).symlink_to(root / folder if place == "self" else root, target_is_directory=True)
    after, builder = prepare(name, data_dir=str(root), **options)
    assert after.num_rows == before.num_rows
    assert "in no split file" not in builder.report


def test_hidden_files_and_folders_are_no_data(tmp_path):
    for name in (
        "a.png",
        ".DS_Store",
        "._a.png",
        "part/b.png",
        "part/._b.png",
        ".thumbnails/a.png",
        "part/.trash/b.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert FileIndex(str(tmp_path)).names == ["a.png", "loop", "part/b.png"]
    assert list(files_below(str(tmp_path / "a.png"))) == list(files_below(str(tmp_path / "nowhere"))) == []


def test_a_folder_that_must_not_be_read_is_named(tmp_path, monkeypatch):
    def scandir(folder):
        raise PermissionError("no right")

    monkeypatch.setattr("os.scandir", scandir)
    with pytest.raises(ValueError, match=rf"{tmp_path} cannot be read \(no right\)"):
        list(files_below(str(tmp_path)))


def test_folders_that_are_linked_crosswise(tmp_path):
    for here, there in ("ab", "ba"):
        (tmp_path / here).mkdir(exist_ok=True)
        (tmp_path / here / f"{here}.jpg").touch()
        (tmp_path / there).mkdir(exist_ok=True)
        (tmp_path / here / "link").symlink_to(tmp_path / there, target_is_directory=True)
    found = [path.removeprefix(f"{tmp_path}/") for path in files_below(str(tmp_path / "a"))]
    assert found == ["a/a.jpg", "a/link/b.jpg"]


@pytest.mark.parametrize("name", ["pascal_voc", "coco_objects", "vqa_hat", "clevr_xai"])
def test_a_link_to_nothing_is_refused_or_counted(name, tmp_path, prepare):
    make, folder, options = LINKED[name]
    root = make(tmp_path / "raw")
    gone = min((root / folder).iterdir())
    gone.unlink()
    gone.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=gone.name):
        prepare(name, data_dir=str(root), **options)
    splits, builder = prepare(name, data_dir=str(root), invalid="skip", **options)
    assert builder.report
    assert splits["train"].num_rows


def test_an_annotation_file_that_is_gone(tmp_path, prepare):
    root = make_voc(tmp_path / "raw")
    (root / "Annotations" / "0.xml").unlink()
    (root / "Annotations" / "0.xml").symlink_to(tmp_path / "nowhere.xml")
    with pytest.raises(ValueError, match=r"0\.xml: it is a link to a file that does not exist"):
        prepare("pascal_voc", data_dir=str(root))
    splits, builder = prepare("pascal_voc", data_dir=str(root), invalid="skip")
    assert splits["train"]["image_id"][:] == ["1", "2", "3"]
    assert builder.report["link to a missing file"]["count"] == 1


def test_images_of_a_linked_folder_are_in_the_cache_key(tmp_path, prepare):
    root = make_coco(tmp_path / "raw")
    (tmp_path / "elsewhere").mkdir()
    (root / "images" / "0.jpg").rename(tmp_path / "elsewhere" / "0.jpg")
    (root / "images" / "part").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert np.asarray(prepare("coco_objects", data_dir=str(root))[0]["train"][0]["image"]).max() > 0
    Image.new("RGB", (40, 30)).save(tmp_path / "elsewhere" / "0.jpg")
    assert np.asarray(prepare("coco_objects", data_dir=str(root))[0]["train"][0]["image"]).max() == 0
