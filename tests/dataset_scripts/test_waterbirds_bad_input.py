"""waterbirds against every kind of bad input: named when it raises, counted when it is skipped."""

import pytest
from PIL import Image
from raw_folders import WATERBIRDS_HEADER, make_waterbirds, waterbirds_lines
from transformers import ViTImageProcessor

from hf_guidance import GuidanceCollator


def edit_metadata(old: str, new: str):
    def spoil(root):
        text = (root / "metadata.csv").read_text()
        assert old in text
        (root / "metadata.csv").write_text(text.replace(old, new, 1))

    return spoil


def edit_box(new: str):
    return lambda root: (root / "bounding_boxes.txt").write_text(
        (root / "bounding_boxes.txt").read_text().replace("1 4.0 5.0 10.0 12.0", new, 1)
    )


def cut_image(root):
    path = root / "birds" / "0.jpg"
    path.write_bytes(path.read_bytes()[:-300])


FIRST = "1,birds/0.jpg,0,0,0,"
SECOND = "2,birds/1.jpg,1,0,0,"
# what is done to the folder, the reason it is counted under, what the error must say, whether row 1 stays
BAD = {
    "no image": (
        lambda root: (root / "birds" / "0.jpg").unlink(),
        "line without image",
        r"line 2 \(img_id 1\).*0\.jpg",
        False,
    ),
    "cut image": (cut_image, "unreadable or truncated image", r"0\.jpg: the image is unreadable", False),
    "no id": (edit_metadata(FIRST, ",birds/0.jpg,0,0,0,"), "line without img_id or img_filename", "line 2", False),
    "no name": (edit_metadata(FIRST, "1,,0,0,0,"), "line without img_id or img_filename", "line 2", False),
    "id twice": (
        edit_metadata(SECOND, SECOND.replace("2,", "1,", 1)),
        "image id twice",
        r"line 3 \(img_id 1\)",
        True,
    ),
    "split": (
        edit_metadata(FIRST, "1,birds/0.jpg,0,3,0,"),
        "unknown split",
        r"line 2 .*split is '3'; allowed: 0 \(train\), 1 \(validation\), 2 \(test\)",
        False,
    ),
    "class": (
        edit_metadata(FIRST, "1,birds/0.jpg,landbird,0,0,"),
        "unknown y",
        r"line 2 .*y is 'landbird'; allowed: 0 \(landbird\), 1 \(waterbird\)",
        False,
    ),
    "place": (
        edit_metadata(FIRST, "1,birds/0.jpg,0,0,-1,"),
        "unknown place",
        r"line 2 .*place is '-1'; allowed: 0 \(land\), 1 \(water\)",
        False,
    ),
    "short line": (
        edit_metadata(FIRST + "/x.jpg", "1,birds/0.jpg,0"),
        "line with too few or too many fields",
        r"line 2 \(img_id 1\): it has 3 fields, the header 6",
        False,
    ),
    "one field less": (
        edit_metadata(FIRST + "/x.jpg", FIRST.rstrip(",")),
        "line with too few or too many fields",
        r"line 2 \(img_id 1\): it has 5 fields, the header 6",
        False,
    ),
    "comma in a name": (
        edit_metadata(FIRST, "1,birds/a, b.jpg,0,0,0,"),
        "line with too few or too many fields",
        r"line 2 \(img_id 1\): it has 7 fields, the header 6; quote values that hold a comma",
        False,
    ),
    "no box": (edit_box(""), "label without box", r"line 2 \(img_id 1\).*no box", True),
    "words": (edit_box("1 a b c d"), "box not finite", "four numbers", True),
    "nan": (edit_box("1 nan 5 10 12"), "box not finite", "line 2", True),
    "infinite": (edit_box("1 4 5 inf 12"), "box not finite", "line 2", True),
    "empty": (edit_box("1 4 5 0 12"), "box of zero width or height", "x, y, width, height", True),
    "negative": (edit_box("1 14 5 -3 12"), "box reversed", "line 2", True),
    "outside": (edit_box("1 41 5 40 12"), "box outside the image", "xmax <= 40", True),
    "before": (edit_box("1 -12 5 10 12"), "box outside the image", "line 2", True),
    "shares": (edit_box("1 0.1 0.2 0.3 0.4"), "boxes in [0, 1]", r"line 2 .*multiply x by the image's width, 40", True),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("task", ["conventional", "reversed"])
def test_bad_input(case, task, tmp_path, prepare, build, caplog):
    root = make_waterbirds(tmp_path / "raw")
    spoil, reason, message, stays = BAD[case]
    spoil(root)
    options = {"data_dir": str(root), "task": task}
    with pytest.raises(ValueError, match=message) as error:
        prepare("waterbirds", **options)
    assert "invalid='skip'" in str(error.value)
    assert str(root) in str(error.value)
    splits, builder = prepare("waterbirds", invalid="skip", **options)
    assert {key: entry["count"] for key, entry in builder.report.items()} == {reason: 1}
    assert reason in caplog.text
    train = {row["image_id"]: row for row in splits["train"]}
    assert ("1" in train) == stays
    assert len(train) == 8 - (not stays or case == "id twice")
    if stays and case != "id twice":  # the row counts in the task, and has no annotation
        assert train["1"]["objects"] == []
        assert train["1"].get("mask") is None
        processor = ViTImageProcessor(size={"height": 30, "width": 40})
        batch = GuidanceCollator(processor, num_labels=2)([train["1"], train["2"]])
        assert batch["annotated"] == [False, True]


BAD_MASKS = {
    "missing": (lambda path: path.unlink(), "label without mask", r"line 2 .*there is no mask .*0\.png"),
    "empty": (lambda path: Image.new("L", (40, 30), 127).save(path), "empty mask", r"no pixel of 128"),
    "size": (
        lambda path: Image.new("L", (30, 40), 255).save(path),
        "size of mask and image differ",
        r"\(30, 40\), the image \(40, 30\)",
    ),
    "cut": (
        lambda path: path.write_bytes(path.read_bytes()[:40]),
        "unreadable or truncated image",
        r"0\.png: the image is unreadable",
    ),
}


@pytest.mark.parametrize("case", BAD_MASKS)
def test_bad_masks(case, tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw")
    spoil, reason, message = BAD_MASKS[case]
    spoil(root / "segmentations" / "birds" / "0.png")
    with pytest.raises(ValueError, match=message):
        prepare("waterbirds", data_dir=str(root), source="masks")
    splits, builder = prepare("waterbirds", data_dir=str(root), source="masks", invalid="skip")
    assert {key: entry["count"] for key, entry in builder.report.items()} == {reason: 1}
    row = splits["train"][0]
    assert (row["mask"], row["objects"], row["labels"]) == (None, [], [0])


@pytest.mark.parametrize("line", ["3 4 5 10", "7 4 5 10 12"], ids=["short", "twice"])
def test_lines_of_the_box_file_must_be_whole_and_single(line, tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw")
    with (root / "bounding_boxes.txt").open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(ValueError, match=rf"bounding_boxes\.txt, line 26: got '{line}'; allowed: id x y width height"):
        prepare("waterbirds", data_dir=str(root))
    splits, builder = prepare("waterbirds", data_dir=str(root), invalid="skip")
    assert builder.report["malformed line of the box file"]["count"] == 1
    assert [len(row["objects"]) for row in splits["train"]] == [1] * 8


def test_files_must_be_there(tmp_path, build):
    with pytest.raises(ValueError, match=r"data_dir: got None; pass the folder that holds metadata\.csv"):
        build("waterbirds")
    with pytest.raises(
        ValueError, match=r"metadata_file: .*metadata\.csv is not a file; allowed: a csv file with img_id"
    ):
        build("waterbirds", data_dir=str(tmp_path))
    root = make_waterbirds(tmp_path / "raw")
    (root / "bounding_boxes.txt").unlink()
    with pytest.raises(ValueError, match=r"boxes_file: none of .*has no columns xmin.*or source='masks'"):
        build("waterbirds", data_dir=str(root))
    with pytest.raises(ValueError, match=r"boxes_file: none of \['.*nowhere\.txt'\]"):
        build("waterbirds", data_dir=str(root), boxes_file="nowhere.txt")
    with pytest.raises(ValueError, match=r"mask_dir: none of \['.*nowhere'\] is a folder.*or source='boxes'"):
        build("waterbirds", data_dir=str(root), source="masks", mask_dir="nowhere")
    (root / "metadata.csv").write_text("img_id,y,split\n1,0,0\n")
    with pytest.raises(ValueError, match=r"column img_filename, place missing"):
        build("waterbirds", data_dir=str(root))
    (root / "metadata.csv").write_text(WATERBIRDS_HEADER + "\n")
    with pytest.raises(ValueError, match="no line below the header"):
        build("waterbirds", data_dir=str(root))


def test_a_blank_in_the_column_of_masks_is_a_row_without_mask(tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw")
    lines = [f"{line},{'' if line.startswith('1,') else 'segmentations/birds/1.png'}" for line in waterbirds_lines()]
    (root / "metadata.csv").write_text("\n".join([f"{WATERBIRDS_HEADER},mask_filename", *lines]))
    with pytest.raises(ValueError, match="there is no mask in column mask_filename"):
        prepare("waterbirds", data_dir=str(root), source="masks")
    splits, _ = prepare("waterbirds", data_dir=str(root), source="masks", invalid="skip")
    assert [row["mask"] is None for row in splits["train"]] == [True] + [False] * 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "backwards"}, "task: got 'backwards'; allowed: 'conventional', 'reversed'"),
        ({"source": "points"}, "source: got 'points'; allowed: 'boxes', 'masks'"),
        ({"validation": "none"}, "validation: got 'none'; allowed: 'all', 'matched'"),
        ({"names": ["bird"]}, r"names: got \['bird'\]; allowed: two different names"),
        ({"names": "ab"}, "names: got 'ab'; allowed: two"),
        ({"places": ["sea", "sea"]}, r"places: got \['sea', 'sea'\]; allowed: two different names"),
    ],
)
def test_bad_options_are_named(options, message, tmp_path, build):
    with pytest.raises(ValueError, match=message):
        build("waterbirds", data_dir=str(make_waterbirds(tmp_path / "raw")), **options)
