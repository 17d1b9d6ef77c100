import numpy as np
import pytest


def slow_epg(attribution, mask):
    """Eq. 2 of arXiv 2303.11932, one pixel at a time; None where it is undefined."""
    inside = total = 0.0
    for row in range(attribution.shape[0]):
        for column in range(attribution.shape[1]):
            value = max(float(attribution[row, column]), 0.0)
            total += value
            inside += value * float(mask[row, column])
    return inside / total if total >= 1e-7 else None


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
