import numpy as np
import pytest

from hf_guidance.data.boxes import boxes_to_mask


def slow_epg(attribution, mask):
    """Eq. 2 of arXiv 2303.11932, one pixel at a time; None where it is undefined."""
    inside = total = 0.0
    for row in range(attribution.shape[0]):
        for column in range(attribution.shape[1]):
            value = max(float(attribution[row, column]), 0.0)
            total += value
            inside += value * float(mask[row, column])
    return inside / total if total >= 1e-7 else None


@pytest.mark.parametrize(("name", "mask"), [("metric_epg_iou", "mask"), ("metric_on_object_epg", "boxmask")])
def test_masks_of_the_golden_numbers_are_those_of_the_library(golden, name, mask):
    data = golden(name)
    for case in range(int(data["n_cases"])):
        expected = data[f"c{case}_{mask}"]
        ours = boxes_to_mask(data[f"c{case}_boxes"].reshape(-1, 4).astype(float), *expected.shape)
        assert np.array_equal(ours.numpy(), expected)


def test_matches_official_code(load, golden):
    data = golden("metric_epg_iou")
    cases = range(int(data["n_cases"]))
    maps, masks = [data[f"c{i}_attr"] for i in cases], [data[f"c{i}_mask"] for i in cases]
    metric = load("epg")
    assert metric.compute(predictions=maps, references=masks)["epg"] == pytest.approx(float(data["epg_mean"]), rel=1e-9)
    dropped = metric.compute(predictions=maps, references=masks, undefined="drop")
    assert dropped["epg"] == pytest.approx(float(data["epg_mean_defined_only"]), rel=1e-9)
    assert dropped["undefined_share"] == pytest.approx(1 - len(data["epg_defined_idx"]) / len(maps))
    for attribution, mask, expected in zip(maps, masks, data["epg_per_case"], strict=True):
        result = metric.compute(predictions=[attribution], references=[mask])
        assert result["epg"] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_box_sizes_as_the_official_code(load, golden):
    data = golden("metric_epg_iou")
    cases = range(int(data["n_cases"]))
    maps, masks = [data[f"c{i}_attr"] for i in cases], [data[f"c{i}_mask"] for i in cases]
    window = {"min_box_size": 20, "max_box_size": 80}
    metric = load("epg")
    metric.add_batch(predictions=maps, references=masks)
    assert metric.compute(**window)["epg"] == pytest.approx(float(data["epg_sizes_20_80_mean"]), rel=1e-9)
    each = [metric.compute(predictions=[a], references=[m], **window)["epg"] for a, m in zip(maps, masks, strict=True)]
    kept = [value for value in each if value is not None]
    assert kept == pytest.approx(data["epg_sizes_20_80_per_case"].tolist(), rel=1e-9, abs=1e-12)
    assert 0 < len(kept) < len(maps)


def test_sizes_are_counted_from_the_smallest_up_to_the_largest_but_one(load):
    masks = [np.arange(6).reshape(2, 3) < size for size in range(7)]
    shares = np.arange(7) / 6
    for low, high in ((None, None), (2, 5), (3, None), (None, 4), (0, 1), (6, 7.5), (5.5, 6)):
        allowed = [size for size in range(7) if (low or 0) <= size < (high or 99)]
        metric = load("epg")
        metric.add_batch(predictions=np.ones((7, 2, 3)), references=masks)
        found = metric.compute(min_box_size=low, max_box_size=high)
        if allowed:
            assert found == {"epg": pytest.approx(shares[allowed].mean()), "undefined_share": 0.0}
        else:
            assert found == {"epg": None, "undefined_share": None}


def test_undefined_maps_of_other_sizes_do_not_count(load):
    maps, masks = [np.ones((2, 2)), -np.ones((2, 2)), -np.ones((2, 2))], [np.eye(2), np.eye(2), np.ones((2, 2))]
    found = load("epg").compute(predictions=maps, references=masks, max_box_size=3)
    assert found == {"epg": 0.25, "undefined_share": 0.5}
    dropped = load("epg").compute(predictions=maps, references=masks, max_box_size=3, undefined="drop")
    assert dropped == {"epg": 0.5, "undefined_share": 0.5}


@pytest.mark.parametrize(("low", "high"), [(5, 5), (8, 2), (-1, None), (float("nan"), None), (None, 0), ("5", None)])
def test_bad_sizes_keep_what_was_added(load, low, high):
    metric = load("epg")
    metric.add(prediction=np.ones((2, 2)), reference=np.eye(2))
    with pytest.raises(ValueError, match=r"min_box_size is .*max_box_size is .*0 <= min_box_size < max_box_size"):
        metric.compute(min_box_size=low, max_box_size=high)
    assert metric.compute()["epg"] == 0.5


@pytest.mark.parametrize("soft", [False, True])
def test_matches_loops(load, pairs, soft):
    maps, masks = pairs
    if soft:
        masks = [np.random.default_rng(1).random(mask.shape) for mask in masks]
    shares = [slow_epg(*pair) for pair in zip(maps, masks, strict=True)]
    defined = [share for share in shares if share is not None]
    result = load("epg").compute(predictions=maps, references=masks)
    assert result["epg"] == pytest.approx(sum(defined) / len(shares), rel=1e-12)
    assert result["undefined_share"] == pytest.approx(1 - len(defined) / len(shares))


def test_undefined_maps(load):
    flat, mask = np.zeros((2, 3)), np.ones((2, 3))
    assert load("epg").compute(predictions=[flat, -mask], references=[mask, mask], undefined="drop") == {
        "epg": 0.0,
        "undefined_share": 1.0,
    }
    with pytest.raises(ValueError, match=r"undefined is 'nan'; allowed are \"zero\""):
        load("epg").compute(predictions=[flat], references=[mask], undefined="nan")


def test_wrong_option_keeps_what_was_added(load, pairs):
    metric = load("epg")
    metric.add_batch(predictions=pairs[0], references=pairs[1])
    with pytest.raises(ValueError, match="undefined"):
        metric.compute(undefined="skip")
    assert metric.compute() == load("epg").compute(predictions=pairs[0], references=pairs[1])


def test_full_mask_is_exactly_one(load):
    maps = np.random.default_rng(2).normal(size=(20, 31, 17)).astype(np.float32)
    assert load("epg").compute(predictions=maps, references=np.ones_like(maps))["epg"] == 1.0


def test_scale_does_not_matter(load, pairs):
    scaled = [1e3 * attribution for attribution in pairs[0]]
    result = load("epg").compute(predictions=scaled, references=pairs[1])
    assert result["epg"] == pytest.approx(load("epg").compute(predictions=pairs[0], references=pairs[1])["epg"])


def test_on_object_epg_is_epg_of_the_map_inside_its_box(load, golden):
    data = golden("metric_on_object_epg")
    expected, segmentation = data["on_object_epg_paper"], data["seg_epg_repro"]
    for case in range(len(expected)):
        attribution, box, seg = (data[f"c{case}_{name}"] for name in ("attr", "boxmask", "segmask"))
        metric = load("epg")
        inside = metric.compute(predictions=[attribution * box], references=[seg])["epg"]
        assert inside == pytest.approx(float(expected[case]), rel=1e-9, abs=1e-12)
        whole = metric.compute(predictions=[attribution], references=[seg])["epg"]
        assert whole == pytest.approx(float(segmentation[case]), rel=1e-9, abs=1e-12)
