"""Writes the same three images' region features in every layout; each writer returns how to read them."""

import base64
import csv
import io
import json
import pickle

import numpy as np
import pytest

from hf_guidance.data.questions.regions import RegionFeatures

IDS = ["7", "42", "9"]
SIZE = (40, 30)


def make_arrays():
    """Features (3, 4, 5) and boxes (3, 4, 4) in [0, 1], float32."""
    draws = np.random.default_rng(0)
    features = draws.normal(size=(3, 4, 5)).astype(np.float32)
    low, high = draws.uniform(0, 0.5, (3, 4, 2)), draws.uniform(0.5, 1, (3, 4, 2))
    return features, np.concatenate([low, high], 2).astype(np.float32)


def write_numpy(folder, features, boxes):
    np.save(folder / "features.npy", features)
    np.save(folder / "boxes.npy", boxes)
    return lambda **options: RegionFeatures.from_numpy(
        folder / "features.npy", folder / "boxes.npy", **{"ids": IDS, **options}
    )


def write_hdf5(folder, features, spatial, **others):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "train36.hdf5", "w") as file:
        file["image_features"], file["spatial_features"] = features, spatial
        for name, value in others.items():
            file[name] = value
    (folder / "train36_imgid2img.pkl").write_bytes(
        pickle.dumps({int(image_id): row for row, image_id in enumerate(IDS)}, protocol=2)
    )
    return lambda: RegionFeatures.from_hdf5(folder / "train36.hdf5")


def six_columns(boxes):
    return np.concatenate([boxes, boxes[..., 2:] - boxes[..., :2]], -1)


def pixel_columns(boxes):
    width, height = SIZE
    pixels = boxes * np.array([width, height, width, height], np.float32)
    area = np.zeros_like(boxes[..., :1])
    return np.concatenate([pixels, area, area + height, area + width], 2)


def entry(features, boxes, encode):
    pixels = (boxes * np.array([*SIZE, *SIZE], np.float32)).astype(np.float32)
    sizes = {"num_boxes": len(boxes), "image_w": SIZE[0], "image_h": SIZE[1]}
    return {**sizes, "features": encode(features.tobytes()), "boxes": encode(pixels.tobytes())}


def write_lmdb(folder, entries):
    lmdb = pytest.importorskip("lmdb")
    with (
        lmdb.open(str(folder / "regions.lmdb"), map_size=1 << 22) as environment,
        environment.begin(write=True) as write,
    ):
        for key, value in entries.items():
            write.put(key.encode(), pickle.dumps(value))
        write.put(b"keys", pickle.dumps(list(entries)))
    return lambda: RegionFeatures.from_lmdb(folder / "regions.lmdb")


def pixels(boxes):
    return (boxes * np.array([*SIZE, *SIZE], np.float32)).astype(np.float32)


def write_flat(folder, features, boxes, name="train", ids=IDS, counts=(4, 2, 3), **others):
    """All boxes in one array; image i has the first counts[i] of its boxes."""
    h5py = pytest.importorskip("h5py")
    ends = np.cumsum(counts)
    spatial = six_columns(boxes)
    arrays = {
        "image_features": np.concatenate([each[:count] for each, count in zip(features, counts, strict=True)]),
        "spatial_features": np.concatenate([each[:count] for each, count in zip(spatial, counts, strict=True)]),
        "image_bb": np.concatenate([pixels(each[:count]) for each, count in zip(boxes, counts, strict=True)]),
        "pos_boxes": np.stack([ends - counts, ends], 1).astype(np.int32),
    } | others
    with h5py.File(folder / f"{name}.hdf5", "w") as file:
        for key, value in arrays.items():
            if value is not None:
                file[key] = value
    rows = {int(image_id): row for row, image_id in enumerate(ids)}
    (folder / f"{name}_imgid2idx.pkl").write_bytes(pickle.dumps(rows, protocol=2))
    return lambda: RegionFeatures.from_hdf5(folder / f"{name}.hdf5")


def write_varying(folder, features, boxes, num_boxes=()):
    """Rows of varying length, flattened."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "varying.h5", "w") as file:
        for name, rows in (("image_features", features), ("spatial_features", [six_columns(each) for each in boxes])):
            rows_of_name = file.create_dataset(name, (len(rows),), h5py.vlen_dtype(np.float32))
            for index, row in enumerate(rows):
                rows_of_name[index] = row.ravel()
        if num_boxes is not None:
            file["num_boxes"] = [len(each) for each in features] if len(num_boxes) == 0 else num_boxes
    return lambda: RegionFeatures.from_hdf5(folder / "varying.h5", IDS)


def write_groups(folder, features, boxes):
    with pytest.importorskip("h5py").File(folder / "features.h5", "w") as file:
        for image_id, each, places in zip(IDS, features, boxes, strict=True):
            group = file.create_group(image_id)
            group["features"], group["bboxes"], group["num_boxes"] = each, pixels(places), len(each)
            group.attrs["image_w"], group.attrs["image_h"] = SIZE
    return lambda: RegionFeatures.from_hdf5(folder / "features.h5")


def write_gqa(folder, features, boxes, index="idx", **changes):
    """Image 0 in file 1, images 1 and 2 in file 0; five places each."""
    h5py = pytest.importorskip("h5py")
    width, height = SIZE
    info = {}
    for number, images in enumerate(((1, 2), (0,))):
        with h5py.File(folder / f"gqa_objects_{number}.h5", "w") as file:
            padding = ((0, 0), (0, 1), (0, 0))
            file["features"] = np.pad(features[list(images)], padding)
            file["bboxes"] = np.pad(pixels(boxes[list(images)]), padding)
        for row, image in enumerate(images):
            size = {"width": width, "height": height, "objectsNum": len(features[image])}
            info[IDS[image]] = {index: row, "file": number, **size, **changes}
    (folder / "gqa_objects_info.json").write_text(json.dumps(info))
    return lambda: RegionFeatures.from_gqa(folder / "gqa_objects_info.json")


def encoded(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


BOTTOM_UP = ["image_id", "image_w", "image_h", "num_boxes", "boxes", "features"]
LXMERT = [
    "img_id",
    "img_h",
    "img_w",
    "objects_id",
    "objects_conf",
    "attrs_id",
    "attrs_conf",
    "num_boxes",
    "boxes",
    "features",
]


def tsv_lines(features, boxes, ids=IDS):
    """A dict per image, with the names of both layouts."""
    width, height = SIZE
    for image_id, each, places in zip(ids, features, boxes, strict=True):
        count = len(each)
        yield {
            "image_id": image_id, "img_id": image_id, "image_w": width, "img_w": width, "image_h": height, "img_h": height,
            "num_boxes": count, "boxes": encoded(pixels(places)), "features": encoded(each),
            "objects_id": encoded(np.arange(count)), "objects_conf": encoded(np.ones(count, np.float32)),
            "attrs_id": encoded(np.arange(count)), "attrs_conf": encoded(np.ones(count, np.float32)),
        }  # fmt: skip


def write_tsv(folder, lines, columns=BOTTOM_UP, header=False, **options):
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter="\t", extrasaction="ignore")
    if header:
        writer.writeheader()
    writer.writerows(lines)
    (folder / "train36.tsv").write_text(text.getvalue(), newline="")
    return lambda: RegionFeatures.from_tsv(folder / "train36.tsv", **options)


def write_npz(folder, features, boxes, names=("x", "bbox", "num_bbox", "image_h", "image_w"), file="{}.npz"):
    width, height = SIZE
    (folder / "npz").mkdir(exist_ok=True)
    for image_id, each, places in zip(IDS, features, boxes, strict=True):
        values = dict(zip(names, (each, pixels(places), len(places), height, width), strict=True))
        info = np.array({"objects": [1, 2]}, object)  # pickled, as the extractor writes it: never to be read
        np.savez_compressed(folder / "npz" / file.format(image_id), info=info, **values)
    return lambda: RegionFeatures.from_npz(folder / "npz")


def records(features_as, boxes_as, **change):
    """A record of each image, with its features and boxes as they are to be stored."""
    width, height = SIZE
    return {
        image: {
            "features": features_as(f), "boxes": boxes_as(b), "num_boxes": 4, "image_w": width, "image_h": height, **change,
        }
        for image, f, b in zip(IDS, *_arrays(), strict=True)
    }  # fmt: skip


def values(dtype):
    """Features that the dtype can hold, none of them as bytes like float32."""
    features = make_arrays()[0]
    return features * 10 + 40 if np.dtype(dtype).kind in "iu" else features


def close(read, written):
    assert np.array_equal(read[0], written.astype(np.float32))
    assert read[0].dtype == np.float32


def _arrays():
    features, boxes = make_arrays()
    return features, pixels(boxes)
