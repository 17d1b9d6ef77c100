"""Every published layout gives the same features; what holds none of them is refused with the list of those."""

import json
import pickle

import numpy as np
import pytest
from region_writers import (
    BOTTOM_UP,
    IDS,
    LXMERT,
    SIZE,
    entry,
    make_arrays,
    pixels,
    six_columns,
    tsv_lines,
    write_flat,
    write_gqa,
    write_groups,
    write_hdf5,
    write_lmdb,
    write_npz,
    write_numpy,
    write_tsv,
    write_varying,
)

from hf_guidance.data.questions.region_check import check_features
from hf_guidance.data.questions.regions import RegionFeatures

FEATURES, BOXES = make_arrays()
UNIT = (BOXES * np.float32([*SIZE, *SIZE])) / np.float32([*SIZE, *SIZE])


def lmdb(folder):
    return write_lmdb(folder, {key: entry(f, b, bytes) for key, f, b in zip(IDS, FEATURES, BOXES, strict=True)})


def dims_first(folder):
    """(dims, objects), as the extractor of MCAN writes it."""
    return write_npz(folder, FEATURES.transpose(0, 2, 1), BOXES, file="COCO_train2014_{:0>12}.jpg.npz")


def lxmert_names(folder):
    return write_npz(folder, FEATURES, BOXES, ("features", "boxes", "num_boxes", "img_h", "img_w"))


LAYOUTS = {
    "padded": (lambda folder: write_hdf5(folder, FEATURES, six_columns(BOXES)), "train36.hdf5"),
    "flat": (lambda folder: write_flat(folder, FEATURES, BOXES, counts=(4, 4, 4)), "train.hdf5"),
    "groups": (lambda folder: write_groups(folder, FEATURES, BOXES), "features.h5"),
    "gqa": (lambda folder: write_gqa(folder, FEATURES, BOXES), "gqa_objects_info.json"),
    "gqa, index": (lambda folder: write_gqa(folder, FEATURES, BOXES, index="index"), "."),
    "lmdb": (lmdb, "regions.lmdb"),
    "tsv": (lambda folder: write_tsv(folder, tsv_lines(FEATURES, BOXES)), "train36.tsv"),
    "tsv of lxmert": (lambda folder: write_tsv(folder, tsv_lines(FEATURES, BOXES), LXMERT), "train36.tsv"),
    "tsv with names": (
        lambda folder: write_tsv(folder, tsv_lines(FEATURES, BOXES), sorted(BOTTOM_UP), header=True),
        "train36.tsv",
    ),
    "npz": (lambda folder: write_npz(folder, FEATURES, BOXES), "npz"),
    "npz, dims first": (dims_first, "npz"),
    "npz of lxmert": (lxmert_names, "npz"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_by_its_constructor_and_by_what_it_holds(layout, tmp_path):
    write, path = LAYOUTS[layout]
    read = write(tmp_path)
    for regions in (read(), RegionFeatures.open(tmp_path / path)):
        assert len(regions) == 3
        assert regions.missing([*IDS, 42, "8"]) == ["8"]
        for copy in (regions, pickle.loads(pickle.dumps(regions))):
            for row, image in enumerate(IDS):
                features, boxes = copy[int(image)]
                assert features.dtype == boxes.dtype == np.float32
                assert np.array_equal(features, FEATURES[row])
                assert np.abs(boxes - UNIT[row]).max() < 1e-6


@pytest.mark.parametrize("layout", ["padded", "flat", "groups", "gqa", "lmdb", "tsv", "npz"])
def test_read_in_workers_of_a_data_loader(layout, tmp_path):
    from torch.utils.data import DataLoader

    regions = LAYOUTS[layout][0](tmp_path)()
    assert regions["7"][0].shape == (4, 5)  # opened here first: a worker must open its own
    loader = DataLoader(IDS, batch_size=None, num_workers=2, collate_fn=lambda image: regions[image][0])
    assert np.array_equal(np.stack(list(loader)), FEATURES)


def test_adaptive_numbers_of_boxes(tmp_path):
    counts = (4, 2, 3)
    images = [FEATURES[row][:count] for row, count in enumerate(counts)], [BOXES[r][:c] for r, c in enumerate(counts)]
    stores = [
        write_flat(tmp_path, FEATURES, BOXES)(),
        write_flat(tmp_path, FEATURES, BOXES, "numbers", pos_boxes=None, num_boxes=np.array(counts))(),
        write_varying(tmp_path, *images)(),
        write_flat(tmp_path, FEATURES, BOXES, "ids", image_ids=np.array([b"7", b"42", b"9"]))(),
        write_tsv(tmp_path, tsv_lines(*images))(),
        write_npz(tmp_path, *images)(),
        write_groups(tmp_path, *images)(),
    ]
    for store in stores:
        for row, (image, count) in enumerate(zip(IDS, counts, strict=True)):
            assert np.array_equal(store[image][0], FEATURES[row][:count])
            assert np.abs(store[image][1] - UNIT[row][:count]).max() < 1e-6


FEWER = [each[:count] for each, count in zip(FEATURES, (4, 0, 3), strict=True)]
FEWER_BOXES = [each[:count] for each, count in zip(BOXES, (4, 0, 3), strict=True)]


def lmdb_without(folder):
    return write_lmdb(folder, {key: entry(f, b, bytes) for key, f, b in zip(IDS, FEWER, FEWER_BOXES, strict=True)})


def tsv_without(folder):
    none = {"num_boxes": 0, "boxes": "", "features": ""}
    lines = tsv_lines(FEATURES, BOXES)
    return write_tsv(folder, [line | none if line["image_id"] == "42" else line for line in lines])


def numpy_without(folder):
    store = write_numpy(folder, FEATURES, BOXES)
    return lambda: store(num_boxes=[4, 0, 3])


def gqa_without(folder):
    store = write_gqa(folder, FEATURES, BOXES)
    info = json.loads((folder / "gqa_objects_info.json").read_text())
    info["42"]["objectsNum"] = 0
    (folder / "gqa_objects_info.json").write_text(json.dumps(info))
    return store


WITHOUT = {
    "padded": lambda folder: write_hdf5(folder, FEATURES, six_columns(BOXES), num_boxes=[4, 0, 3]),
    "flat": lambda folder: write_flat(folder, FEATURES, BOXES, counts=(4, 0, 3)),
    "varying": lambda folder: write_varying(folder, FEWER, FEWER_BOXES),
    "groups": lambda folder: write_groups(folder, FEWER, FEWER_BOXES),
    "gqa": gqa_without,
    "lmdb": lmdb_without,
    "tsv": tsv_without,
    "npz": lambda folder: write_npz(folder, FEWER, FEWER_BOXES),
    "numpy": numpy_without,
}
RECORDS = ("groups", "lmdb", "npz")  # whose images are asked one by one


@pytest.mark.parametrize("layout", WITHOUT)
def test_images_without_a_box_are_found_before_training(layout, tmp_path):
    store = WITHOUT[layout](tmp_path)()
    assert store.counts == ({} if layout in RECORDS else {"images without a box": 1})
    if layout != "npz":  # each of whose files would have to be opened
        assert store.missing([*IDS, 9]) == ["42"]
        assert "42" not in store
        with pytest.raises(ValueError, match=r"train_dataset: 1 of 3 images have no features.*first: \['42'\]"):
            check_features([{"image_id": image} for image in IDS], store, "train_dataset")
    with pytest.raises(KeyError) as error:
        store["42"]
    assert ("image '42': the image has no box" if layout in RECORDS else "image '42': no such image") in str(
        error.value
    )
    assert np.array_equal(store["7"][0], FEATURES[0])


def test_a_padded_record_without_a_box_is_refused_when_read(tmp_path):
    padded = {**entry(np.zeros((90, 99), np.float32), np.zeros((90, 4), np.float32), bytes), "num_boxes": 0}
    store = write_lmdb(tmp_path, {"7": entry(FEATURES[0], BOXES[0], bytes), "42": padded})()
    assert store.missing(["42"]) == []
    with pytest.raises(KeyError, match="image '42': the image has no box"):
        store["42"]


def test_npz(tmp_path):
    store = dims_first(tmp_path)()
    assert store.ids == [f"COCO_train2014_{int(image):012}" for image in sorted(IDS, key=int)]
    (tmp_path / "npz" / "more").mkdir()
    other = tmp_path / "npz" / "more" / "COCO_train2014_000000000007.npz"
    np.savez(other, x=FEATURES[0].T)
    with pytest.raises(ValueError, match="are both of image 'COCO_train2014_000000000007'"):
        RegionFeatures.from_npz(tmp_path / "npz")
    other.rename(tmp_path / "npz" / "0.npz")
    with pytest.raises(
        ValueError, match=r"0\.npz: the record has the fields \['x'\]; allowed is a dict with features or"
    ):
        RegionFeatures.from_npz(tmp_path / "npz")
    np.savez(tmp_path / "npz" / "0.npz", x=np.ones((4, 4)), bbox=np.ones((4, 4)))
    with pytest.raises(ValueError, match=r"x has shape \(4, 4\) for 4 boxes"):
        RegionFeatures.from_npz(tmp_path / "npz")["0"]
    np.savez(tmp_path / "npz" / "0.npz", x=np.array([None] * 4), bbox=np.ones((4, 4)))
    with pytest.raises(ValueError, match=r"image '0': .*allow_pickle=False"):
        RegionFeatures.from_npz(tmp_path / "npz")["0"]
    (tmp_path / "npz" / "0.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=r"0\.npz is not a complete \.npz file"):
        RegionFeatures.from_npz(tmp_path / "npz")


def test_several_files(tmp_path):
    """VQA-CP takes images of train2014 and of val2014 in both of its parts."""
    write_flat(tmp_path, FEATURES, BOXES)
    write_flat(tmp_path, FEATURES + 1, BOXES, "val", ["1", "2", "3"])
    both = RegionFeatures.open(tmp_path / "train.hdf5", tmp_path / "val.hdf5")
    assert len(both) == 6
    assert np.array_equal(both[42][0], FEATURES[1][:2])
    assert np.array_equal(pickle.loads(pickle.dumps(both))["2"][0], FEATURES[1][:2] + 1)
    with pytest.raises(KeyError) as error:
        both["8"]
    assert "image '8': no such image among 6" in str(error.value)
    assert "train.hdf5" in str(error.value)
    assert "val.hdf5" in str(error.value)
    assert "train.hdf5" in repr(both)
    parts = RegionFeatures.from_hdf5(tmp_path / "train.hdf5"), write_tsv(tmp_path, tsv_lines(FEATURES, BOXES))()
    with pytest.raises(
        ValueError, match=r"3 images are in .*train36\.tsv and in .*train\.hdf5 \(first: \['7', '42', '9'\]\)"
    ):
        RegionFeatures.joined(*parts)
    with pytest.raises(ValueError, match="no region features are given"):
        RegionFeatures.open()


def test_unknown_layouts_list_the_known_ones(tmp_path):
    known = "known layouts: HDF5 with image_features"
    h5py = pytest.importorskip("h5py")
    (tmp_path / "text.tsv").write_text("image\tfeature\nx\ty\n")
    (tmp_path / "binary.tsv").write_bytes(bytes(range(256)))
    (tmp_path / "empty").mkdir()
    (tmp_path / "info.json").write_text('{"7": {"idx": 0}}')
    np.save(tmp_path / "features.npy", FEATURES)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["vectors"] = FEATURES
    with h5py.File(tmp_path / "groups.h5", "w") as file:
        file.create_group("7")["vectors"] = FEATURES
    (tmp_path / "lmdb").mkdir()
    write_lmdb(tmp_path / "lmdb", {"7": {"vectors": 1}})
    for name in ("text.tsv", "binary.tsv", "empty", "info.json", "features.npy", "other.h5"):
        with pytest.raises(ValueError, match=known):
            RegionFeatures.open(tmp_path / name)
    for name in ("groups.h5", "lmdb/regions.lmdb"):
        with pytest.raises(
            ValueError, match=r"the record has the fields \['vectors'\]; allowed is a dict with features or"
        ):
            RegionFeatures.open(tmp_path / name)
    with pytest.raises(ValueError, match="nowhere does not exist"):
        RegionFeatures.open(tmp_path / "nowhere")


def test_features_of_another_number_of_dims_are_refused(tmp_path):
    entries = {key: entry(f, b, bytes) for key, f, b in zip(IDS, FEATURES, BOXES, strict=True)}
    entries["42"] = entry(np.tile(FEATURES[1], 2), BOXES[1], bytes)
    store = write_lmdb(tmp_path, entries)()
    assert store["7"][0].shape == (4, 5)
    with pytest.raises(
        ValueError, match=r"image '42': features have 10 numbers per box, the images read before have 5"
    ):
        store["42"]


def test_padded_records(tmp_path):
    """num_boxes says how many of the arrays are there; the rest must be zeros."""
    features, boxes = (np.pad(array, ((0, 2), (0, 0))) for array in (FEATURES[0], pixels(BOXES[0])))
    record = {"features": features, "boxes": boxes, "num_boxes": 4, "image_w": SIZE[0], "image_h": SIZE[1]}
    store = write_lmdb(tmp_path, {"7": record, "9": {**record, "num_boxes": 3}, "8": {**record, "num_boxes": 7}})()
    assert np.array_equal(store["7"][0], FEATURES[0])
    for image in ("8", "9"):
        with pytest.raises(
            ValueError, match=r"boxes are declared, but there are 30 numbers of features and 24 of boxes"
        ):
            store[image]
