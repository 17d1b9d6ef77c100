"""What run_waterbirds.py can train by: name to how a model is guided, from which model it starts, and what it is told.

Two-class maps explain the difference of the two logits (`ContrastLogits`), which is what decides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hf_guidance import Guidance, Term, recipes
from hf_guidance.attributions import ContrastLogits, GradCAM, InputXGradient
from hf_guidance.objectives import L1, Energy, Sufficiency, Uncertainty
from hf_guidance.training.baselines import JtT
from hf_guidance.views import OtherImages

LABEL = GradCAM()
FINAL, MIDDLE, INPUT = (InputXGradient(layer=layer, target=ContrastLogits()) for layer in ("final", "mid3", "input"))


@dataclass(frozen=True)
class Method:
    """One way to train.

    Attributes:
        terms: The terms beside the task, from a weight.
        weight: The weight that is taken if none is given; of "crayon" alpha and beta, which are divided by numbers of answers.
        told: What of the training rows is read: "nothing", "boxes" of a share of them, or simulated "answers" about maps.
        second: Whether it corrects a model that was trained by ERM for as long.
        baseline: A compared method that is no guidance.
    """

    terms: Callable[[float], dict[str, Term]] = lambda weight: {}
    weight: float = 1.0
    told: str = "boxes"
    second: bool = False
    baseline: Any = None


def _energy(*maps: Any) -> Callable[[float], dict[str, Term]]:
    return lambda weight: {f"energy_{given.layer}": Term(Energy(given), weight, "rows") for given in maps}


def _l1(weight: float) -> dict[str, Term]:
    return {"l1": Term(L1(FINAL), weight, "rows")}


def _rrr(weight: float) -> dict[str, Term]:
    return dict(recipes.rrr(weight=weight))


def _box_energy(weight: float) -> dict[str, Term]:
    return dict(recipes.bounding_box(weight=weight))


def _sufficiency(weight: float) -> dict[str, Term]:
    return {"sufficiency": Term(Sufficiency(replace=OtherImages()), weight, "rows")}


def _uncertainty(weight: float) -> dict[str, Term]:
    return {"uncertainty": Term(Uncertainty(replace=OtherImages()), weight, "rows")}


def _views(weight: float) -> dict[str, Term]:
    return _sufficiency(weight) | _uncertainty(0.1 * weight)


METHODS: dict[str, Method] = {
    "erm": Method(told="nothing"),
    "erm_as_long": Method(told="nothing", second=True),
    "energy": Method(_energy(FINAL), weight=10.0),
    "energy_label": Method(_energy(LABEL), weight=3.0),
    "energy_middle": Method(_energy(MIDDLE), weight=10.0),
    "energy_input": Method(_energy(INPUT), weight=10.0),
    "energy_layers": Method(_energy(FINAL, MIDDLE, INPUT), weight=3.0),
    "l1": Method(_l1, weight=100.0),
    "rrr": Method(_rrr, weight=200.0),
    "sufficiency": Method(_sufficiency, weight=10.0),
    "uncertainty": Method(_uncertainty, weight=0.1),
    "views": Method(_views, weight=10.0),
    "energy_views": Method(lambda weight: _energy(FINAL)(weight) | _views(weight), weight=10.0),
    "l1_views": Method(lambda weight: _l1(10 * weight) | _views(weight), weight=10.0),
    "box_energy": Method(_box_energy, weight=1.0, second=True),
    "crayon": Method(told="answers", weight=1000.0, second=True),
    "gradia": Method(told="answers", second=True),
    "jtt": Method(told="nothing", second=True, baseline=JtT()),
}


WEIGHTED = tuple(name for name, method in METHODS.items() if method.told == "boxes" or name == "crayon")
"""The methods that take another weight."""


def guidance_of(method: Method, weight: float | None) -> Guidance:
    """The terms of a method, with the task."""
    return Guidance(method.terms(method.weight if weight is None else weight))
