"""Numbers are read as they were written: dtypes, byte orders, numbers of boxes, and boxes in pixels or in [0, 1]."""

import numpy as np
import pytest
from region_writers import (
    IDS,
    SIZE,
    close,
    make_arrays,
    pixel_columns,
    pixels,
    records,
    six_columns,
    values,
    write_gqa,
    write_groups,
    write_hdf5,
    write_lmdb,
    write_npz,
    write_numpy,
)

from hf_guidance.data.questions.regions import RegionFeatures, checked_objects

FEATURES, BOXES = make_arrays()
DTYPES = ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8", "int8", "uint8", "int64", ">i4"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_every_dtype(dtype, tmp_path):
    written = values(dtype).astype(dtype)
    stores = [
        write_numpy(tmp_path, written, BOXES.astype("<f8"))(),
        write_hdf5(tmp_path, written, six_columns(BOXES).astype(">f8"))(),
        write_groups(tmp_path, written, BOXES)(),
        write_npz(tmp_path, written, BOXES)(),
        write_gqa(tmp_path, written, BOXES)(),
    ]
    entries = {
        image: {"features": f, "boxes": b, "num_boxes": 4, "image_w": SIZE[0], "image_h": SIZE[1]}
        for image, f, b in zip(IDS, written, pixels(BOXES).astype(">f8"), strict=True)
    }
    stores.append(write_lmdb(tmp_path, entries)())
    for store in stores:
        for row, image in enumerate(IDS):
            close(store[image], written[row])
            assert np.abs(store[image][1] - BOXES[row]).max() < 1e-5


@pytest.mark.parametrize(
    ("features", "error"),
    [
        (np.array([["a"] * 5] * 4), "features has dtype <U1; allowed are whole and floating"),
        (np.ones((4, 5), complex), "features has dtype complex128"),
        (np.ones((4, 5), bool), "features has dtype bool"),
        ([[1.0, 2.0], [1.0]], "features: list is no array of numbers"),
        (None, "features has dtype object"),
        (bytes(37), "4 boxes are declared, but there are 9.25 numbers of features"),
        (np.ones((3, 5)), r"features in \(3, 5\)"),
        (np.ones(21), r"21 numbers of features"),
        ("not base64!", "is not base64"),
    ],
)
def test_what_is_no_number_is_refused(features, error, tmp_path):
    store = write_lmdb(tmp_path, records(lambda _: features, lambda b: b))()
    with pytest.raises(ValueError, match=f"image '7': .*{error}"):
        store["7"]


def test_dtypes_of_files_are_refused_at_opening(tmp_path):
    with pytest.raises(ValueError, match=r"features\.npy has dtype \|S1; allowed"):
        write_numpy(tmp_path, np.full((3, 4, 5), b"a"), BOXES)()
    with pytest.raises(ValueError, match="image_features has dtype complex64"):
        write_hdf5(tmp_path, FEATURES.astype(np.complex64), six_columns(BOXES))()
    with pytest.raises(ValueError, match="dtype has dtype complex64"):
        RegionFeatures.from_lmdb(tmp_path, dtype="complex64")
    with pytest.raises(ValueError, match="dtype='float17' is not known to NumPy"):
        RegionFeatures.from_lmdb(tmp_path, dtype="float17")


@pytest.mark.parametrize("kind", ["numpy", "hdf5"])
@pytest.mark.parametrize(
    ("counts", "error"),
    [
        ([4, -1, 3], r"row 1: -1 boxes are declared, the file holds 4 places; allowed are whole numbers from 0 to 4"),
        ([4, 2.5, 3], r"row 1: 2\.5 boxes are declared"),
        ([4, np.nan, 3], r"row 1: nan boxes are declared"),
        ([4, np.inf, 3], r"row 1: inf boxes are declared"),
        ([4, 5, 6], r"row 1: 5 boxes .* 2 of 3 rows are wrong"),
        ([4, 3], r"num_boxes.* has shape \(2,\); allowed is \(3,\)"),
        ([[4], [3], [2]], r"num_boxes.* has shape \(3, 1\); allowed is \(3,\)"),
        (4, r"num_boxes.* has shape \(\); allowed is \(3,\)"),
        ([True, True, True], r"num_boxes.* has dtype bool"),
    ],
)
def test_numbers_of_boxes_are_checked_at_opening(counts, error, kind, tmp_path):
    if kind == "numpy":
        store = write_numpy(tmp_path, FEATURES, BOXES)
        with pytest.raises(ValueError, match=error):
            store(num_boxes=counts)
    else:
        store = write_hdf5(tmp_path, FEATURES, six_columns(BOXES), num_boxes=np.array(counts))
        with pytest.raises(ValueError, match=error):
            store()


@pytest.mark.parametrize("count", [-4, 4.5, np.nan, None, "four", True, [4, 4]])
def test_num_boxes_of_a_record(count, tmp_path):
    store = write_lmdb(tmp_path, records(lambda f: f, lambda b: b, num_boxes=count))()
    with pytest.raises(ValueError, match=r"image '7': .*num_boxes is .*; allowed is a whole number"):
        store["7"]
    good = write_npz(tmp_path, FEATURES, BOXES)()
    assert good["7"][0].shape == (4, 5)


def test_boxes_in_unit_where_pixels_are_promised(tmp_path):
    unit = records(lambda f: f, lambda b: b / np.float32([*SIZE, *SIZE]))
    error = r"image '7': .*they are in \[0, 1\] already, where pixels are expected. Pass normalized=True"
    with pytest.raises(ValueError, match=error):
        write_lmdb(tmp_path, unit)()["7"]
    assert np.allclose(RegionFeatures.from_lmdb(tmp_path / "regions.lmdb", normalized=True)["7"][1], BOXES[0])
    with pytest.raises(ValueError, match=error):
        write_gqa(tmp_path, FEATURES, BOXES / np.float32([*SIZE, *SIZE]))()["7"]
    columns = pixel_columns(BOXES)
    columns[..., :4] = BOXES
    with pytest.raises(ValueError, match=r"boxes of spatial_features are in \[0, 1\], but columns 4 and 5 differ"):
        write_hdf5(tmp_path, FEATURES, columns)()["7"]


def with_edge(boxes, edge):
    """One box of the first image ends at this share of the image."""
    moved = boxes.copy()
    moved[0, 0, 2:] = [0.7, edge]
    return moved


SHARES = {
    "numpy": lambda folder, boxes: write_numpy(folder, FEATURES, boxes),
    "six columns": lambda folder, boxes: write_hdf5(folder, FEATURES, six_columns(boxes)),
    "seven columns": lambda folder, boxes: write_hdf5(
        folder, FEATURES, np.concatenate([six_columns(boxes), boxes[..., :1]], 2)
    ),
    "lmdb": lambda folder, boxes: write_lmdb(
        folder, {image: {"features": f, "boxes": b} for image, f, b in zip(IDS, FEATURES, boxes, strict=True)}
    ),
}


@pytest.mark.parametrize("edge", [1.00005, 1.002, 1.009, 1.02])
@pytest.mark.parametrize("layout", SHARES)
def test_shares_may_leave_the_image_as_far_as_pixels(layout, edge, tmp_path):
    store = SHARES[layout](tmp_path, with_edge(BOXES, edge))()
    if edge == 1.02:
        with pytest.raises(ValueError, match=r"image '7': boxes reach from .* to 1\.02"):
            store["7"]
        return
    assert np.abs(store["7"][1] - with_edge(BOXES, 1)[0]).max() < 1e-6
    assert store.counts == ({} if edge == 1.00005 else {"boxes clipped to the image": 1})


@pytest.mark.parametrize("edge", [1, 1.002, 1.02, 1.1])
def test_shares_are_shares_however_they_are_rounded(edge, tmp_path):
    """They would all be in the first pixels of the image."""
    shares = with_edge(BOXES, edge)
    error = r"image '7': .*they are in \[0, 1\] already, where pixels are expected"
    with pytest.raises(ValueError, match=error):
        write_npz(tmp_path, FEATURES, shares / np.float32([*SIZE, *SIZE]))()["7"]
    columns = pixel_columns(BOXES)
    columns[..., :4] = shares
    with pytest.raises(ValueError, match=r"boxes of spatial_features are in \[0, 1\], but columns 4 and 5 differ"):
        write_hdf5(tmp_path, FEATURES, columns)()["7"]


def test_seven_columns_in_unit_are_read(tmp_path):
    area = (BOXES[..., 2:3] - BOXES[..., :1]) * (BOXES[..., 3:] - BOXES[..., 1:2])
    store = write_hdf5(tmp_path, FEATURES, np.concatenate([six_columns(BOXES), area], 2))()
    assert np.abs(store["7"][1] - BOXES[0]).max() < 1e-6


def test_pixels_where_unit_is_promised(tmp_path):
    error = r"image '7': boxes reach from .* allowed are xmin, ymin, xmax, ymax in \[0, 1\]. Divide pixel boxes"
    with pytest.raises(ValueError, match=error):
        write_numpy(tmp_path, FEATURES, pixels(BOXES))()["7"]
    with pytest.raises(ValueError, match=error):
        write_hdf5(tmp_path, FEATURES, six_columns(pixels(BOXES)))()["7"]
    write_lmdb(tmp_path, records(lambda f: f, lambda b: b))
    with pytest.raises(ValueError, match=error):
        RegionFeatures.from_lmdb(tmp_path / "regions.lmdb", normalized=True)["7"]


def test_columns_that_are_no_corners(tmp_path):
    spatial = six_columns(BOXES)
    spatial[..., 2:4] = spatial[..., 4:6]  # xywh, and width and height again
    with pytest.raises(ValueError, match="columns 4 and 5 differ from their width and height"):
        write_hdf5(tmp_path, FEATURES, spatial)()["7"]
    columns = pixel_columns(BOXES)
    columns[0, 1, 5] = 31
    with pytest.raises(ValueError, match="height and width of the image, differ between boxes of one image"):
        write_hdf5(tmp_path, FEATURES, columns)()["7"]


def test_boxes_that_leave_the_image(tmp_path):
    width, height = SIZE

    def moved(by):
        return write_lmdb(
            tmp_path / str(by), records(lambda f: f, lambda b: np.vstack([b[:3], [0, 0, width + by, 10]]))
        )

    for by in (0.5, 3):
        (tmp_path / str(by)).mkdir()
    store = moved(0.5)()
    assert store["7"][1][3].tolist() == [0, 0, 1, np.float32(10 / height)]
    assert store.counts == {"boxes clipped to the image": 1}
    with pytest.raises(ValueError, match=r"boxes leave an image of 40x30 pixels by up to 3 pixels"):
        moved(3)()["7"]


@pytest.mark.parametrize(("size", "error"), [((0, 30), "0 wide and 30 high"), ((2.5, 3), "image_w is 2.5")])
def test_sizes_of_images(size, error, tmp_path):
    store = write_lmdb(tmp_path, records(lambda f: f, lambda b: b, image_w=size[0], image_h=size[1]))()
    with pytest.raises(ValueError, match=error):
        store["7"]


def test_records_without_a_size_hold_shares(tmp_path):
    bare = {image: {"features": f, "boxes": b} for image, f, b in zip(IDS, FEATURES, BOXES, strict=True)}
    store = write_lmdb(tmp_path, bare)()
    assert np.array_equal(store["9"][1], BOXES[2])


def test_rows_of_a_data_set():
    """What the collator reads from rows passes the same checks."""
    for features in (np.ones((2, 3), complex), [["a"], ["b"]], [[1.0], [1.0, 2.0]]):
        with pytest.raises(ValueError, match="row 3: features"):
            checked_objects(features, [[0, 0, 1, 1]] * 2, "row 3")
    with pytest.raises(ValueError, match="row 3: features hold NaN or infinity"):
        checked_objects(np.full((1, 2), 1e300), [[0, 0, 1, 1]], "row 3")
