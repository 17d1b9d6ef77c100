"""Cohen's kappa and Krippendorff's alpha of answers."""

import pytest

from hf_guidance.apps.annotation.agreement import agreement

pytest.importorskip("krippendorff")


def test_kappa_by_hand():
    """Observed 0.7; by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5; (0.7 - 0.5) / 0.5 = 0.4. The textbook example, halved."""
    first = ["yes"] * 5 + ["no"] * 5 + ["yes", None]
    second = ["yes"] * 4 + ["no"] * 1 + ["yes"] * 2 + ["no"] * 3 + [None, "no"]
    found = agreement({"b": second, "a": first})
    assert found.kappa[("a", "b")] == pytest.approx(0.4)
    assert found.shared == {("a", "b"): 10}


def test_alpha_by_hand():
    """Units yes-yes, no-no, yes-no, no-no: disagreement 2/8; expected 2 * 3 * 5 / (8 * 7); alpha = 1 - 7/15."""
    answers = {"a": ["yes", "no", "yes", "no", "yes"], "b": ["yes", "no", "no", "no", None]}
    assert agreement(answers).alpha == pytest.approx(1 - 7 / 15)


def test_figures_that_are_not_defined():
    alone = agreement({"a": ["yes", "no"]})
    assert (dict(alone.kappa), alone.alpha) == ({}, None)
    same = agreement({"a": ["yes", "yes"], "b": ["yes", None]})
    assert (same.kappa["a", "b"], same.alpha) == (None, None)
    apart = agreement({"a": ["yes", None], "b": [None, "no"]})
    assert (apart.kappa["a", "b"], apart.shared["a", "b"], apart.alpha) == (None, 0, None)
    assert agreement({}).alpha is None
