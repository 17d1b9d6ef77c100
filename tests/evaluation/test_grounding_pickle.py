"""A Grounding travels to another process, as in a search by Ray, by the names of its metrics."""

import pickle

import numpy as np

from hf_guidance import Grounding
from hf_guidance.attributions import GradCAM, InputXGradient


def test_a_grounding_is_pickled_without_what_evaluate_loaded():
    given = Grounding(InputXGradient("input"), ("epg", "attribution_iou"), "places", "zero")
    given.add_pairs([(np.ones((2, 2)), np.ones((2, 2)))])
    text = pickle.dumps(given)
    assert b"evaluate_modules" not in text
    again = pickle.loads(text)
    assert (again.attribution, again.importance, again.unannotated) == (InputXGradient("input"), "places", "zero")
    assert again.compute() == Grounding(GradCAM(), ("epg", "attribution_iou")).compute()
    half = np.array([[1.0, 0.0]])
    again.add_pairs([(np.ones((1, 2)), half)])
    assert again.compute()["epg"] == 0.5
