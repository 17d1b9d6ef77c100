"""HDF5 files of region features: places, counts, groups and ids that fit, or a refusal at opening."""

import numpy as np
import pytest
from region_writers import (
    IDS,
    SIZE,
    make_arrays,
    six_columns,
    write_flat,
    write_gqa,
    write_groups,
    write_hdf5,
    write_varying,
)

from hf_guidance.data.questions.regions import RegionFeatures

FEATURES, BOXES = make_arrays()
UNIT = (BOXES * np.float32([*SIZE, *SIZE])) / np.float32([*SIZE, *SIZE])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            {"pos_boxes": np.array([[0, 4], [4, 6]]).T.reshape(4)},
            r"pos_boxes has shape \(4,\); allowed is \(images, 2\)",
        ),
        (
            {"pos_boxes": [[0, 4], [4, 6], [6, 10]]},
            r"row 2, is \[6, 10\]; allowed are whole numbers, start <= end <= 9",
        ),
        ({"pos_boxes": [[0, 4], [6, 4], [6, 9]]}, r"row 1, is \[6, 4\]"),
        ({"pos_boxes": [[0, 4], [-2, 6], [6, 9]]}, r"row 1, is \[-2, 6\]"),
        ({"pos_boxes": [[0, 4], [4, 5.5], [6, 9]]}, r"row 1, is \[4.0, 5.5\]"),
        ({"pos_boxes": [[0, 4], [4, np.nan], [6, 9]]}, r"row 1, is \[4.0, nan\]"),
        ({"pos_boxes": [[0, 4], [3, 6], [6, 9]]}, r"1 images share boxes with another"),
        ({"pos_boxes": np.array([b"a", b"b"])}, r"pos_boxes has dtype"),
        ({"pos_boxes": None}, r"is only with pos_boxes"),
        ({"pos_boxes": None, "num_boxes": [4, 2, 2]}, r"num_boxes add up to 8, but there are 9 boxes"),
        ({"spatial_features": np.zeros((8, 6))}, r"image_features has shape \(9, 5\), spatial_features \(8, 6\)"),
    ],
)
def test_places_that_cannot_be_are_refused_at_opening(change, error, tmp_path):
    store = write_flat(tmp_path, FEATURES, BOXES, **change)
    with pytest.raises(ValueError, match=error):
        store()


def test_rows_of_varying_length_need_fitting_numbers(tmp_path):
    with pytest.raises(ValueError, match=r"image '42': 3 boxes are declared, but there are 20 numbers of features"):
        write_varying(tmp_path, FEATURES, BOXES, num_boxes=[4, 3, 4])()["42"]
    for counts in ([4, -3, 4], [4, 4], None):
        with pytest.raises(ValueError, match="num_boxes"):
            write_varying(tmp_path, FEATURES, BOXES, num_boxes=counts)()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"objectsNum": 6}, r"objectsNum 6; .*gqa_objects_0\.h5 holds 2 images with 5 places"),
        ({"objectsNum": -1}, r"objectsNum is -1; allowed is a whole number"),
        ({"objectsNum": None}, r"objectsNum is None"),
        ({"file": 3}, r"names file 3, but 0 files \*_3\.h5 with features and bboxes lie beside it"),
        ({"index": 1}, r"allowed are idx \(or index\), file"),
        ({"idx": 7}, r"index 7, objectsNum 4"),
        ({"width": 2.5}, r"width is 2.5"),
    ],
)
def test_gqa_says_what_does_not_fit(changes, error, tmp_path):
    store = write_gqa(tmp_path, FEATURES, BOXES, **changes)
    with pytest.raises(ValueError, match=error):
        store()


def test_a_file_of_gqa_without_its_index_is_refused(tmp_path):
    write_gqa(tmp_path, FEATURES, BOXES)
    with pytest.raises(ValueError, match=r"a part of GQA's objects; pass gqa_objects_info\.json"):
        RegionFeatures.open(tmp_path / "gqa_objects_0.h5")


def test_groups_beside_a_data_set(tmp_path):
    """A list of the ids, say: it is no image."""
    h5py = pytest.importorskip("h5py")
    store = write_groups(tmp_path, FEATURES, BOXES)
    with h5py.File(tmp_path / "features.h5", "a") as file:
        file["all_ids"], file["zids"] = [7, 42, 9], [7, 42, 9]
    assert sorted(store().ids) == sorted(IDS)
    assert sorted(RegionFeatures.open(tmp_path / "features.h5").ids) == sorted(IDS)


def test_each_data_set_of_a_group_is_read_once(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    store, read, original = write_groups(tmp_path, FEATURES, BOXES)(), [], h5py.Dataset.__getitem__
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda self, *a: (read.append(self.name), original(self, *a))[1])
    store["7"]
    assert sorted(read) == ["/7/bboxes", "/7/features", "/7/num_boxes"]


@pytest.mark.parametrize("field", ["boxes", "num_boxes"])
def test_a_damaged_group_is_refused_when_it_is_read(field, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "features.h5"
    values = {"features": FEATURES[0], "boxes": BOXES[0], **({"num_boxes": [4]} if field == "num_boxes" else {})}
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            file.create_dataset(f"7/{name}", data=value, chunks=True, compression="gzip", fletcher32=True)
    with h5py.File(path) as file:
        place = file[f"7/{field}"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 4] = b"\x55" * 4
    path.write_bytes(content)
    store = RegionFeatures.from_hdf5(path)
    assert store.missing(["7"]) == []
    with pytest.raises(ValueError, match="is cut short: '7' cannot be read"):
        store["7"]


def test_parts_of_hdf5_that_are_not_what_they_should_be(tmp_path):
    h5py = pytest.importorskip("h5py")
    store = write_hdf5(tmp_path, FEATURES, six_columns(BOXES))
    with h5py.File(tmp_path / "train36.hdf5", "a") as file:
        file.create_group("image_ids")["x"] = 1
    assert store().missing(IDS) == []  # from the file beside it
    for name in ("image_features", "spatial_features"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["image_features"], file["spatial_features"] = FEATURES, six_columns(BOXES)
            del file[name]
            file.create_group(name)["x"] = 1
        with pytest.raises(ValueError, match=f"{name} is a group, where a data set is meant"):
            RegionFeatures.open(tmp_path / f"{name}.h5")
    for name in ("7", "image_features"):
        with h5py.File(tmp_path / "link.h5", "w") as file:
            file[name] = h5py.ExternalLink("nowhere.h5", "/x")
        with pytest.raises(ValueError, match=rf"link\.h5: '{name}' is a link to what is not there"):
            RegionFeatures.open(tmp_path / "link.h5")


@pytest.mark.parametrize("column", [False, True])
def test_ids_in_the_file(column, tmp_path):
    ids = np.array([b"1", b"2", b"3"])
    write_hdf5(tmp_path, FEATURES, six_columns(BOXES), image_ids=ids[:, None] if column else ids)
    assert RegionFeatures.open(tmp_path / "train36.hdf5").ids == ["1", "2", "3"]
