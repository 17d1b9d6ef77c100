"""Bytes and base64 are read as float32 or by the dtype given; what does not look it is refused, never misread."""

import base64

import numpy as np
import pytest
from region_writers import (
    IDS,
    SIZE,
    close,
    make_arrays,
    pixels,
    records,
    tsv_lines,
    values,
    write_lmdb,
    write_tsv,
)

from hf_guidance.data.questions.regions import RegionFeatures

FEATURES, BOXES = make_arrays()


@pytest.mark.parametrize("encode", [bytes, base64.b64encode, lambda raw: base64.encodebytes(raw).decode()])
@pytest.mark.parametrize("dtype", ["<f2", "<f8", ">f4", ">f8", "int32", "uint8"])
def test_bytes_that_are_not_float32_are_read_with_dtype_and_refused_without(dtype, encode, tmp_path):
    features = np.tile(values(dtype), (1, 1, 4)).astype(dtype)  # 20 dims
    for boxes_as in (lambda b: b.astype("<f4"), lambda b: encode(b.astype("<f4").tobytes())):
        folder = tmp_path / str(boxes_as)
        folder.mkdir()
        width, height = SIZE
        entries = {
            image: {
                "features": encode(f.tobytes()), "boxes": boxes_as(b), "num_boxes": 4, "image_w": width, "image_h": height,
            }
            for image, f, b in zip(IDS, features, pixels(BOXES), strict=True)
        }  # fmt: skip
        write_lmdb(folder, entries)
        path = folder / "regions.lmdb"
        if np.dtype(dtype).byteorder != ">":
            close(RegionFeatures.from_lmdb(path, dtype=dtype)["7"], features[0])
        with pytest.raises(ValueError, match=r"do not look like float32.*pass dtype="):
            RegionFeatures.from_lmdb(path)["7"]


def test_bytes_of_both_in_another_dtype(tmp_path):
    for dtype in ("<f2", ">f8"):
        encode = lambda array: array.astype(dtype).tobytes()  # noqa: E731, B023
        folder = tmp_path / dtype[1:]
        folder.mkdir()
        store = write_lmdb(folder, records(encode, encode))
        with pytest.raises(
            ValueError, match=rf"bytes of 4 boxes are {np.dtype(dtype).itemsize} a number, not the 4 of float32"
        ):
            store()["7"]
        features, boxes = RegionFeatures.from_lmdb(folder / "regions.lmdb", dtype=dtype)["7"]
        assert np.array_equal(features, FEATURES[0].astype(dtype).astype(np.float32))
        assert np.abs(boxes - BOXES[0]).max() < 1e-3
    lines = [{**line, "features": base64.b64encode(f.astype("<f8").tobytes()).decode()}
             for line, f in zip(tsv_lines(FEATURES, BOXES), FEATURES, strict=True)]  # fmt: skip
    with pytest.raises(ValueError, match=r"image '7': 160 bytes of features of 4 boxes do not look like float32"):
        write_tsv(tmp_path, lines)()["7"]
    close(write_tsv(tmp_path, lines, dtype="float64")()["7"], FEATURES[0].astype("<f8"))


ZEROS = {
    "none": lambda f: f,
    "first box": lambda f: np.concatenate([0 * f[:1], f[1:]]),
    "most": lambda f: f * (f > 2.5),
}


@pytest.mark.parametrize("zeros", ZEROS)
@pytest.mark.parametrize("dtype", ["<f2", "<f8", ">f4", "uint8", "int16"])
def test_zeros_do_not_hide_a_dtype(dtype, zeros, tmp_path):
    """The first 1024 words, or nearly all, may be zero."""
    draws = ZEROS[zeros](np.maximum(np.random.default_rng(0).normal(size=(4, 2048)), 0))
    written = (draws * 60 if np.dtype(dtype).kind in "iu" else draws).astype(dtype)
    store = write_lmdb(tmp_path, records(lambda _: written.tobytes(), lambda b: b))
    with pytest.raises(ValueError, match=r"do not look like float32.*pass dtype="):
        store()["7"]
    close(RegionFeatures.from_lmdb(tmp_path / "regions.lmdb", dtype=dtype)["7"], written)


def python_2(array):
    """Bytes as a pickle of Python 2 gives them, decoded as latin-1."""
    return np.asarray(array, "<f4").tobytes().decode("latin1")


def test_raw_bytes_of_python_2(tmp_path):
    store = write_lmdb(tmp_path, records(python_2, python_2))()
    close(store["7"], FEATURES[0])
    assert np.abs(store["7"][1] - BOXES[0]).max() < 1e-5


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("gr\xf6\xdfe", "4 boxes are declared, but there are 1.25 numbers"),
        ("caf\u20ac", "is not base64"),
        (base64.b64encode(FEATURES[0].tobytes()).decode()[:-4] + "\xe9AAA", "is not base64"),
    ],
)
def test_text_is_not_taken_for_raw_bytes(text, error, tmp_path):
    store = write_lmdb(tmp_path, records(lambda _: text, lambda b: b))()
    with pytest.raises(ValueError, match=error):
        store["7"]


@pytest.mark.parametrize("scale", [1, 1e-3, 1e4, "relu", "whole", "half", "zeros"])
def test_float32_is_never_taken_for_something_else(scale, tmp_path):
    draws = np.random.default_rng(1).normal(size=(3, 4, 300))
    features = {
        "relu": np.maximum(draws, 0),
        "whole": np.round(draws * 100),
        "half": draws.astype(np.float16),
        "zeros": draws * (np.arange(300) > 290),
    }.get(scale, draws * (scale if not isinstance(scale, str) else 1))
    features = np.asarray(features, np.float32)
    store = write_tsv(tmp_path, tsv_lines(features, BOXES))()
    for row, image in enumerate(IDS):
        assert np.array_equal(store[image][0], features[row])
