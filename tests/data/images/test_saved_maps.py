"""Saved maps: read from shards, matched with rows by what the rows are, refused where they belong to something else."""

from __future__ import annotations

import json
import pickle

import datasets
import numpy as np
import pytest
import torch
from answered import numbers, saved, train_rows
from torch import nn

from hf_guidance.common.weights_digest import weights_digest
from hf_guidance.data import SavedMaps
from hf_guidance.data.images.map_files import FINISHED, UNFINISHED, write_facts
from hf_guidance.data.images.row_fingerprint import changes_when_read, row_fingerprint, row_fingerprints


@pytest.fixture
def rows():
    return train_rows()


def test_maps_are_read_in_the_order_of_the_rows(tmp_path, rows):
    maps = saved(tmp_path, rows)
    assert (len(maps), maps.shape, maps[3].dtype) == (10, (2, 3), np.float32)
    assert np.array_equal(np.stack([maps[i] for i in range(10)]), numbers())
    assert np.array_equal(maps[-1], maps[9])
    assert np.array_equal(maps.taken([7, 0]), numbers()[[7, 0]])
    assert maps.taken([]).shape == (0, 2, 3)
    with pytest.raises(IndexError, match="there are 10"):
        maps[10]
    assert np.array_equal(pickle.loads(pickle.dumps(maps))[5], maps[5])
    assert all(str(tmp_path) in file["filename"] for file in maps.rows.cache_files)  # mapped, not copied


def test_a_folder_without_maps_unfinished_or_without_a_shard_is_refused_by_name(tmp_path, rows):
    with pytest.raises(ValueError, match="holds no maps"):
        SavedMaps.from_folder(tmp_path)
    write_facts(tmp_path / UNFINISHED, {"format": 1, "made_of": {}, "shard_rows": 4})
    with pytest.raises(ValueError, match="are unfinished; run extract_maps with the same arguments"):
        SavedMaps.from_folder(tmp_path)
    saved(tmp_path, rows)
    shard = tmp_path / "maps-00001-of-00003.arrow"
    content = shard.read_bytes()
    shard.unlink()
    with pytest.raises(ValueError, match=r"lacks its shard maps-00001-of-00003\.arrow"):
        SavedMaps.from_folder(tmp_path)
    for part in (b"", content[: len(content) // 2], content[:-40], b"rubbish"):
        shard.write_bytes(part)
        with pytest.raises(ValueError, match=r"maps-00001-of-00003\.arrow"):
            len(SavedMaps.from_folder(tmp_path))
    shard.write_bytes((tmp_path / "maps-00002-of-00003.arrow").read_bytes())
    with pytest.raises(ValueError, match="holds 2 maps"):
        SavedMaps.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not well-formed JSON"), ("[1]", "says nothing of maps"), ('{"made_of": {}, "format": 2}', "upgrade")],
)
def test_damaged_or_later_lists_are_refused(tmp_path, text, message):
    (tmp_path / FINISHED).write_text(text)
    with pytest.raises(ValueError, match=message):
        SavedMaps.from_folder(tmp_path)


def test_rows_are_matched_in_any_order(tmp_path, rows, caplog):
    maps = saved(tmp_path, rows)
    assert maps.positions_of(rows).tolist() == list(range(10))
    assert not caplog.records
    assert maps.positions_of(rows.select([8, 2, 5])).tolist() == [8, 2, 5]
    assert "3 rows, 0 without a map, 7 maps without a row" in caplog.text
    shuffled = rows.shuffle(seed=3)
    assert [f"i{place}" for place in maps.positions_of(shuffled)] == shuffled["image_id"][:]


def test_rows_that_changed_are_refused(tmp_path, rows):
    maps = saved(tmp_path, rows)
    changed = {
        "image": rows["image"][:5] + rows["image"][6:] + rows["image"][5:6],
        "labels": [*rows["labels"][:5], [0], *rows["labels"][6:]],
        "image_id": [*rows["image_id"][:5], "other", *rows["image_id"][6:]],
    }
    for name, values in changed.items():
        other = train_rows(**{name: values})
        with pytest.raises(ValueError, match=r"of 10 rows of the data set have no map.*the first is row 5"):
            maps.check(dataset=other)
    found = maps.positions_of(train_rows(image_id=changed["image_id"]), allow_missing=True)
    assert found.tolist() == [0, 1, 2, 3, 4, -1, 6, 7, 8, 9]


def test_equal_rows_are_told_apart_by_their_order(tmp_path, rows):
    twice = rows.select([0, 1, 0, 2])
    maps = saved(tmp_path, twice)
    assert maps.positions_of(twice).tolist() == [0, 1, 2, 3]
    assert maps.positions_of(rows.select([2, 0, 0, 0])).tolist() == [3, 0, 2, 2]


def test_the_model_is_checked_by_its_weights(tmp_path, rows):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    maps = saved(tmp_path, rows, weights_digest(model))
    maps.check(model, rows)
    maps.check(torch.compile(model))
    maps.check(nn.DataParallel(model))
    with pytest.raises(ValueError, match="of other weights"):
        maps.check(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    model(torch.randn(4, 2))  # the statistics are weights too
    with pytest.raises(ValueError, match="of other weights"):
        maps.check(model)
    assert weights_digest(model.bfloat16()) != weights_digest(model.float())


def test_the_fingerprint_says_what_maps_are_made_of(tmp_path, rows):
    first, second, third = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    one, same, other = saved(first, rows), saved(second, rows), saved(third, rows, "v")
    assert one.fingerprint == same.fingerprint != other.fingerprint
    facts = json.loads((first / FINISHED).read_text())
    assert facts["rows"] == [4, 4, 2]


def test_fingerprints_do_not_depend_on_where_bytes_lie_nor_on_formats(tmp_path, rows):
    found = row_fingerprints(rows)
    assert len(set(found)) == 10
    rows.save_to_disk(tmp_path / "copy")
    assert row_fingerprints(datasets.load_from_disk(tmp_path / "copy")) == found
    assert row_fingerprints(rows.with_transform(lambda batch: batch)) == found
    assert row_fingerprints(rows.with_format("torch", columns=["labels"])) == found
    assert row_fingerprints(rows.cast_column("image", datasets.Image(decode=False))) == found
    assert row_fingerprints(rows.select([4, 1])) == [found[4], found[1]]
    files = []
    for number, image in enumerate(rows.cast_column("image", datasets.Image(decode=False))["image"]):
        files.append(str(tmp_path / f"{number}.png"))
        (tmp_path / f"{number}.png").write_bytes(image["bytes"])
    assert row_fingerprints(train_rows(image=files)) == found
    (tmp_path / "3.png").unlink()
    with pytest.raises(ValueError, match=r"3\.png' of a row cannot be read"):
        row_fingerprints(train_rows(image=files))


def test_fingerprints_of_pixels():
    pixels = np.zeros((3, 4, 4), np.float32)
    first = row_fingerprint({"pixel_values": pixels, "label": 1})
    assert first == row_fingerprint({"pixel_values": torch.zeros(3, 4, 4), "labels": [1], "image_id": None})
    assert first == row_fingerprint({"pixel_values": pixels, "label": np.int64(1), "image": "not read"})
    assert first != row_fingerprint({"pixel_values": pixels + 1, "label": 1})
    assert first != row_fingerprint({"pixel_values": pixels, "label": 0})
    table = datasets.Dataset.from_dict({"pixel_values": np.zeros((2, 3, 4, 4), np.float32), "label": [1, 0]})
    assert len(set(row_fingerprints(table))) == 2
    assert row_fingerprints([{"pixel_values": pixels, "label": 1}]) == [first]


@pytest.mark.parametrize("image", [None, "a.png", 3, [["a"]]])
def test_rows_without_pixels_are_refused(image):
    with pytest.raises(ValueError, match="image_id 'x' has no pixels"):
        row_fingerprint({"image": image, "image_id": "x"})


def test_streams_and_splits_are_refused(rows):
    for given in (rows.to_iterable_dataset(), datasets.DatasetDict(train=rows)):
        with pytest.raises(ValueError, match="rows have no numbers"):
            row_fingerprints(given)


def test_random_rows_are_noticed(rows):
    def noisy(batch):
        return {"pixel_values": [np.random.rand(3, 4, 4).astype(np.float32) for _ in batch["image"]]}  # noqa: NPY002

    assert changes_when_read(rows.with_transform(noisy))
    assert not changes_when_read(rows)
