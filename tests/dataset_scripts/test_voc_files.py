"""pascal_voc: folders of any depth, XML of any encoding, images of any ending, boxes that leave the image, labels that stay."""

import codecs

import numpy as np
import pytest
from PIL import Image
from raw_folders import make_voc, voc_object, write_image, write_xml

CLIPPED = "box partly outside the image, clipped"
FROM_ZERO = "box begins at 0 in a file that counts from 1, clipped (one_based=False?)"


def counts(builder):
    return {reason: entry["count"] for reason, entry in builder.report.items()}


def boxes(row):
    return [entry["bbox"] for entry in row["objects"]]


def no_lists(root):
    for file in (root / "ImageSets" / "Main").iterdir():
        file.unlink()


def move(root, annotations, images):
    """Put the files of make_voc into sub-folders: name -> folder."""
    for index, folder in enumerate(annotations):
        (root / "Annotations" / folder).mkdir(parents=True, exist_ok=True)
        (root / "Annotations" / f"{index}.xml").rename(root / "Annotations" / folder / f"{index}.xml")
    for index, folder in enumerate(images):
        (root / "JPEGImages" / folder).mkdir(parents=True, exist_ok=True)
        (root / "JPEGImages" / f"{index}.jpg").rename(root / "JPEGImages" / folder / f"{index}.jpg")


@pytest.mark.parametrize("ids", ["0\n1\n", "a/0\nb/c/1\n", "a\\0.jpg\nb\\c\\1.jpg\n", "./a/0.JPG\n./b/c/1.jpg\n", None])
@pytest.mark.parametrize("flat", ["", "annotations", "images"])
def test_sub_folders(ids, flat, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 2)
    no_lists(root)
    folders = ["a", "b/c"]
    move(root, [] if flat == "annotations" else folders, [] if flat == "images" else folders)
    if ids is not None:
        (root / "ImageSets" / "Main" / "train.txt").write_text(ids)
    if flat == "annotations" and ids and "a" in ids:  # an id is a path below Annotations
        with pytest.raises(ValueError, match=r"a/0: .*there is no annotation file .*/Annotations/a/0\.xml"):
            prepare("pascal_voc", data_dir=str(root))
        return
    splits, builder = prepare("pascal_voc", data_dir=str(root))
    assert len(splits["train"]) == 2
    assert all(boxes(row) == [[4, 5, 40, 30], [0, 0, 10, 10]] for row in splits["train"])
    assert builder.report == {}
    if ids is None:
        assert splits["train"]["image_id"][:] == (["0", "1"] if flat == "annotations" else ["a/0", "b/c/1"])


def test_equal_names_in_two_folders_are_kept_apart(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    no_lists(root)
    move(root, ["a"], ["a"])
    write_image(root / "JPEGImages" / "b" / "0.jpg", 20, 10)
    size = "<size><width>20</width><height>10</height></size>"
    write_xml(root / "Annotations" / "b" / "0.xml", voc_object("cat", (3, 3, 9, 9)), size)
    splits, _ = prepare("pascal_voc", data_dir=str(root))
    assert [(row["image_id"], row["image"].size) for row in splits["train"]] == [("a/0", (40, 30)), ("b/0", (20, 10))]
    (root / "ImageSets" / "Main" / "train.txt").write_text("0\n")
    with pytest.raises(
        ValueError, match=r"0: Annotations holds \['a/0.xml', 'b/0.xml'\].*List ids with their folder, as a/0"
    ):
        prepare("pascal_voc", data_dir=str(root))
    (root / "ImageSets" / "Main" / "train.txt").write_text("b/0\n")
    (root / "JPEGImages" / "b" / "0.jpg").unlink()  # the other image of this name must not take its place
    with pytest.raises(ValueError, match=r"b/0\.xml: JPEGImages holds no image"):
        prepare("pascal_voc", data_dir=str(root))


@pytest.mark.parametrize("extension", [".tif", ".tiff", ".TIF", ".gif", ".webp", ".bmp"])
def test_images_of_other_endings(extension, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    (root / "JPEGImages" / "0.jpg").unlink()
    Image.new("RGB", (40, 30), "red").save(root / "JPEGImages" / f"0{extension}")
    for options in ({}, {"preparation": "model_guidance"}):
        splits, _ = prepare("pascal_voc", data_dir=str(root), **options)
        red, green, blue = splits["train"][0]["image"].convert("RGB").getpixel((3, 3))
        assert (red > 250, green < 5, blue < 5) == (True, True, True)


def test_grey_photos_of_16_bit_are_prepared_by_their_own_range(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    (root / "JPEGImages" / "0.jpg").unlink()
    Image.fromarray(np.full((30, 40), 0x8000, np.uint16)).save(root / "JPEGImages" / "0.png")
    splits, _ = prepare("pascal_voc", data_dir=str(root), preparation="model_guidance")
    assert splits["train"][0]["image"].getpixel((3, 3)) == (128, 128, 128)


BODY = (
    "<annotation><filename>0.jpg</filename><size><width>40</width><height>30</height></size>"
    "<object><name>{}</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>12</xmax><ymax>15</ymax></bndbox></object></annotation>"
)
# encoding that is declared (None: no declaration), the codec that writes it, a mark before it
ENCODINGS = {
    "utf-8": ("utf-8", "utf-8", b""),
    "utf-8 with mark": ("utf-8", "utf-8", codecs.BOM_UTF8),
    "undeclared": (None, "utf-8", b""),
    "utf-16": ("utf-16", "utf-16", b""),
    "utf-16 without declaration": (None, "utf-16", b""),
    "utf-16-le without mark": ("UTF-16", "utf-16-le", b""),
    "utf-16-be without mark": ("UTF-16BE", "utf-16-be", b""),
    "utf-32": ("UTF-32", "utf-32", b""),
    "latin-1": ("ISO-8859-1", "latin-1", b""),
    "windows": ("windows-1252", "cp1252", b""),
    "single quotes": ("latin1' standalone='yes", "latin-1", b""),
}


@pytest.mark.parametrize("case", ENCODINGS)
def test_xml_in_the_encoding_that_it_declares(case, tmp_path, prepare):
    declared, codec, mark = ENCODINGS[case]
    quote = "'" if case == "single quotes" else '"'
    head = "" if declared is None else f"<?xml version={quote}1.0{quote} encoding={quote}{declared}{quote}?>\n"
    root = make_voc(tmp_path / "raw", 1)
    (root / "Annotations" / "0.xml").write_bytes(mark + (head + BODY.format("Möwe")).encode(codec))
    splits, builder = prepare("pascal_voc", data_dir=str(root))
    assert builder.info.features["labels"].feature.names == ["Möwe"]
    assert boxes(splits["train"][0]) == [[1, 2, 12, 15]]


@pytest.mark.parametrize(
    ("declared", "name"), [("GB2312", "鸟"), ("Shift_JIS", "鳥"), ("EUC-KR", "새"), ("Big5", "鳥")]
)
def test_xml_in_encodings_of_several_bytes(declared, name, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    content = f'<?xml version="1.0" encoding="{declared}"?>{BODY.format(name)}'.encode(declared)
    (root / "Annotations" / "0.xml").write_bytes(content)
    _, builder = prepare("pascal_voc", data_dir=str(root))
    assert builder.info.features["labels"].feature.names == [name]


BROKEN = {
    "not in it": (f'<?xml version="1.0" encoding="ascii"?>{BODY.format("Möwe")}'.encode(), "not well-formed XML"),
    "unknown": (f'<?xml version="1.0" encoding="klingon"?>{BODY.format("a")}'.encode(), "unknown encoding: klingon"),
    "another file": (b"<html><body/></html>", "it is a <html>; allowed: an <annotation>"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_xml_that_is_not_what_it_declares(case, tmp_path, prepare):
    content, message = BROKEN[case]
    root = make_voc(tmp_path / "raw", 2)
    (root / "Annotations" / "0.xml").write_bytes(content)
    with pytest.raises(ValueError, match=rf"0\.xml: .*{message}"):
        prepare("pascal_voc", data_dir=str(root))
    splits, builder = prepare("pascal_voc", data_dir=str(root), invalid="skip")
    assert counts(builder) == {"malformed XML": 1}
    assert splits["train"]["image_id"][:] == ["1"]


def test_a_namespace_hides_no_object(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    (root / "Annotations" / "0.xml").write_text(
        BODY.format("cat").replace("<annotation>", '<annotation xmlns="urn:voc">')
    )
    splits, _ = prepare("pascal_voc", data_dir=str(root))
    assert boxes(splits["train"][0]) == [[1, 2, 12, 15]]


@pytest.mark.parametrize(
    ("box", "one_based", "expected", "reason"),
    [
        ((1, 1, 40.5, 30), True, [0, 0, 40, 30], "box less than a pixel outside the image, clipped"),
        ((1, 1, 41, 30), True, [0, 0, 40, 30], CLIPPED),
        ((1, 1, 42, 99), True, [0, 0, 40, 30], CLIPPED),
        ((-4, -4, 5, 5), True, [0, 0, 5, 5], CLIPPED),
        ((0, 0, 5, 5), True, [0, 0, 5, 5], FROM_ZERO),
        ((-4, 3, 5, 5), False, [0, 3, 5, 5], CLIPPED),
        ((5.5, 3.25, 20.75, 5), True, [4.5, 2.25, 20.75, 5], None),
        ((5.5, 3.25, 20.75, 5), False, [5.5, 3.25, 20.75, 5], None),
    ],
)
@pytest.mark.parametrize("invalid", ["raise", "skip"])
def test_boxes_that_overlap_the_image_are_cut_and_counted(box, one_based, expected, reason, invalid, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 1)
    write_xml(root / "Annotations" / "0.xml", voc_object("cat", box))
    splits, builder = prepare("pascal_voc", data_dir=str(root), one_based=one_based, invalid=invalid)
    assert boxes(splits["train"][0]) == [expected]
    assert counts(builder) == ({} if reason is None else {reason: 1})
    if reason:
        assert builder.report[reason]["examples"] == [f"{root}/Annotations/0.xml, object 0"]


LOST = {
    "outside": voc_object("dog", (60, 1, 70, 9)),
    "reversed": voc_object("dog", (9, 1, 2, 9)),
    "empty": voc_object("dog", (9, 1, 9, 9)),
    "text": voc_object("dog", ("a", 1, 9, 9)),
    "no box": "<object><name>dog</name></object>",
}


@pytest.mark.parametrize("case", LOST)
def test_a_box_that_is_skipped_leaves_its_class_in_the_labels(case, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 2)
    write_xml(root / "Annotations" / "0.xml", LOST[case])
    splits, builder = prepare("pascal_voc", data_dir=str(root), invalid="skip", names=["cat", "dog"])
    assert splits["train"]["labels"][:] == [[1], [0, 1]]
    assert [len(row["objects"]) for row in splits["train"]] == [0, 2]
    assert sum(counts(builder).values()) == 1


@pytest.mark.parametrize("one_based", [True, False])
def test_shares_of_the_image_are_no_pixels(one_based, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 2)
    write_xml(root / "Annotations" / "0.xml", voc_object("cat", (0.1, 0.2, 0.5, 0.9)) + voc_object("dog", (0, 0, 1, 1)))
    with pytest.raises(ValueError, match=r"0\.xml: its boxes lie in \[0, 1\].*multiply x by the image's width, 40"):
        prepare("pascal_voc", data_dir=str(root), one_based=one_based)
    splits, builder = prepare("pascal_voc", data_dir=str(root), one_based=one_based, invalid="skip")
    assert counts(builder) == {"boxes in [0, 1]": 1}
    assert splits["train"]["image_id"][:] == ["1"]


@pytest.mark.parametrize("size", ["raw", "", "decoded"])
def test_boxes_of_the_raw_pixels_of_a_turned_photo_are_named(size, tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 2)
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (40, 30)).save(root / "JPEGImages" / "0.jpg", exif=exif)  # decoded as 30 x 40
    written = {"raw": (40, 30), "decoded": (30, 40)}.get(size)
    text = "" if written is None else "<size><width>{}</width><height>{}</height></size>".format(*written)
    write_xml(root / "Annotations" / "0.xml", voc_object("cat", (3, 3, 9, 9)) + voc_object("dog", (20, 3, 40, 9)), text)
    with pytest.raises(ValueError, match=r"0\.xml: .*EXIF turns the photo.*remove the orientation"):
        prepare("pascal_voc", data_dir=str(root))
    splits, _ = prepare("pascal_voc", data_dir=str(root), invalid="skip")
    assert splits["train"]["image_id"][:] == ["1"]  # no box of it is in its place


def test_files_of_several_frames_are_refused_or_counted(tmp_path, prepare):
    root = make_voc(tmp_path / "raw", 2)
    (root / "JPEGImages" / "0.jpg").unlink()
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
    frames[0].save(root / "JPEGImages" / "0.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"0\.gif: the file holds 2 frames"):
        prepare("pascal_voc", data_dir=str(root))
    _, builder = prepare("pascal_voc", data_dir=str(root), invalid="skip")
    assert counts(builder) == {"image of several frames": 1}
