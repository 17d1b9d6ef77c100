import math

import numpy as np
import pytest


def slow_hit(attribution, mask, tolerance):
    """Walk over the pixels for the first maximum, then over the mask for one near enough."""
    best, point = -math.inf, None
    for row in range(attribution.shape[0]):
        for column in range(attribution.shape[1]):
            if attribution[row, column] > best:
                best, point = attribution[row, column], (row, column)
    near = [p for p in np.argwhere(mask > 0.5).tolist() if math.dist(p, point) <= tolerance]
    return best > 0 and bool(near)


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 3, 15])
def test_matches_loops(load, pairs, tolerance):
    expected = np.mean([slow_hit(*pair, tolerance) for pair in zip(*pairs, strict=True)])
    result = load("pointing_game").compute(predictions=pairs[0], references=pairs[1], tolerance=tolerance)
    assert result == {"pointing_game": expected}
    assert type(result["pointing_game"]) is float


def test_tolerance_is_a_euclidean_distance(load):
    attribution, mask = np.zeros((10, 10)), np.zeros((10, 10))
    attribution[1, 1] = mask[5, 4] = 1
    hits = [
        load("pointing_game").compute(predictions=[attribution], references=[mask], tolerance=t)["pointing_game"]
        for t in (4.99, 5)
    ]
    assert hits == [0.0, 1.0]


def test_defined_corner_cases(load):
    def game(attribution, mask):
        metric = load("pointing_game")
        return metric.compute(predictions=[attribution], references=[mask], tolerance=0)["pointing_game"]

    assert game([[2, 2]], [[1, 0]]) == 1.0  # the first of equal maxima counts
    assert game([[2, 2]], [[0, 1]]) == 0.0
    assert game([[0, 0]], [[1, 1]]) == 0.0  # no positive attribution
    assert game([[-1, -2]], [[1, 1]]) == 0.0
    assert game([[1, 2]], [[0, 0]]) == 0.0  # nothing to hit
    assert load("pointing_game").compute(predictions=[[[1]]], references=[[[0]]], tolerance=99)["pointing_game"] == 0


@pytest.mark.parametrize("tolerance", [-1, math.inf, math.nan, "15"])
def test_bad_tolerance(load, tolerance):
    with pytest.raises(ValueError, match=r"tolerance is .*finite number of pixels"):
        load("pointing_game").compute(predictions=[[[1.0]]], references=[[[1]]], tolerance=tolerance)
