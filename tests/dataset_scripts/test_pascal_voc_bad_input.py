"""pascal_voc against every kind of bad input: named when it raises, counted when it is skipped."""

import os
import re

import pytest
from raw_folders import make_voc, voc_object, write_image, write_xml


def replace(objects="", **others):
    return lambda root: write_xml(root / "Annotations" / "0.xml", voc_object() + objects, **others)


def truncate(root):
    path = root / "JPEGImages" / "0.jpg"
    path.write_bytes(path.read_bytes()[:-300])


# what is done to the folder, the reason it is counted under, what the error must say, the objects that stay (None: no row)
BAD = {
    "outside": (replace(voc_object(box=(42, 1, 60, 30))), "box outside the image", r"xmax <= 40", 1),
    "before": (replace(voc_object(box=(-9, 2, 0, 5))), "box outside the image", r"one_based=False", 1),
    "reversed": (replace(voc_object(box=(10, 1, 4, 5))), "box reversed", r"xmin < xmax", 1),
    "by one": (replace(voc_object(box=(10, 1, 9, 5))), "box reversed", r"xmin < xmax", 1),
    "width": (replace(voc_object(box=(10, 1, 10, 5))), "box of zero width or height", r"xmin < xmax", 1),
    "height": (replace(voc_object(box=(1, 5, 9, 5))), "box of zero width or height", r"ymin < ymax", 1),
    "text": (replace(voc_object(box=("a", 1, 9, 5))), "box not finite", r"object 1", 1),
    "infinite": (replace(voc_object(box=("inf", 1, 9, 5))), "box not finite", r"object 1", 1),
    "no box": (replace("<object><name>cat</name></object>"), "label without box", r"no <bndbox>", 1),
    "class": (replace(voc_object("gnu")), "unknown class", r"'gnu' is unknown; allowed: cat, dog", 1),
    "empty class": (replace(voc_object("")), "unknown class", r"'' is unknown", 1),
    "truncated": (truncate, "unreadable or truncated image", r"0\.jpg: the image is unreadable or truncated", None),
    "empty": (
        lambda root: (root / "JPEGImages" / "0.jpg").write_bytes(b""),
        "unreadable or truncated image",
        r"0\.jpg",
        None,
    ),
    "no xml": (lambda root: (root / "Annotations" / "0.xml").unlink(), "label without box", r"0\.xml", None),
    "no image": (lambda root: (root / "JPEGImages" / "0.jpg").unlink(), "box file without image", r"0\.xml", None),
    "two images": (
        lambda root: (
            [write_image(root / "JPEGImages" / name) for name in ("0.png", "0.JPEG")]
            and (root / "JPEGImages" / "0.jpg").unlink()
        ),
        "several images of one name",
        r"0\.JPEG.*0\.png",
        None,
    ),
    "malformed": (
        lambda root: (root / "Annotations" / "0.xml").write_text("<annotation><object>"),
        "malformed XML",
        r"0\.xml: this is not well-formed XML",
        None,
    ),
    "other size": (
        replace(size="<size><width>80</width><height>60</height></size>"),
        "size of annotation and image differ",
        r"80x60, the image is 40x30 \(.*0\.jpg",
        None,
    ),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("streaming", [False, True])
def test_bad_input_raises(case, streaming, tmp_path, build):
    root = make_voc(tmp_path / "raw", 3)
    spoil, _, message, _ = BAD[case]
    spoil(root)
    builder = build("pascal_voc", data_dir=str(root), names=["cat", "dog"])
    with pytest.raises(ValueError, match=message) as error:
        list(builder.as_streaming_dataset("train")) if streaming else builder.download_and_prepare()
    assert "invalid='skip'" in str(error.value)
    assert str(root) in str(error.value)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_skipped_and_counted(case, tmp_path, prepare, build, caplog):
    root = make_voc(tmp_path / "raw", 3)
    spoil, reason, _, kept = BAD[case]
    spoil(root)
    options = {"data_dir": str(root), "names": ["cat", "dog"], "invalid": "skip"}
    splits, builder = prepare("pascal_voc", **options)
    expected = {reason: 1}
    assert {key: entry["count"] for key, entry in builder.report.items()} == expected
    assert f"left out or repaired: 1 x {reason}" in caplog.text
    objects = {row["image_id"]: len(row["objects"]) for row in splits["train"]}
    assert objects == ({"1": 2, "2": 2} if kept is None else {"0": kept, "1": 2, "2": 2})
    # the count outlives the builder, and streaming counts the same
    assert build("pascal_voc", **options).report == builder.report
    stream = build("pascal_voc", cache_dir=str(tmp_path / "other"), **options)
    for _ in range(2):
        assert len(list(stream.as_streaming_dataset("train"))) == len(objects)
    assert stream.report == builder.report


def test_errors_and_counts_cross_processes(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 8)
    for index in (0, 7):
        write_xml(root / "Annotations" / f"{index}.xml", voc_object() + voc_object(box=(9, 9, 9, 12)))
    with pytest.raises(ValueError, match="zero width or height"):
        prepare("pascal_voc", data_dir=str(root), num_proc=2)
    _, builder = prepare("pascal_voc", data_dir=str(root), num_proc=2, invalid="skip")
    report = builder.report["box of zero width or height"]
    assert report["count"] == 2
    assert [re.findall(r"(\d)\.xml, object 1", item) for item in report["examples"]] == [["0"], ["7"]]
    assert not [name for name in os.listdir(builder.cache_dir) if name.endswith(".report.json")]


def test_nothing_left_is_an_error(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 2)
    for image in (root / "JPEGImages").iterdir():
        image.unlink()
    with pytest.raises(ValueError, match=r"no row left in train, validation.*2 x box file without image"):
        prepare("pascal_voc", data_dir=str(root), invalid="skip")


def test_empty_split_file(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 2)
    (root / "ImageSets" / "Main" / "val.txt").write_text("\n")
    splits, builder = prepare("pascal_voc", data_dir=str(root))
    assert list(splits) == ["train"]
    assert builder.report["empty split file"]["count"] == 1
