"""waterbirds with boxes that leave the image, photos that EXIF turns, masks of other modes, and names of other systems."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raw_folders import WATERBIRDS_HEADER, make_waterbirds, waterbirds_lines

CLIPPED = "box partly outside the image, clipped"
ROUNDED = "box less than a pixel outside the image, clipped"


def write_boxes(root, *lines):
    (root / "bounding_boxes.txt").write_text("\n".join(lines))


def counts(builder):
    return {reason: entry["count"] for reason, entry in builder.report.items()}


@pytest.mark.parametrize("invalid", ["raise", "skip"])
def test_boxes_that_leave_the_image_are_cut_and_counted(invalid, tmp_path, prepare, caplog):
    root = make_waterbirds(tmp_path / "raw", 6)
    write_boxes(root, "1 4 5 40 12", "2 -2 5 10 12", "3 -32 -32 200 200", "4 8 9 32.5 3", "5 1 1 9 9", "6 39 29 60 60")
    (root / "metadata.csv").write_text("\n".join([WATERBIRDS_HEADER, *waterbirds_lines(6)]))
    splits, builder = prepare("waterbirds", data_dir=str(root), invalid=invalid)
    boxes = [row["objects"][0]["bbox"] for row in splits["train"]]
    assert boxes == [[4, 5, 40, 17], [0, 5, 8, 17], [0, 0, 40, 30], [8, 9, 40, 12], [1, 1, 10, 10], [39, 29, 40, 30]]
    assert counts(builder) == {CLIPPED: 4, ROUNDED: 1}
    assert f"4 x {CLIPPED}" in caplog.text
    assert f"{root}/metadata.csv, line 2 (img_id 1)" in builder.report[CLIPPED]["examples"]


def test_corners_that_leave_the_image_are_cut_and_counted(tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw", 6)
    lines = [f"{line},-3,5,10,{99 if line.startswith('2,') else 12}" for line in waterbirds_lines(6)]
    (root / "metadata.csv").write_text("\n".join([f"{WATERBIRDS_HEADER},xmin,ymin,xmax,ymax", *lines]))
    splits, builder = prepare("waterbirds", data_dir=str(root))
    assert [row["objects"][0]["bbox"] for row in splits["train"]][:2] == [[0, 5, 10, 12], [0, 5, 10, 30]]
    assert counts(builder) == {CLIPPED: 6}


def test_the_real_boxes_of_cub_load_with_no_option(shared, tmp_path, prepare):
    """The rows of the real Waterbirds whose boxes leave the image, and four before each."""
    root = Path(shared("waterbirds_100_train_validation"))
    outside = [960, 1228, 1592, 1727, 2775, 3412, 5007, 6156, 6273, 9762]
    with (root / "metadata.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    numbers = [int(line[0]) for line in lines]
    places = sorted({max(0, numbers.index(number) - back) for number in outside for back in range(5)})
    (tmp_path / "some.csv").write_text("\n".join(",".join(line) for line in [header, *(lines[i] for i in places)]))
    splits, builder = prepare("waterbirds", data_dir=str(root), metadata_file=str(tmp_path / "some.csv"))
    assert sum(len(split) for split in splits.values()) == len(places)
    assert counts(builder) == {CLIPPED: 5, ROUNDED: 6}
    for row in (row for split in splits.values() for row in split):
        (x0, y0, x1, y1) = row["objects"][0]["bbox"]
        assert 0 <= x0 < x1 <= row["image"].width
        assert 0 <= y0 < y1 <= row["image"].height


@pytest.mark.parametrize("invalid", ["raise", "skip"])
def test_boxes_of_the_raw_pixels_of_a_turned_photo_are_named(invalid, tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw", 6)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(root / "birds" / "0.jpg", exif=exif)  # decoded as 30 x 40
    write_boxes(root, "1 25 5 14 12", *(f"{index} 4 5 9 9" for index in range(2, 7)))
    if invalid == "raise":
        with pytest.raises(ValueError, match=r"img_id 1\): box \(25, 5, 39, 17\) leaves the image, 30x40.*EXIF turns"):
            prepare("waterbirds", data_dir=str(root))
        return
    splits, builder = prepare("waterbirds", data_dir=str(root), invalid="skip")
    assert counts(builder) == {"boxes of the raw pixels of a turned photo": 1}
    assert [len(row["objects"]) for row in splits["train"]] == [0, 1, 1, 1, 1, 1]
    write_boxes(root, "1 5 25 12 14", *(f"{index} 4 5 9 9" for index in range(2, 7)))
    splits, builder = prepare("waterbirds", data_dir=str(root))
    assert builder.report == {}
    assert splits["train"][0]["image"].size == (30, 40)


def inside() -> np.ndarray:
    mask = np.zeros((30, 40), bool)
    mask[5:17, 4:9] = True
    return mask


def turned(mask: np.ndarray, path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(mask)) * np.uint8(255)).save(path, exif=exif)


GIF = [(0, 0, 0), (255, 255, 255)]
SAVES = {
    "16 bit": lambda path: Image.fromarray(np.where(inside(), 0x9000, 0x3000).astype(np.uint16)).save(path),
    "truth values": lambda path: Image.fromarray(inside()).save(path),
    "RGB": lambda path: Image.fromarray(inside() * np.uint8(255)).convert("RGB").save(path),
    "palette of greys": lambda path: Image.fromarray(inside() * np.uint8(255)).convert("P").save(path),
    "turned by EXIF": lambda path: turned(inside(), path),
}
WRONG = {
    "heat map": (
        lambda path: Image.fromarray(np.stack([inside() * np.uint8(255), *np.zeros((2, 30, 40), np.uint8)], -1)).save(
            path
        ),
        "colours for one channel",
        r"0\.png: it has colours \(mode 'RGB'\), where one channel is meant",
    ),
    "zeros and ones": (
        lambda path: Image.fromarray(inside().astype(np.uint8)).save(path),
        "map without a declared range",
        r"0\.png: its largest value is 1",
    ),
}


@pytest.mark.parametrize("case", SAVES)
def test_masks_of_any_mode_are_read_by_their_own_range(case, tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw", 6)
    SAVES[case](root / "segmentations" / "birds" / "0.png")
    splits, builder = prepare("waterbirds", data_dir=str(root), source="masks")
    assert np.array_equal(np.asarray(splits["train"][0]["mask"]) == 255, inside())
    assert splits["train"][0]["objects"][0]["bbox"] == [4, 5, 9, 17]
    assert builder.report == {}


@pytest.mark.parametrize("case", WRONG)
def test_masks_that_are_not_one_channel_are_refused_or_counted(case, tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw", 6)
    spoil, reason, message = WRONG[case]
    spoil(root / "segmentations" / "birds" / "0.png")
    with pytest.raises(ValueError, match=message):
        prepare("waterbirds", data_dir=str(root), source="masks")
    splits, builder = prepare("waterbirds", data_dir=str(root), source="masks", invalid="skip")
    assert counts(builder) == {reason: 1}
    assert (splits["train"][0]["mask"], splits["train"][0]["labels"]) == (None, [0])


def test_names_of_other_systems(tmp_path, prepare):
    """Backslashes, and ids that a spreadsheet made numbers of."""
    root = make_waterbirds(tmp_path / "raw", 6)
    fields = [line.split(",") for line in waterbirds_lines(6)]
    lines = [",".join([f"{n}.0", name.replace("/", "\\"), f"{y}.0", *rest]) for n, name, y, *rest in fields]
    (root / "metadata.csv").write_text("\n".join([WATERBIRDS_HEADER, *lines]))
    for source in ("boxes", "masks"):
        splits, builder = prepare("waterbirds", data_dir=str(root), source=source)
        assert splits["train"]["image_id"][:] == ["1", "2", "3", "4", "5", "6"]
        assert builder.report == {}


def test_ids_that_differ_by_zeros_are_named(tmp_path, prepare):
    root = make_waterbirds(tmp_path / "raw")
    boxes = root / "bounding_boxes.txt"
    boxes.write_text(
        "\n".join(f"{line.split()[0]:0>5} {line.split(maxsplit=1)[1]}" for line in boxes.read_text().splitlines())
    )
    with pytest.raises(ValueError, match=r"no box: .* The box file has the id '00001', metadata\.csv '1': write both"):
        prepare("waterbirds", data_dir=str(root))
