"""The cells of the study of Waterbirds: one for every row of its tables, in sets."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from waterbirds_methods import METHODS
from waterbirds_options import RATES

STAGES = {"energy_middle": 4, "energy_layers": 0}  # of seven: how many come before every layer that is explained


@dataclass(frozen=True)
class Cell:
    """One row of the table: the options of run_waterbirds.py, but for the seed."""

    method: str
    random_boxes: bool = False
    boxes: float = 0.1
    task: str = "conventional"
    trained: str = "head"
    weight: float | None = None
    learning_rate: float | None = None
    half: str = "second"
    remembered: bool = True
    weight_decay: float | None = None
    replace: str = "others"
    image_size: int = 160
    schedule: str = "constant"

    @property
    def name(self) -> str:
        """What the table calls it."""
        parts = [self.method]
        parts += (
            [f"{self.boxes:.0%} of the boxes"] if METHODS[self.method].told != "nothing" and self.boxes != 0.1 else []
        )
        parts += ["random boxes"] if self.random_boxes else []
        parts += [f"weight {self.weight:g}"] if self.weight is not None else []
        parts += [f"rate {self.learning_rate:g}"] if self.learning_rate is not None else []
        parts += [self.replace] if self.replace != "others" else []
        parts += [self.schedule] if self.schedule != "constant" else []
        parts += [f"{self.image_size} pixels"] if self.image_size != 160 else []
        parts += [f"weight decay {self.weight_decay:g}"] if self.weight_decay is not None else []
        return ", ".join(parts)


def with_control(method: str, **given: Any) -> list[Cell]:
    """A method and, where it reads boxes or answers by them, the same with boxes at random places."""
    told = METHODS[method].told != "nothing"
    return [Cell(method, moved, **given) for moved in ((False, True) if told else (False,))]


WEIGHTS: dict[str, tuple[float, ...]] = {
    "energy": (1, 3, 10, 30, 100, 300),
    "energy_label": (1, 3, 10, 30),
    "l1": (1, 10, 100, 1000),
    "sufficiency": (3, 10, 30),
    "uncertainty": (0.03, 0.3),
    "views": (10, 30, 100),
    "energy_views": (10, 30, 100, 300),
    "l1_views": (3, 10, 30),
    "box_energy": (0.1, 1, 10),
    "crayon": (10, 1000, 1e5),
}
INSIDE_WEIGHTS: dict[str, tuple[float, ...]] = {
    "energy_middle": (3, 10, 30, 100, 300),
    "energy_input": (1, 3, 10, 30, 100),
    "energy_layers": (3, 10, 30, 100),
    "rrr": (0.01, 0.1, 1, 10, 100),
}
REVERSED_WEIGHTS: dict[str, tuple[float, ...]] = {
    "energy": (3, 10, 30, 100),
    "l1": (1, 10, 100),
    "views": (3, 10, 30),
    "energy_views": (1, 3, 10, 30),
    "l1_views": (0.03, 0.1, 0.3, 3, 10),
    "box_energy": (0.01, 0.1, 1, 10),
    "crayon": (10, 1000, 1e5),
}
RATES_TRIED = (3e-3, 1e-2, 3e-2)


def choice(
    weights: dict[str, tuple[float, ...]], task: str = "conventional", rates: tuple[float, ...] = RATES_TRIED
) -> list[Cell]:
    """Weights and rates that are tried, on the first half of the validation rows."""
    return [
        Cell(method, task=task, weight=float(weight), learning_rate=rate, half="first")
        for method, tried in weights.items() for weight in tried for rate in rates
    ]  # fmt: skip


def with_controls(*methods: str, **given: Any) -> list[Cell]:
    """Several methods, each with its control."""
    return [cell for method in methods for cell in with_control(method, **given)]


TRAINED_WEIGHTS: dict[str, float | None] = {"erm": None, "energy_views": 10.0, "energy": 10.0}


SETS: dict[str, list[Cell]] = {
    "choice": [Cell("erm", learning_rate=rate, half="first") for rate in RATES_TRIED] + choice(WEIGHTS),
    "choice_inside": choice(INSIDE_WEIGHTS, rates=(1e-2,)),
    "choice_reversed": [Cell("erm", task="reversed", learning_rate=rate, half="first") for rate in RATES_TRIED]
    + choice(REVERSED_WEIGHTS, "reversed", (1e-2,)),
    "finalists": with_controls("energy", "l1_views", "energy_views", half="first"),
    "main": with_controls("erm", "erm_as_long", *WEIGHTS, "jtt", "gradia"),
    "inside": with_controls(*INSIDE_WEIGHTS),
    "fractions": with_controls("energy", "l1", "energy_views", "l1_views", boxes=0.01)
    + with_controls("energy", "l1", "energy_views", boxes=1.0),
    "reversed": with_controls("erm", "erm_as_long", *REVERSED_WEIGHTS, "jtt", "gradia", task="reversed"),
    "replaced": [cell for fill in ("blur", "grey", "marginal") for cell in with_controls("energy_views", replace=fill)],
    "resolutions": [
        cell for pixels in (128, 224) for cell in with_controls("erm_as_long", "energy_views", image_size=pixels)
    ],
    "decay": [Cell("energy_views", weight_decay=decay) for decay in (1.0, 10.0)],
    "schedules": [
        cell for name in ("rising", "late", "falling") for cell in with_controls("energy_views", schedule=name)
    ],
    "trained": [
        cell
        for method, weight in TRAINED_WEIGHTS.items()
        for cell in with_control(method, trained="late", weight=weight)
    ],
    "minutes": [Cell(method, remembered=False) for method in ("erm", "energy_views", *INSIDE_WEIGHTS)],
}


CHOICES = [cell for name, cells in SETS.items() if name.startswith("choice") for cell in cells]


def used(cell: Cell) -> dict[str, float]:
    """The weight and the rate that a cell is trained with; a run of other defaults is no longer one of this cell."""
    method = METHODS[cell.method]
    weight, rate = method.settings(cell.task)
    rate = RATES.get(cell.trained, rate)
    return {
        "weight": weight if cell.weight is None else cell.weight,
        "learning_rate": rate if cell.learning_rate is None else cell.learning_rate,
    }
