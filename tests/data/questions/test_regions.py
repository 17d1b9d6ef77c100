"""RegionFeatures: the same boxes from every kind of file, lazily, and an error for every broken one."""

import base64
import pickle
import sys
import tracemalloc

import numpy as np
import pytest
from region_writers import (
    IDS,
    entry,
    make_arrays,
    pixel_columns,
    six_columns,
    write_hdf5,
    write_lmdb,
    write_numpy,
)

from hf_guidance.data.questions.regions import RegionFeatures
from hf_guidance.data.safe_pickle import safe_load


@pytest.fixture
def arrays():
    return make_arrays()


def check(regions, features, boxes):
    assert len(regions) == 3
    assert set(regions.ids) == set(IDS)
    for row, image_id in enumerate(IDS):
        for key in (image_id, int(image_id)):
            assert key in regions
            ours, places = regions[key]
            assert ours.dtype == places.dtype == np.float32
            assert np.array_equal(ours, features[row])
            assert np.abs(places - boxes[row]).max() < 1e-6
    with pytest.raises(ValueError, match=r"image '8': no such image among 3"):
        regions[8]
    copy = pickle.loads(pickle.dumps(regions))
    assert np.array_equal(copy["42"][0], features[1])


def test_numpy(tmp_path, arrays):
    check(write_numpy(tmp_path, *arrays)(), *arrays)


@pytest.mark.parametrize("columns", [six_columns, pixel_columns])
def test_hdf5(tmp_path, arrays, columns):
    check(write_hdf5(tmp_path, arrays[0], columns(arrays[1]))(), *arrays)


@pytest.mark.parametrize("encode", [bytes, base64.b64encode, lambda raw: base64.b64encode(raw).decode()])
def test_lmdb(tmp_path, arrays, encode):
    entries = {key: entry(f, b, encode) for key, f, b in zip(IDS, *arrays, strict=True)}
    check(write_lmdb(tmp_path, entries)(), *arrays)


def test_numpy_files_are_never_read_as_a_whole(tmp_path):
    features = np.lib.format.open_memmap(tmp_path / "features.npy", "w+", np.float32, (500, 36, 512))
    boxes = np.lib.format.open_memmap(tmp_path / "boxes.npy", "w+", np.float32, (500, 36, 4))
    features[3], boxes[3] = 1, [0, 0, 1, 1]
    del features, boxes
    tracemalloc.start()
    regions = RegionFeatures.from_numpy(tmp_path / "features.npy", tmp_path / "boxes.npy", range(500))
    assert regions[3][0].shape == (36, 512)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6  # the file is 37 MB


def test_fewer_boxes_than_places(tmp_path, arrays):
    features, boxes = (array.copy() for array in arrays)
    features[1, 3], boxes[1, 3] = 0, 0
    store = write_numpy(tmp_path, features, boxes)
    with pytest.raises(ValueError, match=r"image '42': 4 boxes are declared, but only 3 are there"):
        store()["42"]
    assert store(num_boxes=[4, 3, 4])["42"][0].shape == (3, 5)
    np.save(tmp_path / "counts.npy", [4, 3, 4])
    assert store(num_boxes=tmp_path / "counts.npy")["42"][1].shape == (3, 4)
    with pytest.raises(ValueError, match="9 boxes are declared, the file holds 4 places"):
        store(num_boxes=[9, 9, 9])["42"]
    hdf5 = write_hdf5(tmp_path, features, six_columns(boxes), num_boxes=[4, 3, 4])
    assert hdf5()["42"][0].shape == (3, 5)


def test_broken_numbers(tmp_path, arrays):
    features, boxes = (array.copy() for array in arrays)
    features[0, 0, 0], boxes[1, 0] = np.nan, [0, 0, 40, 30]
    regions = write_numpy(tmp_path, features, boxes)()
    with pytest.raises(ValueError, match=r"image '7': features hold NaN"):
        regions["7"]
    with pytest.raises(ValueError, match=r"image '42': boxes reach from .* to 40"):
        regions["42"]


def test_files_cut_short(tmp_path, arrays):
    numpy_store = write_numpy(tmp_path, *arrays)
    content = (tmp_path / "features.npy").read_bytes()
    (tmp_path / "features.npy").write_bytes(content[:-40])
    with pytest.raises(ValueError, match=r"features\.npy is not a complete \.npy file"):
        numpy_store()
    store = write_hdf5(tmp_path, arrays[0], six_columns(arrays[1]))
    content = (tmp_path / "train36.hdf5").read_bytes()
    for length in (len(content) - 100, 700, 0):
        (tmp_path / "train36.hdf5").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"train36\.hdf5 is not a complete HDF5 file"):
            store()
    (tmp_path / "regions.lmdb").mkdir()
    with pytest.raises(ValueError, match="is not an LMDB environment"):
        RegionFeatures.from_lmdb(tmp_path / "regions.lmdb")


def test_hdf5_with_a_part_that_cannot_be_read(tmp_path, arrays):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "chunks.hdf5", "w") as file:
        file.create_dataset("image_features", data=arrays[0], chunks=(1, 4, 5), compression="gzip", shuffle=True)
        file["spatial_features"] = six_columns(arrays[1])
        offset = file["image_features"].id.get_chunk_info(1).byte_offset
    content = bytearray((tmp_path / "chunks.hdf5").read_bytes())
    content[offset : offset + 20] = bytes(20)
    (tmp_path / "chunks.hdf5").write_bytes(content)
    regions = RegionFeatures.from_hdf5(tmp_path / "chunks.hdf5", IDS)
    assert np.array_equal(regions["7"][0], arrays[0][0])
    with pytest.raises(ValueError, match=r"image '42': .* is cut short: row 1"):
        regions["42"]


def test_wrong_layouts(tmp_path, arrays):
    features, boxes = arrays
    with pytest.raises(ValueError, match=r"has shape \(3, 4, 5\) and .* \(3, 3, 4\)"):
        write_numpy(tmp_path, features, boxes[:, :3])()
    with pytest.raises(ValueError, match=r"spatial_features \(3, 4, 4\); allowed"):
        write_hdf5(tmp_path, features, boxes)()
    with pytest.importorskip("h5py").File(tmp_path / "half.hdf5", "w") as file:
        file["image_features"] = features
    with pytest.raises(ValueError, match="has no spatial_features but"):
        RegionFeatures.from_hdf5(tmp_path / "half.hdf5", IDS)
    with pytest.raises(ValueError, match="does not exist"):
        RegionFeatures.from_hdf5(tmp_path / "nowhere.hdf5", IDS)
    entries = {"7": {**entry(features[0], boxes[0], bytes), "num_boxes": 5}, "9": {"num_boxes": 4}}
    regions = write_lmdb(tmp_path, entries)()
    with pytest.raises(ValueError, match="5 boxes are declared, but there are 20 numbers of features and 16 of boxes"):
        regions["7"]
    with pytest.raises(ValueError, match="key '9' is not as expected"):
        regions["9"]


def test_ids(tmp_path, arrays):
    store = write_numpy(tmp_path, *arrays)
    (tmp_path / "ids.json").write_text('{"7": 0, "42": 1, "9": 2}')
    assert store(ids=tmp_path / "ids.json").ids == IDS
    assert len(store(ids={"42": 1})) == 1
    with pytest.raises(ValueError, match="has 3 rows, the ids name 4"):
        store(ids=[1, 2, 3, 4])
    with pytest.raises(ValueError, match="has 3 rows, the ids name 2"):
        store(ids=[1, 2])
    with pytest.raises(ValueError, match=r"rows \{'1': 3\} among them"):
        store(ids={1: 3})
    with pytest.raises(ValueError, match="1 image ids are listed twice"):
        store(ids=[1, 1, 2])
    (tmp_path / "ids.json").write_text("{")
    with pytest.raises(ValueError, match="this is not well-formed JSON"):
        store(ids=tmp_path / "ids.json")
    (tmp_path / "ids.json").write_text("3")
    with pytest.raises(ValueError, match="holds a int; allowed: a list of image ids"):
        store(ids=tmp_path / "ids.json")


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_pickles_run_nothing(tmp_path, capsys):
    plain = {
        "a": 1,
        "b": [2.5, None, ("x", b"y")],
        "c": np.int64(3),
        "d": np.float32(0.5),
        "e": np.arange(6.0).reshape(2, 3),
    }
    for protocol in range(6):
        (tmp_path / "plain.pkl").write_bytes(pickle.dumps(plain, protocol))
        loaded = safe_load(tmp_path / "plain.pkl")
        assert np.array_equal(loaded.pop("e"), plain["e"])
        assert loaded == {key: value for key, value in plain.items() if key != "e"}
        assert loaded["c"].dtype == np.int64
    for evil in (Evil(), [Evil()], {"a": Evil()}, np.array([Evil()])):
        (tmp_path / "evil.pkl").write_bytes(pickle.dumps(evil))
        with pytest.raises(ValueError, match=r"evil\.pkl (holds|is not a complete pickle)"):
            print(safe_load(tmp_path / "evil.pkl"))
    assert "run" not in capsys.readouterr().out
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps(plain)[:-5])
    with pytest.raises(ValueError, match=r"cut\.pkl is not a complete pickle"):
        safe_load(tmp_path / "cut.pkl")


@pytest.mark.parametrize(("library", "method"), [("h5py", "from_hdf5"), ("lmdb", "from_lmdb")])
def test_a_missing_library_names_the_extra(tmp_path, monkeypatch, library, method):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"need {library}: pip install 'hf_guidance\[vqa\]'"):
        getattr(RegionFeatures, method)(tmp_path / "file")
