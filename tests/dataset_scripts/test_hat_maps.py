"""VQA-HAT's maps and scores: names, types of pixels, and what is refused or skipped."""

import pickle

import numpy as np
import pytest
from PIL import Image
from raw_questions import make_vqa_hat, make_vqa_v2, write_json, write_map


def ids(splits, split="train"):
    return list(splits[split]["question_id"])


def test_vqa_hat_maps_with_and_without_an_annotators_number(prepare, tmp_path):
    raw = make_vqa_v2(tmp_path / "raw")
    for name, value in (("0.png", 40), ("1_1.PNG", 80), ("0005_1.png", 120), ("5_2.png", 60)):
        write_map(raw / "maps" / name, value=value)
    write_map(raw / "maps" / "overview.png")
    splits, builder = prepare("vqa_hat", data_dir=str(raw), maps_dir="maps")
    assert {row["question_id"]: int(np.asarray(row["mask"]).max()) for split in splits.values() for row in split} == {
        "0": 40, "1": 80, "5": 90,
    }  # fmt: skip
    assert [*builder.report] == ["picture whose name is no question's"]
    write_map(raw / "maps" / "5.png")
    with pytest.raises(ValueError, match=r"maps_dir: .*5\.png and .*5_1\.png are both of question"):
        prepare("vqa_hat", data_dir=str(raw), maps_dir="maps")


@pytest.mark.parametrize("kind", ["16 bit", "grey in colour", "mean of votes"])
def test_vqa_hat_maps_keep_their_values(kind, prepare, tmp_path):
    raw = make_vqa_hat(tmp_path / "raw")
    ramp = np.arange(1200).reshape(30, 40)
    path = raw / "maps" / "1_1.png"
    if kind == "16 bit":
        Image.fromarray((ramp * 50).astype(np.uint16)).save(path)  # clipped to 255, all but 5 pixels would be white
    elif kind == "grey in colour":
        Image.fromarray((ramp // 5).astype(np.uint8)).convert("RGB").save(path)
    else:
        for number in range(3):
            Image.fromarray((ramp >= 400 * number).astype(np.uint8)).save(raw / "maps" / f"1_{number + 1}.png")
        ramp = ramp // 400 + 1
    splits, _ = prepare("vqa_hat", data_dir=str(raw), maps_dir="maps")
    mask = np.asarray(splits["train"][0]["mask"]).astype(float)
    assert np.allclose(mask / mask.max(), ramp / ramp.max(), atol=0.005)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("colour", r"1_1\.png: the picture has colours"),
        ("depth", r"its 3 maps have values of types \['uint16', 'uint8'\]"),
    ],
)
def test_vqa_hat_maps_that_are_refused_or_skipped(wrong, message, prepare, tmp_path):
    raw = make_vqa_hat(tmp_path / "raw")
    pixels = np.arange(3600).reshape(30, 40, 3)
    if wrong == "colour":
        Image.fromarray((pixels * 7 % 256).astype(np.uint8)).save(raw / "maps" / "1_1.png")
    else:
        Image.fromarray(pixels[..., 0].astype(np.uint16)).save(raw / "maps" / "5_2.png")
    with pytest.raises(ValueError, match=message):
        prepare("vqa_hat", data_dir=str(raw), maps_dir="maps")
    reason, split, kept = {
        "colour": ("map of several channels", "train", ["3"]),
        "depth": ("map without usable values", "validation", ["4"]),
    }[wrong]
    write_map(raw / "maps" / "4_1.png")
    splits, builder = prepare("vqa_hat", data_dir=str(raw), maps_dir="maps", invalid="skip")
    assert ids(splits, split) == kept
    assert builder.report[reason]["count"] == 1


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[0.1, 0.2], [0.3, 0.4]], r"its scores have shape \(2, 2\)"),
        ([], r"its scores have shape \(0,\)"),
        (0.5, r"its scores have shape \(\)"),
        (["high", "low"], "its scores are .*high"),
        ([0.5, None], r"its scores are \[0\.5, nan\]"),
        ([0.5, -0.1], r"its scores are \[0\.5, -0\.1\]"),
    ],
)
def test_vqa_hat_scores_that_are_refused_or_skipped(scores, message, prepare, tmp_path):
    raw = make_vqa_v2(tmp_path / "raw")
    write_json(raw / "hints.json", {"1": scores, "2": [[0.5], [1.0]]})
    with pytest.raises(ValueError, match=rf"question 1: {message}"):
        prepare("vqa_hat", data_dir=str(raw), hints="hints.json")
    splits, builder = prepare("vqa_hat", data_dir=str(raw), hints="hints.json", invalid="skip")
    assert splits["train"][0]["importance"] == [0.5, 1.0]
    assert sum(entry["count"] for entry in builder.report.values()) == 1


def test_vqa_hat_scores_of_one_question_twice(prepare, tmp_path):
    raw = make_vqa_v2(tmp_path / "raw")
    (raw / "hints.pkl").write_bytes(pickle.dumps({1: [0.5], "1": [0.25]}))
    with pytest.raises(ValueError, match="has question 1 twice, as text and as number"):
        prepare("vqa_hat", data_dir=str(raw), hints="hints.pkl")
