"""TSV of region features: indexed a line at a time, and what does not fit is named with its line."""

import tracemalloc

import numpy as np
import pytest
from region_writers import BOTTOM_UP, encoded, make_arrays, tsv_lines, write_tsv

from hf_guidance.data.questions.regions import RegionFeatures

FEATURES, BOXES = make_arrays()


def test_tsv_is_indexed_a_line_at_a_time(tmp_path):
    images = 120
    draws = np.random.default_rng(0)
    features = draws.normal(size=(images, 36, 512)).astype(np.float32)
    boxes = np.tile(np.float32([0, 0, 0.5, 1]), (images, 36, 1))
    store = write_tsv(tmp_path, tsv_lines(features, boxes, [str(image) for image in range(images)]))
    size = (tmp_path / "train36.tsv").stat().st_size
    tracemalloc.start()
    regions = store()
    assert np.array_equal(regions[33][0], features[33])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 4


def lines_with(**change):
    return [{**line, **(change if line["image_id"] == "42" else {})} for line in tsv_lines(FEATURES, BOXES)]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"num_boxes": -4}, r"line 2: num_boxes is .*-4"),
        ({"num_boxes": "4.5"}, r"line 2: num_boxes is .*4\.5"),
        ({"num_boxes": "nan"}, r"line 2: num_boxes is .*nan"),
        ({"num_boxes": 5}, r"line 2: image '42' has 16 bytes of features per box, the images before have 20"),
        ({"features": encoded(FEATURES[1])[:-40]}, r"line 2: .*the line is cut short"),
        ({"image_h": "x"}, r"line 2: image_h is"),
        ({"image_id": "7"}, r"line 2: image '7' is there twice, with other features"),
        ({"image_id": " "}, r"line 2: the image has no image_id"),
        ({"features": "a\tb"}, r"line 2: 7 columns where there are 6"),
    ],
)
def test_tsv_names_the_line(change, error, tmp_path):
    store = write_tsv(tmp_path, [])
    text = "".join("\t".join(str(line[name]) for name in BOTTOM_UP) + "\r\n" for line in lines_with(**change))
    (tmp_path / "train36.tsv").write_bytes(text.encode())
    with pytest.raises(ValueError, match=error):
        store()


def test_tsv_reads_what_csv_writers_write(tmp_path):
    lines = list(tsv_lines(FEATURES, BOXES))
    for line in lines:  # as Python 3 does with bytes, quoted by csv.QUOTE_ALL
        line["features"], line["boxes"] = (str(line[name].encode()) for name in ("features", "boxes"))
    text = "".join("\t".join(f'"{line[name]}"' for name in BOTTOM_UP) + "\n" for line in [*lines, lines[0]])
    (tmp_path / "quoted.tsv").write_bytes(b"\xef\xbb\xbf" + "\t".join(BOTTOM_UP).encode() + b"\n" + text.encode()[:-1])
    store = RegionFeatures.open(tmp_path / "quoted.tsv")
    assert store.counts == {"lines that repeat an image": 1}
    assert np.array_equal(store[9][0], FEATURES[2])


def test_a_line_of_names_is_not_contradicted(tmp_path):
    """The values would be read as those of other columns."""
    order = ["image_id", "image_h", "image_w", "num_boxes", "boxes", "features"]
    store = write_tsv(tmp_path, tsv_lines(FEATURES, BOXES), order, header=True)
    assert np.array_equal(store()["7"][0], FEATURES[0])
    for columns in (BOTTOM_UP, order[:-1], [*order, "cls_prob"]):
        with pytest.raises(ValueError, match=r"train36\.tsv: the first line names the columns .* leave columns= out"):
            RegionFeatures.from_tsv(tmp_path / "train36.tsv", columns=columns)
    text = (tmp_path / "train36.tsv").read_text().replace("features", "vectors", 1)
    (tmp_path / "train36.tsv").write_text(text)
    with pytest.raises(ValueError, match=r"train36\.tsv: the record has the fields .*'vectors'"):
        store()
    assert np.array_equal(RegionFeatures.from_tsv(tmp_path / "train36.tsv", columns=order)["7"][0], FEATURES[0])


def test_options_and_paths_that_cannot_be(tmp_path):
    write_tsv(tmp_path, tsv_lines(FEATURES, BOXES))
    with pytest.raises(ValueError, match=r"columns='image_id' is a text; give a list"):
        RegionFeatures.from_tsv(tmp_path / "train36.tsv", columns="image_id")
    with pytest.raises(ValueError, match=r"train36\.tsv: the record has the fields .*'stuff'"):
        RegionFeatures.from_tsv(tmp_path / "train36.tsv", columns=[*BOTTOM_UP[:-1], "stuff"])
    for read in (RegionFeatures.from_tsv, RegionFeatures.from_hdf5, RegionFeatures.from_gqa):
        with pytest.raises(ValueError, match="is a folder; give the file of the features"):
            read(tmp_path)
    for paths in ([tmp_path / "train36.tsv"], None, 3):
        with pytest.raises(ValueError, match=r"is no path; give paths one by one, as RegionFeatures\.open\(\*paths\)"):
            RegionFeatures.open(paths)


def test_tsv_with_the_sides_exchanged(tmp_path):
    """Columns in another order than the published one, without a line of names."""
    order = ["image_id", "image_h", "image_w", "num_boxes", "boxes", "features"]
    wide = np.tile(np.float32([0, 0, 1, 1]), (3, 4, 1))
    with pytest.raises(ValueError, match=r"boxes leave an image of 30x40 pixels, but fit 40x30: exchange its width"):
        write_tsv(tmp_path, tsv_lines(FEATURES, wide), order)()["7"]
    assert np.array_equal(RegionFeatures.from_tsv(tmp_path / "train36.tsv", columns=order)["7"][1], wide[0])
