"""What run_waterbirds.py can train by: name to how a model is guided, from which model it starts, and what it is told.

Two-class maps explain the difference of the two logits (`ContrastLogits`), which is what decides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any

from hf_guidance import Guidance, Term, WeightSchedule, recipes
from hf_guidance.attributions import ContrastLogits, GradCAM, InputXGradient
from hf_guidance.objectives import L1, Energy, Sufficiency, Uncertainty
from hf_guidance.training.baselines import JtT
from hf_guidance.views import Blur, OtherImages, Replace, marginal, zeros

REPLACE: dict[str, Replace] = {"others": OtherImages(), "blur": Blur(sigma=10.0), "grey": zeros, "marginal": marginal}
SCHEDULES: dict[str, WeightSchedule | None] = {
    "constant": None,
    "rising": WeightSchedule(),
    "late": WeightSchedule(begin=0.5, end=0.5),
    "falling": WeightSchedule(first=1.0, last=0.0),
}
LABEL = GradCAM()
FINAL, MIDDLE, INPUT = (InputXGradient(layer=layer, target=ContrastLogits()) for layer in ("final", "mid3", "input"))


@dataclass(frozen=True)
class Method:
    """One way to train.

    Attributes:
        terms: The terms beside the task, from a weight and from what stands in place of what a view does not show.
        weight: The weight that is taken if none is given; of "crayon" alpha and beta, which are divided by numbers of answers.
        learning_rate: The rate that is taken where the last layer is trained, if none is given.
        reversed: Weight and rate where the place is the task, if they are others.
        told: What of the training rows is read: "nothing", "boxes" of a share of them, or simulated "answers" about maps.
        second: Whether it corrects a model that was trained by ERM for as long.
        baseline: A compared method that is no guidance.
    """

    terms: Callable[[float, Replace], dict[str, Term]] = lambda weight, replace: {}
    weight: float = 1.0
    learning_rate: float = 1e-2
    told: str = "boxes"
    second: bool = False
    baseline: Any = None
    reversed: tuple[float, float] | None = None

    def settings(self, task: str) -> tuple[float, float]:
        """Weight and learning rate for a task."""
        return self.reversed if task == "reversed" and self.reversed else (self.weight, self.learning_rate)


def _energy(*maps: Any) -> Callable[[float, Replace], dict[str, Term]]:
    return lambda weight, replace: {f"energy_{given.layer}": Term(Energy(given), weight, "rows") for given in maps}


def _l1(weight: float, replace: Replace) -> dict[str, Term]:
    return {"l1": Term(L1(FINAL), weight, "rows")}


def _rrr(weight: float, replace: Replace) -> dict[str, Term]:
    return dict(recipes.rrr(weight=weight))


def _box_energy(weight: float, replace: Replace) -> dict[str, Term]:
    return dict(recipes.bounding_box(weight=weight))


def _sufficiency(weight: float, replace: Replace) -> dict[str, Term]:
    return {"sufficiency": Term(Sufficiency(replace=replace), weight, "rows")}


def _uncertainty(weight: float, replace: Replace) -> dict[str, Term]:
    return {"uncertainty": Term(Uncertainty(replace=replace), weight, "rows")}


def _views(weight: float, replace: Replace) -> dict[str, Term]:
    return _sufficiency(weight, replace) | _uncertainty(0.1 * weight, replace)


def _energy_views(weight: float, replace: Replace) -> dict[str, Term]:
    return _energy(FINAL)(weight, replace) | _views(weight, replace)


def _l1_views(weight: float, replace: Replace) -> dict[str, Term]:
    return _l1(10 * weight, replace) | _views(weight, replace)


METHODS: dict[str, Method] = {
    "erm": Method(told="nothing", learning_rate=3e-3, reversed=(1.0, 1e-2)),
    "erm_as_long": Method(told="nothing", learning_rate=3e-3, second=True, reversed=(1.0, 1e-2)),
    "energy": Method(_energy(FINAL), 100.0, 3e-2, reversed=(10.0, 1e-2)),
    "energy_label": Method(_energy(LABEL), 1.0, 3e-3),
    "energy_middle": Method(_energy(MIDDLE), 100.0),
    "energy_input": Method(_energy(INPUT), 3.0),
    "energy_layers": Method(_energy(FINAL, MIDDLE, INPUT), 30.0),
    "l1": Method(_l1, 100.0, 3e-2, reversed=(10.0, 1e-2)),
    "rrr": Method(_rrr, 100.0),
    "sufficiency": Method(_sufficiency, 10.0, 3e-3),
    "uncertainty": Method(_uncertainty, 0.3),
    "views": Method(_views, 10.0, 3e-3, reversed=(10.0, 1e-2)),
    "energy_views": Method(_energy_views, 10.0, 3e-3, reversed=(3.0, 1e-2)),
    "l1_views": Method(_l1_views, 3.0, reversed=(0.3, 1e-2)),
    "box_energy": Method(_box_energy, 10.0, 3e-3, second=True, reversed=(0.01, 1e-2)),
    "crayon": Method(told="answers", weight=1000.0, second=True, reversed=(10.0, 1e-2)),
    "gradia": Method(told="answers", learning_rate=3e-3, second=True, reversed=(1.0, 1e-2)),
    "jtt": Method(told="nothing", learning_rate=3e-3, second=True, baseline=JtT(), reversed=(1.0, 1e-2)),
}


WEIGHTED = tuple(name for name, method in METHODS.items() if method.told == "boxes" or name == "crayon")
"""The methods that take another weight."""


VIEWED = ("sufficiency", "uncertainty", "views", "energy_views", "l1_views")
"""The methods that train on edited images."""


def guidance_of(method: Method, weight: float, replace: str, schedule: str) -> Guidance:
    """The terms of a method, with the task."""
    terms = method.terms(weight, REPLACE[replace])
    return Guidance({name: changed(term, schedule=SCHEDULES[schedule]) for name, term in terms.items()})
