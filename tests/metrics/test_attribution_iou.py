import numpy as np
import pytest


def slow_iou(attribution, mask, threshold):
    """The definition of the official code, one pixel at a time."""
    positive = [[max(float(value), 0.0) for value in row] for row in attribution]
    low, high = min(map(min, positive)), max(map(max, positive))
    overlap = union = 0
    for row, mask_row in zip(positive, mask, strict=True):
        for value, inside in zip(row, mask_row, strict=True):
            if high > 0:
                value = (value - low) / (high - low) if high - low >= 1e-7 else value / high
            overlap += value > threshold and inside > 0.5
            union += value > threshold or inside > 0.5
    return overlap / union if union else 0.0


def test_matches_official_code(load, golden):
    data = golden("metric_epg_iou")
    cases = range(int(data["n_cases"]))
    maps, masks = [data[f"c{i}_attr"] for i in cases], [data[f"c{i}_mask"] for i in cases]
    metric, streamed = load("attribution_iou"), load("attribution_iou")
    for threshold, mean, per_case in zip(
        data["iou_thresholds"], data["iou_mean_per_threshold"], data["iou_per_threshold_case"], strict=True
    ):
        result = metric.compute(predictions=maps, references=masks, threshold=float(threshold))
        assert result == {"attribution_iou": pytest.approx(mean, abs=1e-6), "threshold": threshold}
        streamed.add_batch(predictions=maps, references=masks)
        assert streamed.compute(threshold=float(threshold)) == result
        for attribution, mask, expected in zip(maps, masks, per_case, strict=True):
            result = metric.compute(predictions=[attribution], references=[mask], threshold=float(threshold))
            assert result["attribution_iou"] == pytest.approx(expected, abs=1e-6)


def test_undefined_pairs_as_the_official_code(load, golden):
    data = golden("metric_epg_iou")
    cases, defined = range(int(data["n_cases"])), data["iou_defined_idx_t0.5"].tolist()
    maps, masks = [data[f"c{i}_attr"] for i in cases], [data[f"c{i}_mask"] for i in cases]
    expected = pytest.approx(float(data["iou_mean_defined_only_t0.5"]), abs=1e-6)
    metric = load("attribution_iou")
    assert metric.compute(predictions=maps, references=masks, undefined="drop")["attribution_iou"] == expected
    kept = [maps[i] for i in defined], [masks[i] for i in defined]
    assert metric.compute(predictions=kept[0], references=kept[1])["attribution_iou"] == expected
    assert len(defined) < len(maps)  # some are undefined


@pytest.mark.parametrize("keep_in_memory", [False, True])
def test_undefined_pairs_while_streaming(load, keep_in_memory):
    metric = load("attribution_iou", keep_in_memory=keep_in_memory)
    pair = {"predictions": [[[0, 0]], [[4, 1]]], "references": [[[0, 0]], [[1, 0]]]}
    metric.add_batch(**pair)
    with pytest.raises(ValueError, match=r"undefined is 'nan'; allowed are \"zero\""):
        metric.compute(undefined="nan")
    assert metric.compute(undefined="drop") == {"attribution_iou": 1.0, "threshold": 0.5}
    assert metric.compute(**pair, threshold="best")["attribution_iou"] == 0.5
    nothing = metric.compute(predictions=[[[0, 0]]], references=[[[0, 0]]], undefined="drop")
    assert nothing["attribution_iou"] == 0.0


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.3, 0.37, 0.5, 1.0])
def test_matches_loops(load, pairs, threshold):
    expected = np.mean([slow_iou(*pair, threshold) for pair in zip(*pairs, strict=True)])
    result = load("attribution_iou").compute(predictions=pairs[0], references=pairs[1], threshold=threshold)
    assert result["attribution_iou"] == pytest.approx(expected, rel=1e-12)


def test_strictly_above_the_threshold(load):
    result = load("attribution_iou").compute(predictions=[[[0.0, 1.0, 2.0]]], references=[[[0, 1, 1]]])
    assert result == {"attribution_iou": 0.5, "threshold": 0.5}


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.0), (-1.0, 0.0), (0.7, 0.5), (1e-9, 0.5)])
def test_constant_maps(load, value, expected):
    metric, mask = load("attribution_iou"), [[1, 1], [0, 0]]
    assert metric.compute(predictions=[np.full((2, 2), value)], references=[mask])["attribution_iou"] == expected
    empty = metric.compute(predictions=[np.full((2, 2), min(value, 0))], references=[np.zeros((2, 2))])
    assert empty["attribution_iou"] == 0.0


def test_best_threshold_of_held_out_pairs(load, pairs):
    grid = [step / 20 for step in range(1, 20)]
    means = [np.mean([slow_iou(*pair, t) for pair in zip(*pairs, strict=True)]) for t in grid]
    in_one_call = load("attribution_iou").compute(predictions=pairs[0], references=pairs[1], threshold="best")
    assert in_one_call["threshold"] == grid[int(np.argmax(means))]
    assert in_one_call["attribution_iou"] == pytest.approx(max(means), rel=1e-12)
    streamed = load("attribution_iou")
    streamed.add_batch(predictions=pairs[0], references=pairs[1])
    assert streamed.compute(threshold="best") == in_one_call
    again = load("attribution_iou").compute(
        predictions=pairs[0], references=pairs[1], threshold=in_one_call["threshold"]
    )
    assert again == in_one_call


def test_threshold_off_the_grid_while_streaming(load, pairs):
    metric = load("attribution_iou")
    metric.add_batch(predictions=pairs[0], references=pairs[1])
    with pytest.raises(ValueError, match=r"threshold 0\.37 is not among .*thresholds=\[0\.37\]"):
        metric.compute(threshold=0.37)
    assert metric.compute()["threshold"] == 0.5  # nothing was lost
    named = load("attribution_iou", thresholds=[0.37])
    named.add_batch(predictions=pairs[0], references=pairs[1])
    whole = metric.compute(predictions=pairs[0], references=pairs[1], threshold=0.37)
    assert named.compute(threshold=0.37) == whole


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan"), "worst"])
def test_bad_threshold(load, threshold):
    with pytest.raises(ValueError, match=r"threshold is .*allowed are None \(0\.5\)"):
        load("attribution_iou").compute(predictions=[[[1.0]]], references=[[[1]]], threshold=threshold)
