"""A person who is not a person: rates the maps of two models by how much of their energy lies on the object.

It sits at the page like anybody else: the order of the comparisons and the places of the models are drawn for it, and it
knows no names. It sees a map as the page draws it, its positive part. The model with more energy on the object is clearly
better where the difference is above CLEARLY, slightly above SLIGHTLY, else the two are equal; its eye is wrong by NOISE.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from hf_guidance.apps.annotation import AnswerStore, Desk
from hf_guidance.apps.trust_study import ComparisonFolder

SLIGHTLY, CLEARLY = 0.05, 0.25
NOISE = 0.1  # standard deviation of what it takes a difference for


def energy_on(values: np.ndarray, mask: np.ndarray) -> float:
    """Share of the positive energy of a map inside a mask; 0 for a map without energy."""
    positive = np.clip(values, 0, None)
    size = (values.shape[1], values.shape[0])
    inside = np.asarray(Image.fromarray(np.asarray(mask, np.float32)).resize(size, Image.Resampling.BOX))
    total = float(positive.sum())
    return float((positive * inside).sum()) / total if total else 0.0


def rated(difference: float) -> str:
    """The word of the page for a difference in energy, of the second model it sees above the first."""
    size = abs(difference)
    points = 2 if size > CLEARLY else 1 if size > SLIGHTLY else 0
    return str(points if difference > 0 else -points)


def rate_all(items: ComparisonFolder, store: AnswerStore, masks: Sequence[np.ndarray], name: str, seed: int) -> None:
    """Rate every comparison by the map of the word, the first of each model.

    Args:
        items: The comparisons.
        store: Where ratings go.
        masks: (h, w) bool for each comparison, where the object is.
        name: Of the rater; it should say that it is simulated.
        seed: Of its errors.
    """
    generator = np.random.default_rng([seed, len(name), *name.encode()])
    sitting = Desk(items, store).sit(name, tab="simulated")
    while (place := sitting.shown) is not None:
        maps = items[place].maps[:, 0]
        first, second = (energy_on(values, masks[place]) for values in (maps[::-1] if sitting.swapped(place) else maps))
        sitting.answer(place, rated(second - first + generator.normal(0, NOISE)))
