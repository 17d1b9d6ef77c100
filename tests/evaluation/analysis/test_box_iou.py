import numpy as np
import pytest

from hf_guidance.evaluation.analysis import top_box_iou


def test_matches_sets():
    rng = np.random.default_rng(0)
    attribution, importance = rng.normal(size=(20, 9)), rng.random((20, 9))
    importance[::3, 6:] = np.nan
    found = top_box_iou(attribution, importance, 0.6, (0.25, 0.5))
    assert found.shape == (20, 2)
    for point in range(20):
        places = np.flatnonzero(~np.isnan(importance[point]))
        important = {place for place in places if importance[point, place] > 0.6}
        for level, share in enumerate((0.25, 0.5)):
            ordered = sorted(places, key=lambda place, a=attribution[point]: -a[place])
            top = {place for place in ordered[: int(share * len(places))] if attribution[point, place] > 0}
            expected = len(top & important) / len(top | important) if top | important else np.nan
            assert found[point, level] == pytest.approx(expected, nan_ok=True)


def test_undefined_and_perfect():
    assert np.isnan(top_box_iou([[-1.0, -2.0]], [[0.0, 0.1]], 0.5)).all()
    assert top_box_iou([[3.0, 1.0, 2.0, 0.0]], [[0.9, 0.0, 0.8, 0.0]], 0.5, [0.5]).tolist() == [[1.0]]


def test_bad_input():
    with pytest.raises(ValueError, match=r"attribution has shape \(1, 2\), importance \(1, 3\)"):
        top_box_iou(np.ones((1, 2)), np.ones((1, 3)), 0.5)
    with pytest.raises(ValueError, match=r"share=1\.5"):
        top_box_iou(np.ones((1, 2)), np.ones((1, 2)), 0.5, [1.5])
