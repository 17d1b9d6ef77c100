"""CLEVR-XAI's records and masks: what is read of any type, and what is refused or skipped."""

import numpy as np
import pytest
from PIL import Image
from raw_questions import clevr_question, make_clevr_xai

BAD = {
    "list": [1],
    "no index": {key: value for key, value in clevr_question(9).items() if key != "question_index"},
    "text index": clevr_question(9, question_index="nine"),
    "no image": clevr_question(9, image_index=None),
    "list for a program": clevr_question(9, program=["scene"]),
    "dict for an answer": clevr_question(9, answer={"text": "metal"}),
    "twice": clevr_question(0),
}


@pytest.mark.parametrize("case", BAD)
def test_clevr_xai_bad_records_are_refused_or_skipped(case, prepare, tmp_path):
    raw = str(make_clevr_xai(tmp_path / "raw", [clevr_question(0), BAD[case]]))
    with pytest.raises(ValueError, match=r"simple_questions\.json, question (number 1|nine|9|0)"):
        prepare("clevr_xai", data_dir=raw)
    splits, builder = prepare("clevr_xai", data_dir=raw, invalid="skip")
    assert list(splits["train"]["question_id"]) == ["0", "100000", "100001"]
    assert splits["train"][0]["answers"] == ["metal"]
    assert [entry["count"] for entry in builder.report.values()] == [1]


def one_mask(root, pixels, name="0.npy"):
    folder = make_clevr_xai(root, [clevr_question(0)], []) / "ground_truth_simple_questions_single_object"
    (folder / "0.npy").unlink()
    np.save(folder / name, pixels) if name.endswith("npy") else Image.fromarray(pixels).save(folder / name)
    return str(root)


def test_masks_of_the_released_size_cover_the_whole_image(prepare, tmp_path):
    pixels = np.zeros((128, 128), bool)
    pixels[:64, :32] = True
    splits, _ = prepare("clevr_xai", data_dir=one_mask(tmp_path / "raw", pixels))
    mask = np.asarray(splits["train"][0]["mask"])
    assert mask.shape == (32, 48)  # of the image
    expected = np.zeros((32, 48), np.uint8)
    expected[:16, :12] = 255
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("high", [1, 100, 255])
def test_masks_of_two_values_in_any_type(dtype, high, prepare, tmp_path):
    pixels = np.zeros((32, 48), dtype)
    pixels[:4, :8] = high
    splits, _ = prepare("clevr_xai", data_dir=one_mask(tmp_path / "raw", pixels))
    assert (np.asarray(splits["train"][0]["mask"]) == 255).sum() == 32


@pytest.mark.parametrize(
    ("dtype", "high"), [(bool, 1), (np.uint8, 1), (np.uint8, 255), (np.uint16, 255), (np.uint16, 65535)]
)
def test_png_masks_of_two_values_whatever_their_range(dtype, high, prepare, tmp_path):
    pixels = np.zeros((32, 48), dtype)
    pixels[:4, :8] = high
    splits, _ = prepare("clevr_xai", data_dir=one_mask(tmp_path / "raw", pixels, "0.png"))
    assert (np.asarray(splits["train"][0]["mask"]) == 255).sum() == 32


@pytest.mark.parametrize("kind", ["soft", "NaN", "colour", "text"])
def test_masks_of_more_than_two_values_are_refused(kind, prepare, tmp_path):
    pixels = {
        "soft": np.linspace(0, 1, 32 * 48).reshape(32, 48),
        "NaN": np.where(np.eye(32, 48) > 0, np.nan, 0),
        "colour": (np.arange(32 * 48 * 3) % 251).reshape(32, 48, 3).astype(np.uint8),
        "text": np.full((32, 48), "x"),
    }[kind]
    raw = one_mask(tmp_path / "raw", pixels, "0.png" if kind == "colour" else "0.npy")
    message = r"0\.png: it has colours" if kind == "colour" else r"question 0: .*0\.npy is of .* different values"
    with pytest.raises(ValueError, match=message):
        prepare("clevr_xai", data_dir=raw)


def test_two_masks_of_one_question(build, tmp_path):
    raw = make_clevr_xai(tmp_path / "raw")
    folder = raw / "ground_truth_simple_questions_single_object"
    Image.new("L", (48, 32), 255).save(folder / "0.png")
    builder = build("clevr_xai", data_dir=str(raw))
    with pytest.raises(ValueError, match=r"0\.npy and .*0\.png are masks of one question"):
        builder.download_and_prepare()
