"""VQA-HAT's maps and scores: names, types of pixels, and what is refused or skipped."""

import pickle

import numpy as np
import pytest
from PIL import Image
from raw_questions import make_vqa_hat, make_vqa_v2, write_json, write_map

from hf_guidance.data.builder_base import InvalidAnnotation


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


RAMP = np.arange(1200).reshape(30, 40)
PICTURES = {
    "16 bit": [(RAMP * 50).astype(np.uint16)],  # clipped to 255, all but 5 pixels would be white
    "faint 16 bit": [RAMP.astype(np.uint16)],  # of 255 levels only 5 would be left
    "grey in colour": [np.repeat((RAMP // 5).astype(np.uint8)[..., None], 3, 2)],
    "two depths": [(RAMP // 5).astype(np.uint8), ((RAMP // 5) * 257).astype(np.uint16)],
    "votes": [400 * number <= RAMP for number in range(3)],  # a third would be 85 of 255
    "faint votes": [(400 * number <= RAMP).astype(np.uint8) * 2 for number in range(3)],
}


@pytest.mark.parametrize("kind", PICTURES)
def test_vqa_hat_maps_keep_their_values(kind, prepare, tmp_path):
    raw = make_vqa_hat(tmp_path / "raw")
    for number, pixels in enumerate(PICTURES[kind], start=1):
        Image.fromarray(pixels).save(raw / "maps" / f"1_{number}.png")
    splits, _ = prepare("vqa_hat", data_dir=str(raw), maps_dir="maps")
    mask = np.asarray(splits["train"][0]["mask"]).astype(float)
    expected = RAMP // 400 + 1 if "votes" in kind else RAMP
    assert np.allclose(mask / mask.max(), expected / expected.max(), atol=0.006)


PIXELS = np.arange(3600).reshape(30, 40, 3)
COLOURS = Image.fromarray((PIXELS * 7 % 256).astype(np.uint8))
REFUSED = {
    "colours": (COLOURS, "colours for one channel", "it has colours"),
    "palette": (COLOURS.convert("P"), "colours for one channel", "a palette of colours"),
    "range": (Image.fromarray((RAMP > 9).astype(np.uint8)), "map without a declared range", "its largest value is 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_vqa_hat_maps_that_are_refused_or_skipped(case, prepare, tmp_path):
    picture, reason, message = REFUSED[case]
    raw = make_vqa_hat(tmp_path / "raw")
    picture.save(raw / "maps" / "1_1.png")
    with pytest.raises(ValueError, match=rf"1_1\.png: .*{message}"):
        prepare("vqa_hat", data_dir=str(raw), maps_dir="maps")
    splits, builder = prepare("vqa_hat", data_dir=str(raw), maps_dir="maps", invalid="skip")
    assert ids(splits) == ["3"]
    assert builder.report == {reason: {"count": 1, "examples": [str(raw / "maps" / "1_1.png")]}}


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


@pytest.mark.parametrize(
    ("hints", "reason"),
    [
        ({1: [0.5], 0: None}, "scores are not one per box"), ({1: [0.5], 0: {}}, "scores are not numbers"),
        ({1: [0.5], 1.5: [0.5]}, "question id is no id"), ({1: [0.5], None: [0.5]}, "question id is no id"),
        ({1: [0.5], "": [0.5]}, "question id is no id"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["pkl", "PKL"])
def test_hints_that_cannot_be_used_are_refused_or_counted(hints, reason, ending, prepare, tmp_path):
    raw = make_vqa_v2(tmp_path / "raw")
    (raw / f"hints.{ending}").write_bytes(pickle.dumps(hints))
    with pytest.raises(InvalidAnnotation) as error:
        prepare("vqa_hat", data_dir=str(raw), hints=f"hints.{ending}")
    assert error.value.reason == reason
    splits, builder = prepare("vqa_hat", data_dir=str(raw), hints=f"hints.{ending}", invalid="skip")
    assert splits["train"]["question_id"][:] == ["1"]
    assert builder.report[reason]["count"] == 1
