import numpy as np
import pytest
from scipy import stats

from hf_guidance.evaluation.analysis import seed_difference, seed_interval


def test_against_scipy():
    values = [0.70, 0.74, 0.715, 0.69]
    found = seed_interval(values, 0.9)
    expected = stats.t.interval(0.9, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.half_width == pytest.approx((expected[1] - expected[0]) / 2)
    assert found.seeds == 4


def test_pairs_by_seed_whatever_their_order():
    first, second = {0: 0.8, 1: 0.9, 2: 0.7}, {2: 0.65, 0: 0.7, 1: 0.88}
    found = seed_difference(first, second)
    expected = stats.ttest_rel([0.8, 0.9, 0.7], [0.7, 0.88, 0.65]).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.paired


def test_welch_where_seeds_differ():
    first, second = {0: 0.8, 1: 0.9, 2: 0.7}, {5: 0.65, 6: 0.7, 7: 0.88, 8: 0.6}
    found = seed_difference(first, second)
    expected = stats.ttest_ind(list(first.values()), list(second.values()), equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert not found.paired
    assert found.seeds == 3


def test_one_seed_has_no_interval():
    assert seed_interval([0.5]).half_width is None
    assert seed_difference({0: 0.5}, {0: 0.4}).low is None
    assert seed_difference({0: 0.5, 1: 0.5}, {2: 0.4}).high is None


def test_no_spread_at_all():
    found = seed_difference({0: 0.5, 1: 0.5}, {2: 0.25, 3: 0.25})
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(("values", "level"), [([], 0.95), ([1.0, float("nan")], 0.95), ([1.0, 2.0], 1.0)])
def test_bad_input(values, level):
    with pytest.raises(ValueError, match="give at least one finite number and a level between 0 and 1"):
        seed_interval(values, level)
