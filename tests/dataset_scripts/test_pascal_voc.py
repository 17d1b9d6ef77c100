"""pascal_voc against the counts and files of real data sets, VOC's own rules, and every kind of bad input."""

import os
import re
from collections import Counter
from pathlib import Path

import pytest
from raw_folders import make_voc, voc_object, write_image, write_xml


def boxes(dataset) -> list:
    return [[entry["bbox"] for entry in row["objects"]] for row in dataset]


def count_classes(splits) -> Counter:
    names = splits["train"].features["labels"].feature.names
    rows = (row for split in splits.values() for row in split.remove_columns("image"))
    return Counter(names[entry["category"]] for row in rows for entry in row["objects"])


@pytest.mark.parametrize(
    ("folder", "rows", "counts"),
    [
        ("bccd_voc", {"train": 205, "validation": 87, "test": 72}, {"RBC": 4153, "WBC": 372, "Platelets": 361}),
        (
            "cards_voc",
            {"train": 296, "test": 67},
            {"king": 118, "ace": 118, "nine": 115, "jack": 113, "queen": 106, "ten": 100},
        ),
    ],
)
def test_real_data(folder, rows, counts, shared, prepare):
    root = shared(folder)
    splits, builder = prepare("pascal_voc", data_dir=root)
    assert {name: len(split) for name, split in splits.items()} == rows
    assert count_classes(splits) == counts
    names = builder.info.features["labels"].feature.names
    assert names == sorted(counts)
    for row in splits["test"].select(range(20)):
        text = (Path(root) / "Annotations" / f"{row['image_id']}.xml").read_text()
        expected = []
        for name, numbers in re.findall(r"<object>.*?<name>(.*?)</name>.*?<bndbox>(.*?)</bndbox>", text, re.DOTALL):
            value = dict(re.findall(r"<(\w+)>([\d.]+)</", numbers))
            corners = [int(value["xmin"]) - 1, int(value["ymin"]) - 1, int(value["xmax"]), int(value["ymax"])]
            expected.append({"bbox": [float(corner) for corner in corners], "category": names.index(name)})
        assert row["objects"] == expected
    assert builder.report == {}


def test_number_of_classes_per_image(shared, prepare):
    splits, _ = prepare("pascal_voc", data_dir=shared("bccd_voc"))
    assert Counter(len(labels) for split in splits.values() for labels in split["labels"]) == {3: 190, 2: 164, 1: 10}


def test_boxes_from_one_or_from_zero(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    splits, builder = prepare("pascal_voc", data_dir=str(root))
    assert boxes(splits["train"]) == [[[4, 5, 40, 30], [0, 0, 10, 10]]]
    assert builder.info.features["labels"].feature.names == ["cat", "dog"]
    splits, _ = prepare("pascal_voc", data_dir=str(root), one_based=False)
    assert boxes(splits["train"]) == [[[5, 6, 40, 30], [1, 1, 10, 10]]]


@pytest.mark.parametrize("inner", ["VOC2007", "VOCdevkit/VOC2007"])
def test_root_inside_data_dir(inner, tmp_path, prepare):
    make_voc(tmp_path / "raw" / inner)
    splits, _ = prepare("pascal_voc", data_dir=str(tmp_path / "raw"))
    assert len(splits["train"]) == 4


def test_root_must_be_clear(tmp_path, build):
    with pytest.raises(ValueError, match="data_dir: got None; pass the folder"):
        build("pascal_voc")
    with pytest.raises(ValueError, match=r"no Annotations folder in .*nowhere"):
        build("pascal_voc", data_dir=str(tmp_path / "nowhere"))
    for year in ("VOC2007", "VOC2012"):
        make_voc(tmp_path / "VOCdevkit" / year, 1)
    with pytest.raises(ValueError, match=r"several data sets; pass one of .*VOC2007, .*VOC2012"):
        build("pascal_voc", data_dir=str(tmp_path))


def test_flags(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    flagged = voc_object("cow", flags="<difficult>1</difficult>") + voc_object("ewe", flags="<truncated>1</truncated>")
    write_xml(root / "Annotations" / "0.xml", voc_object() + flagged)
    splits, builder = prepare("pascal_voc", data_dir=str(root))
    assert splits["train"][0]["labels"] == [0, 1, 2]
    splits, builder = prepare("pascal_voc", data_dir=str(root), difficult="drop")
    assert splits["train"][0]["labels"] == [0, 2]
    assert builder.report["difficult object, dropped on request"]["count"] == 1
    splits, builder = prepare("pascal_voc", data_dir=str(root), difficult="drop", truncated="drop")
    assert splits["train"][0]["labels"] == [0]
    assert builder.info.features["labels"].feature.names == ["cat", "cow", "ewe"]


def test_parts_are_not_classes(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>"
    write_xml(root / "Annotations" / "0.xml", voc_object("person").replace("</object>", f"{part}</object>"))
    splits, builder = prepare("pascal_voc", data_dir=str(root))
    assert builder.info.features["labels"].feature.names == ["person"]
    assert boxes(splits["train"]) == [[[0, 0, 10, 10]]]


@pytest.mark.parametrize("extension", [".JPG", ".JPEG", ".png", ".PNG", ".jpeg"])
@pytest.mark.parametrize("filename", ["0", "0.jpg", "0.bmp", "C:\\photos\\0.jpg", "other.jpg"])
def test_file_names_and_extensions(extension, filename, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    (root / "JPEGImages" / "0.jpg").unlink()
    write_image(root / "JPEGImages" / f"0{extension}")
    write_xml(root / "Annotations" / "0.xml", voc_object(), filename=filename)
    splits, _ = prepare("pascal_voc", data_dir=str(root))
    assert splits["train"][0]["image"].size == (40, 30)


def test_file_name_leads_where_the_id_does_not(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    (root / "JPEGImages" / "0.jpg").rename(root / "JPEGImages" / "IMG 1.JPG")
    write_xml(root / "Annotations" / "0.xml", voc_object(), filename="IMG 1.jpg")
    splits, _ = prepare("pascal_voc", data_dir=str(root))
    assert splits["train"]["image_id"][:] == ["0"]


def test_split_files(tmp_path, prepare):
    root = make_voc(tmp_path / "raw")
    main = root / "ImageSets" / "Main"
    (main / "val.txt").unlink()
    (main / "cat_train.txt").write_text("0 1\n1 -1\n")  # VOC's lists per class are no splits
    (main / "trainval.txt").write_text("0.jpg\n2\n\n2\n")
    (main / "train.txt").write_text("1\r\n0\r\n")
    splits, builder = prepare("pascal_voc", data_dir=str(root))
    assert {name: split["image_id"][:] for name, split in splits.items()} == {
        "train": ["1", "0"],
        "trainval": ["0", "2"],
    }
    assert builder.report["listed twice in a split file"]["count"] == 1
    assert builder.report["in no split file"] == {"count": 1, "examples": ["3"]}


def test_without_split_files_everything_is_train(tmp_path, prepare):
    root = make_voc(tmp_path / "raw")
    for file in (root / "ImageSets" / "Main").iterdir():
        file.unlink()
    splits, _ = prepare("pascal_voc", data_dir=str(root))
    assert splits["train"]["image_id"][:] == ["0", "1", "2", "3"]
    assert list(splits) == ["train"]


@pytest.mark.parametrize(
    "size",
    [
        "",
        "<size/>",
        "<size><width>0</width><height>0</height></size>",
        "<size><width>40</width><height>?</height></size>",
    ],
)
def test_missing_size_is_read_from_the_image_and_counted(size, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 2)
    write_xml(root / "Annotations" / "1.xml", voc_object(), size=size)
    splits, builder = prepare("pascal_voc", data_dir=str(root))
    assert len(splits["train"]) == 2
    report = builder.report["size missing or 0, read from the image"]
    assert report == {"count": 1, "examples": [str(root / "Annotations" / "1.xml")]}
    assert builder.report.keys() == {"size missing or 0, read from the image"}


def test_rotated_photos_are_measured_as_they_are_decoded(tmp_path, prepare):
    from PIL import Image

    root = make_voc(tmp_path / "raw", 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 40)).save(root / "JPEGImages" / "0.jpg", exif=exif)
    splits, _ = prepare("pascal_voc", data_dir=str(root))
    assert splits["train"][0]["image"].size == (40, 30)


@pytest.mark.parametrize("changed", ["Annotations", "ImageSets", "JPEGImages", "nothing"])
def test_changed_files_are_read_again(changed, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 2)
    _, before = prepare("pascal_voc", data_dir=str(root))
    if changed == "Annotations":
        path = root / "Annotations" / "0.xml"
        times = path.stat()
        path.write_text(path.read_text().replace("<xmax>10<", "<xmax>12<"))  # same length
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif changed == "ImageSets":
        (root / "ImageSets" / "Main" / "train.txt").write_text("0\n")
    elif changed == "JPEGImages":
        write_image(root / "JPEGImages" / "0.png")
        (root / "JPEGImages" / "0.jpg").unlink()
    splits, after = prepare("pascal_voc", data_dir=str(root))
    assert (after.cache_dir == before.cache_dir) == (changed == "nothing")
    if changed == "Annotations":
        assert splits["train"][0]["objects"][1]["bbox"] == [0, 0, 12, 10]
    elif changed == "ImageSets":
        assert len(splits["train"]) == 1
    elif changed == "JPEGImages":
        assert splits["train"][0]["image"].format == "PNG"


def test_no_object_anywhere(tmp_path, build):
    root = make_voc(tmp_path / "raw", 1)
    write_xml(root / "Annotations" / "0.xml", "")
    with pytest.raises(ValueError, match="no object in any annotation file"):
        build("pascal_voc", data_dir=str(root))
