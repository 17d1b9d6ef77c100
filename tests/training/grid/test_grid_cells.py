"""The cells of a grid: each once, with numbers in one notation."""

from __future__ import annotations

import json

from hf_guidance import Guidance
from hf_guidance.training.grid import GridArguments, cells_of, guidance_of
from hf_guidance.training.grid.cells import attribution_of


def test_cells_are_the_same_in_any_notation_of_their_numbers():
    def cells(one, zero):
        weights = json.dumps({"energy": [one]})
        return cells_of(GridArguments(losses=["energy"], weights=weights, fractions=[one], dilations=[zero]))

    assert str(cells(1, 0)) == str(cells(1.0, 0.0))


def test_an_unguided_run_is_one_cell_whatever_the_boxes():
    options = GridArguments(
        models=["bcos"], layers=["input"], losses=["unguided", "l1"], weights=json.dumps({"l1": [0.1]}),
        fractions=[0.1, 1.0], dilations=[0.0, 0.5], moved=[0, 1],
    )  # fmt: skip
    cells = cells_of(options)
    losses = [cell["loss"] for cell in cells]
    assert {loss: losses.count(loss) for loss in losses} == {"baseline": 1, "unguided": 1, "l1": 8}
    plain = [(cell["fraction"], cell["dilation"], cell["moved"]) for cell in cells if cell["loss"] != "l1"]
    assert plain == [(1.0, 0.0, 0)] * 2


def test_all_cells_of_a_layer_are_measured_by_one_attribution_and_only_guided_ones_are_guided():
    cells = cells_of(GridArguments(models=["bcos"], layers=["final"], losses=["energy", "rrr", "unguided"]))
    assert len({attribution_of(cell) for cell in cells}) == 1
    for cell in cells:
        if cell["loss"] in ("baseline", "unguided"):
            assert guidance_of(cell) == Guidance()
        else:
            assert guidance_of(cell)[cell["loss"]].objective.attribution == attribution_of(cell)
