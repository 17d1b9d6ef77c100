"""Image ids: text and numbers name the same image; duplicates are refused or counted; missing ones are found in time."""

import pickle
from collections import OrderedDict, defaultdict

import datasets
import numpy as np
import pytest
import torch
from region_writers import IDS, make_arrays, six_columns, write_hdf5, write_npz, write_numpy
from test_question_collator import collator as questions

from hf_guidance.data import ExplainedRowsCollator
from hf_guidance.data.questions.region_check import check_features
from hf_guidance.data.safe_pickle import safe_load

FEATURES, BOXES = make_arrays()


@pytest.fixture
def store(tmp_path):
    return write_numpy(tmp_path, FEATURES, BOXES)


def test_text_and_numbers_name_the_same_image(store):
    regions = store()
    for image in (42, "42", 42.0, np.int64(42), np.float32(42), b"42", torch.tensor(42), np.array(42), "0042"):
        assert np.array_equal(regions[image][0], FEATURES[1])
        assert image in regions
    for image in (None, True, 42.5, float("nan"), ["42"]):
        assert image not in regions
        with pytest.raises(ValueError, match=r"the id .* is neither text nor a whole number"):
            regions[image]
    assert regions.missing([42, "42", 42.0, "8", 8]) == ["8"]


@pytest.mark.parametrize("ids", [[b"7", b"42", b"9"], np.array([7, 42, 9]), np.array([7.0, 42, 9]), np.array(["7", "42", "9"]),
                                 {7: 0.0, 42: np.int64(1), 9: "2"}])  # fmt: skip
def test_ids_of_rows_of_every_type(ids, store):
    assert np.array_equal(store(ids=ids)["42"][0], FEATURES[1])


@pytest.mark.parametrize(
    ("ids", "error"),
    [
        ({7: 0, 42: 1.5}, r"the row of image 42 is 1\.5; allowed is a whole number"),
        ({7: 0, 42: -1}, r"the row of image 42 is -1"),
        ({7: 0, 42: True}, r"the row of image 42 is True"),
        ({7: 0, 42: [1, 2]}, r"the row of image 42 is \[1, 2\]"),
        ({7: 0, 42: 3}, r"rows \{'42': 3\} among them"),
        ({7: 0, "7": 1}, r"1 image ids are listed twice"),
        ([7, 7.0, 9], r"1 image ids are listed twice"),
        ([7, None, 9], r"the id None is neither text nor"),
    ],
)
def test_ids_that_cannot_be(ids, error, store):
    with pytest.raises(ValueError, match=error):
        store(ids=ids)


@pytest.mark.parametrize(
    "ids",
    [{7, 42, 9}, frozenset({7}), 3, 7.5, [[7], [42], [9]], np.array([[7], [42], [9]]), b"742"],
    ids=lambda ids: type(ids).__name__,
)  # fmt: skip
def test_ids_without_an_order_are_refused(ids, store):
    with pytest.raises(ValueError, match=r"features\.npy: ids is a .*; give image ids in the order of the rows"):
        store(ids=ids)


@pytest.mark.parametrize(
    "ids",
    [
        ("7", "42", "9"),
        range(3),
        iter([7, 42, 9]),
        map(int, "742"),
        {7: 0, 42: 0, 9: 0}.keys(),
        torch.tensor([7, 42, 9]),
        datasets.Dataset.from_dict({"i": [7, 42, 9]})["i"],
    ],
)
def test_ids_in_an_order_are_taken(ids, store):
    assert len(store(ids=ids)) == 3


def test_shared_rows_are_counted(store):
    assert store(ids={7: 0, 42: 1, 9: 1}).counts == {"images that share a row with another": 1}
    assert not store().counts


def test_json_with_an_id_twice(store, tmp_path):
    (tmp_path / "ids.json").write_text('{"7": 0, "7": 1, "9": 2}')
    with pytest.raises(ValueError, match=r"ids\.json: this is not well-formed JSON \(the key '7' is there twice\)"):
        store(ids=tmp_path / "ids.json")


def test_names_of_coco_stand_for_their_numbers(tmp_path):
    named = write_npz(tmp_path, FEATURES, BOXES, file="COCO_val2014_{:0>12}.npz")()
    assert np.array_equal(named[42][0], FEATURES[1])
    assert np.array_equal(named["COCO_val2014_000000000042"][0], FEATURES[1])
    assert named.missing(["COCO_train2014_000000000042", "COCO_42", 8]) == [
        "COCO_train2014_000000000042",
        "COCO_42",
        "8",
    ]


def test_a_number_does_not_stand_for_a_name_of_coco(store):
    """Image 42 may be one of Visual Genome."""
    regions = store()
    assert "COCO_val2014_000000000042" not in regions
    with pytest.raises(KeyError, match="image 'COCO_val2014_000000000042': no such image"):
        regions["COCO_val2014_000000000042"]


def test_two_names_of_one_number_are_asked_for_by_name(store):
    regions = store(ids=["COCO_val2014_000000000042", "COCO_train2014_000000000042", "9"])
    with pytest.raises(ValueError, match=r"image '42' may be any of \['COCO_val2014_000000000042', 'COCO_train2014_"):
        regions[42]
    assert np.array_equal(regions["COCO_train2014_000000000042"][0], FEATURES[1])


def test_zeros_before_a_number_may_name_several(store):
    regions = store(ids=["42", "0042", "9"])
    assert np.array_equal(regions[42][0], FEATURES[0])
    assert np.array_equal(regions["0042"][0], FEATURES[1])
    with pytest.raises(ValueError, match=r"image '00042' may be any of \['42', '0042'\]"):
        regions["00042"]
    assert np.array_equal(regions["009"][0], FEATURES[2])


def test_ids_beside_an_hdf5_file(tmp_path):
    store = write_hdf5(tmp_path, FEATURES, six_columns(BOXES))
    beside = tmp_path / "train36_imgid2img.pkl"
    for content in (OrderedDict(zip(map(int, IDS), range(3), strict=True)), defaultdict(int, {7: 0, 42: 1, 9: 2})):
        for protocol in range(6):
            beside.write_bytes(pickle.dumps(content, protocol))
            assert np.array_equal(store()["42"][0], FEATURES[1])
    (tmp_path / "train36_imgid2idx.json").write_text("[7, 42, 9]")
    with pytest.raises(ValueError, match=r"more than one of .*lies beside it; pass ids"):
        store()
    beside.unlink()
    assert np.array_equal(store()["42"][0], FEATURES[1])
    (tmp_path / "train36_imgid2idx.json").unlink()
    with pytest.raises(ValueError, match=r"none of \['train36_imgid2idx\.pkl'.*pass ids"):
        store()


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_plain_containers(protocol, tmp_path):
    content = [
        {1, 2},
        frozenset({3}),
        b"",
        bytearray(b"x"),
        OrderedDict(a=1),
        defaultdict(list, b=[2]),
        np.arange(3, dtype=">f8"),
    ]
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(content, protocol))
    loaded = safe_load(tmp_path / "plain.pkl")
    assert loaded[:6] == [{1, 2}, {3}, b"", b"x", {"a": 1}, {"b": [2]}]
    assert loaded[6].tolist() == [0, 1, 2]


def rows(ids, **columns):
    return {"image_id": ids, "question": ["is it red?"] * len(ids), **columns}


def test_missing_features_are_counted_before_training(store):
    regions = store()
    good = datasets.Dataset.from_dict(rows(["7", "42", "7"]))
    check_features(good, regions, "train_dataset")
    bad = datasets.Dataset.from_dict(rows(["7", "8", "8", "10", "11"]))
    error = (
        r"train_dataset: 3 of 4 images have no features in RegionFeatures\(3 images of .*features\.npy\) "
        r"\(first: \['8', '10', '11'\]\)"
    )
    for data in (bad, bad.to_list(), bad.cast_column("image_id", datasets.Value("int64"))):
        with pytest.raises(ValueError, match=error):
            check_features(data, regions, "train_dataset")
    with pytest.raises(ValueError, match=r"1 of 2 images have no features in regions \(first: \['8'\]\)"):
        check_features([{"image_id": "7"}, {"image_id": "8"}], {"7": 0}, "rows")


def plain(kind):
    """A mapping of the images 7 and 42, by text or by number."""
    return {kind(image): (FEATURES[row], BOXES[row]) for row, image in enumerate((7, 42))}


@pytest.mark.parametrize("kind", [str, int])
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_check_finds_what_the_collator_finds(kind, wrapped):
    collator = questions(regions=plain(kind))
    checked = ExplainedRowsCollator(lambda rows: {}, collator) if wrapped else collator
    for ids in (["42", "7"], [42, 7], [42.0, np.int64(7)], [b"42", torch.tensor(7)]):
        given = [{"image_id": image, "question": "is it red?", "question_id": 0} for image in ids]
        checked.check_rows(given, "train_dataset")
        assert torch.equal(collator(given)["visual_feats"], torch.from_numpy(FEATURES[[1, 0]]))
    with pytest.raises(
        ValueError, match=r"train_dataset: 1 of 2 images have no features in regions \(first: \['8'\]\)"
    ):
        checked.check_rows([{"image_id": 8}, {"image_id": 7}], "train_dataset")
    for image in ([42], {"a": 1}, 1.5, True):
        with pytest.raises(ValueError, match=r"train_dataset, image_id: the id .* is neither text nor a whole number"):
            checked.check_rows([{"image_id": image}], "train_dataset")


def test_rows_with_features_of_their_own_and_streams_are_accepted(store):
    regions = store()
    own = datasets.Dataset.from_dict(rows(["7", "8"], features=[None, [[1.0]]]))
    check_features(own, regions, "rows")
    check_features(own.to_list(), regions, "rows")
    check_features(own.to_iterable_dataset(), regions, "rows")
    check_features(own.with_transform(lambda batch: batch), regions, "rows")
    check_features(own.remove_columns("image_id"), regions, "rows")
    with pytest.raises(ValueError, match="1 of 1 images have no features"):
        check_features(datasets.Dataset.from_dict(rows(["8"], features=[None])), regions, "rows")
