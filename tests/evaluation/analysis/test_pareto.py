import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_guidance.evaluation.analysis import ParetoFront, ParetoMember, merged, pareto_indices


def slow_front(points, width):
    """The definition: nobody is at least as good everywhere and better somewhere, and no equal came earlier."""
    kept = []
    for index, own in enumerate(points):
        beaten = False
        for other_index, other in enumerate(points):
            pairs = [(x, y) for x, y in zip(other, own, strict=True)]
            if width is not None:
                pairs = [(round(x / width), round(y / width)) for x, y in pairs]  # Python rounds halves to even too
            no_less, more = all(x >= y for x, y in pairs), any(x > y for x, y in pairs)
            beaten = beaten or (no_less and (more or other_index < index))
        if not beaten:
            kept.append(index)
    return kept


def grown(points, width=0.005):
    front = ParetoFront(width)
    for index, point in enumerate(points):
        front.add(point, index)
    return front


def keys(front):
    return [member.key for member in front.members]


def test_golden_fronts(golden):
    numbers = golden("model_guidance/pareto_front")
    width = float(numbers["bin_width"])
    for case in range(int(numbers["n_cases"])):
        points = numbers[f"c{case}_points_f1_epg_iou"]
        expected, sizes = numbers[f"c{case}_sequential_front_indices"].tolist(), []
        front = ParetoFront()
        for index, point in enumerate(points):
            on_front = front.add(point, index)
            assert on_front == (index in keys(front))
            sizes.append(len(front))
        assert keys(front) == expected
        assert sizes == numbers[f"c{case}_front_size_after_each"].tolist()
        assert [member.point for member in front.members] == [tuple(points[index]) for index in expected]
        assert pareto_indices(points, width) == np.flatnonzero(numbers[f"c{case}_mask_binned_all_at_once"]).tolist()
        assert pareto_indices(points, None) == np.flatnonzero(numbers[f"c{case}_mask_unbinned"]).tolist()
    assert width == 0.005


coarse = st.lists(st.tuples(*[st.integers(0, 40).map(lambda n: n / 400)] * 3), min_size=1, max_size=25)


@given(coarse)
def test_matches_the_definition_in_any_order(points):
    for width in (0.005, 0.03, None):
        assert pareto_indices(points, width) == slow_front(points, width) == keys(grown(points, width))


@given(st.lists(coarse, min_size=1, max_size=4))
def test_merging_fronts_is_the_front_of_all_points(runs):
    fronts = []
    for number, points in enumerate(runs):
        fronts.append(ParetoFront())
        for index, point in enumerate(points):
            fronts[-1].add(point, (number, index))
    every = [(number, index) for number, points in enumerate(runs) for index in range(len(points))]
    all_points = [point for points in runs for point in points]
    assert keys(merged(fronts)) == [every[index] for index in slow_front(all_points, 0.005)]


def test_halves_are_rounded_to_even_and_the_earliest_of_ties_stays():
    assert keys(grown([(0.5,), (1.5,), (2.5,), (1.6,)], 1.0)) == [1]  # 0, 2, 2, 2
    assert keys(grown([(0.81, 0.5), (0.8101, 0.5001)])) == [0]
    assert keys(grown([(0.81, 0.5), (0.8101, 0.5001)], None)) == [1]


def test_a_bin_for_each_metric():
    points = [(0.80, 51.0), (0.84, 50.0)]
    assert pareto_indices(points, (0.1, 0.1)) == [0]
    assert pareto_indices(points, (0.01, 5)) == [1]
    assert pareto_indices(points, (0.01, 0.1)) == [0, 1]
    assert keys(grown(points, [0.1, 0.1])) == [0]


def test_members_are_what_was_given():
    front = ParetoFront()
    assert front.add(np.array([0.812, 0.5], dtype=np.float64), ("energy", 1e-3, 100))
    assert front.members == (ParetoMember(("energy", 1e-3, 100), (0.812, 0.5)),)
    assert not front.add([0.812, 0.499], "other")
    assert front.add([0.9, 0.6], "better")
    assert keys(front) == ["better"]


def of(*points, bins=0.005, key="a"):
    front = ParetoFront(bins)
    for point in points:
        front.add(point, key)
    return front


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pareto_indices([]), "the set of points is empty.*at least one point"),
        (lambda: pareto_indices(np.zeros((0, 3))), "the set of points is empty"),
        (lambda: pareto_indices([[]]), r"shape \(1, 0\); allowed is \(points, metrics\)"),
        (lambda: pareto_indices([0.5, 0.6]), r"shape \(2,\)"),
        (lambda: pareto_indices([[0.5, 0.6], [0.5]]), "give the same metrics of every point"),
        (lambda: pareto_indices([[0.5, 0.6], [0.5, np.nan]]), r"points \[1\] hold NaN or infinity"),
        (lambda: pareto_indices([[np.inf]]), r"points \[0\] hold NaN"),
        (lambda: pareto_indices([["a"]]), "points are not numbers"),
        (lambda: pareto_indices([[0.5, 0.6]], (0.1, 0.1, 0.1)), "3 bins for 2 metrics"),
        (lambda: ParetoFront(0), "bins=0; give one positive number"),
        (lambda: ParetoFront(-0.1), "bins=-0.1"),
        (lambda: ParetoFront(float("nan")), "bins=nan"),
        (lambda: ParetoFront((0.1, 0.0)), r"bins=\(0.1, 0.0\)"),
        (lambda: ParetoFront(()), r"bins=\(\)"),
        (lambda: of((0.5, np.nan)), "hold NaN"),
        (lambda: of((0.5, 0.6), (0.7,)), "point of 'a' has 1 metrics, those before had 2"),
        (lambda: of((0.5, 0.6), (0.6, 0.5)), "the key 'a' is on the front already"),
        (lambda: merged([]), "0 fronts without a member"),
        (lambda: merged([ParetoFront(), ParetoFront()]), "2 fronts without a member"),
        (lambda: merged([of((0.5,)), of((0.6,), bins=0.1, key="b")]), r"different bins \[0.005, 0.1\]"),
        (lambda: merged([of((0.5,)), of((0.6,))]), "the key 'a' is in two fronts"),
        (lambda: merged([of((0.5,)), of((0.6, 0.1), key="b")]), "has 2 metrics, those before had 1"),
    ],
)  # fmt: skip
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_refused_point_changes_nothing():
    front = of((0.5, 0.6))
    for point in ((0.9, np.nan), (0.9,)):
        with pytest.raises(ValueError, match="point"):
            front.add(point, "b")
    assert keys(front) == ["a"]
