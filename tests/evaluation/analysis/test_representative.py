import numpy as np
import pytest

from hf_guidance.evaluation.analysis import representative
from hf_guidance.evaluation.analysis.representative import NoRepresentative

POINTS = [
    {"f1": 0.82, "epg": 0.40, "epoch": 1},
    {"f1": 0.76, "epg": 0.61, "epoch": 2},
    {"f1": 0.75, "epg": 0.70, "epoch": 3},
    {"f1": 0.7499, "epg": 0.95, "epoch": 4},
    {"f1": 0.78, "epg": 0.70, "epoch": 5},
]


def test_highest_epg_among_those_within_the_drop():
    assert representative(POINTS, 0.80) == 2  # 0.75 is just allowed, and earlier than its equal
    assert representative(POINTS, 0.81) == 4
    assert representative(POINTS, 0.80, drop=0.0501) == 3
    assert representative(POINTS, 0.80, drop=0) == 0
    assert representative(POINTS, 0.0) == 3


@pytest.mark.parametrize("percent", [False, True])
def test_the_bound_survives_rounding(percent):
    scale = 100 if percent else 1
    for hundredths in range(10, 100):
        baseline, bound = hundredths / 100 * scale, (hundredths - 5) / 100 * scale
        assert representative([{"f1": bound, "epg": 0.5}], baseline, drop=0.05 * scale) == 0


def test_matches_a_filter_and_a_sort():
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = [{"map": f1, "iou": epg} for f1, epg in np.round(rng.random((12, 2)), 2)]
        allowed = [p for p in points if p["map"] >= 0.5 - 0.1 - 1e-9]
        best = sorted(allowed, key=lambda p: -p["iou"])[0]
        assert points[representative(points, 0.5, 0.1, keep="map", maximise="iou")] is best


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: representative([], 0.8), "the set of points is empty"),
        (lambda: representative(POINTS, 0.9), r"no point has f1 >= 0.9 - 0.05; the highest is 0.82.*lower weight"),
        (lambda: representative(POINTS, 80.0, 5), "check that baseline and points have one unit"),
        (lambda: representative([{"f1": 79.4, "epg": 71.7}], 0.8), "baseline_f1=0.8 is a share, but f1 reaches 79.4"),
        (lambda: representative([{"f1": 0.8}], 0.8), r"point 0 has no metric 'epg'; it has \['f1'\]"),
        (lambda: representative([*POINTS, {"f1": 1, "epg": np.nan}], 0.8), "epg of point 5 is nan"),
        (lambda: representative(POINTS, 0.8, drop=-0.1), "drop=-0.1; give a finite number, and a drop of at least 0"),
        (lambda: representative(POINTS, float("nan")), "baseline_f1=nan"),
        (lambda: representative(POINTS, None), "baseline_f1=None, drop=0.05; give a finite number"),
        (lambda: representative(POINTS, 0.8, None), "baseline_f1=0.8, drop=None; give a finite number"),
        (lambda: representative([{"f1": 0.8, "epg": None}], 0.8), "epg of point 0 is None; leave out models"),
        (lambda: representative([{"f1": "0.8", "epg": 0.5}], 0.8), "f1 of point 0 is 0.8"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_that_none_qualifies_is_told_apart_from_wrong_input():
    for points in ([], POINTS):
        with pytest.raises(NoRepresentative):
            representative(points, 0.9)
    for points, drop in (([], -0.1), (POINTS, -0.1), ([{"f1": 0.8}], 0.05)):
        with pytest.raises(ValueError, match=r"drop=-0.1|has no metric") as told:
            representative(points, 0.9, drop)
        assert not isinstance(told.value, NoRepresentative)
