"""F1 and mAP against the golden numbers, and the threshold that is chosen on training data."""

from __future__ import annotations

import numpy as np
import pytest

from hf_guidance.classification_metrics import best_threshold, mean_average_precision, micro_f1


def test_golden_f1_and_map(golden):
    numbers = golden("model_guidance/metric_f1_map")
    for case in range(int(numbers["n_cases"])):
        logits, labels = numbers[f"c{case}_logits"], numbers[f"c{case}_labels"]
        assert micro_f1(logits, labels) == pytest.approx(float(numbers[f"c{case}_f_score"]), abs=1e-6)
        expected = float(numbers[f"c{case}_map_macro_skip_empty"])
        assert mean_average_precision(logits, labels) == pytest.approx(expected, abs=1e-6)


def test_the_chosen_threshold_undoes_a_shift_of_the_logits():
    generator = np.random.default_rng(0)
    labels = generator.random((200, 4)) < 0.4
    logits = np.where(labels, 1.0, -1.0) + generator.normal(size=(200, 4)) * 0.3
    assert micro_f1(logits - 3, labels) < 0.1
    assert micro_f1(logits - 3, labels, best_threshold(logits - 3, labels)) > 0.98


def test_map_without_any_positive_is_an_error():
    with pytest.raises(ValueError, match="no class has a positive"):
        mean_average_precision(np.zeros((3, 2)), np.zeros((3, 2)))
