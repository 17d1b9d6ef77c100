"""What arXiv 2303.11932 finds of model guidance (R1 to R8), asked again of small nets on digits and playing cards.

    python tests/studies/model_guidance.py --data <folder with cards_voc> [--only digits] [--seeds 0 1 2]

Runs examples/run_model_guidance.py on examples/model_guidance/{digits,cards}.yaml, or goes on where a call before stopped, and
prints of each the table model x layer x loss on the test split, few and coarse boxes, and which findings hold. A finding holds
where the mean over seeds says so and every seed does, it fails where every seed says the contrary; else it is open. Of the
weights of a loss that with the highest EPG on validation is shown; findings about IoU take that with the highest IoU.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts import run_script

ROOT = Path(__file__).resolve().parents[2]
SETS = ("digits", "cards")
SHOWN = ("test_f1", "test_map", "test_epg", "test_attribution_iou", "test_on_object_epg", "test_epg_undefined_share")
LOSSES = ("energy", "l1", "ppce", "rrr")
MODELS = ("vanilla", "xdnn", "bcos")
EPG, IOU, F1, ON_OBJECT = "test_epg", "test_attribution_iou", "test_f1", "test_on_object_epg"
Row = Mapping[str, Any]


def numbers(row: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        try:
            found[name] = float(value) if value else None
        except ValueError:
            found[name] = value
    return found


class Findings:
    """The rows of a grid, and what they say."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows, self.seeds = rows, sorted({row["seed"] for row in rows})
        self.lines: list[str] = []

    def best(self, seed: float, metric: str, by: str = EPG, **cell: Any) -> float | None:
        """Of the weights' representatives of a cell the best on validation (the merged front's), its metric in percent."""
        plain = {"fraction": 1.0, "dilation": 0.0, "moved": 0.0} | cell | {"seed": seed}
        rows = [row for row in self.rows if all(row[name] == value for name, value in plain.items())]
        rows = [row for row in rows if row.get(EPG) is not None]
        if not rows:
            return None
        chosen = max(rows, key=lambda row: row[by.replace("test_", "val_")])
        return None if chosen.get(metric) is None else 100 * chosen[metric]

    def all_seeds(self, metric: str, **cell: Any) -> list[float]:
        values = [self.best(seed, metric, **cell) for seed in self.seeds]
        return [value for value in values if value is not None]

    def shown(self, metric: str, **cell: Any) -> str:
        values = self.all_seeds(metric, **cell)
        if not values:
            return "-"
        return f"{np.mean(values):.1f}" + (f" ± {np.std(values):.1f}" if len(values) > 1 else "")

    def state(
        self, finding: str, where: str, metric: str, first: Row, others: Iterable[Row], margin: float = 0.0
    ) -> None:
        """That the first cell exceeds each of the others by more than ``margin`` points, seed by seed.

        Weights are chosen by EPG, but for what is said of the IoU by the IoU: the paper draws a front of F1 and IoU for that.
        """
        differences, by = [], IOU if metric == IOU else EPG
        for seed in self.seeds:
            own, *rest = (self.best(seed, metric, by, **cell) for cell in (first, *others))
            known = [value for value in rest if value is not None]
            if own is not None and known:
                differences.append(own - max(known) - margin)
        self._say(finding, where, metric, differences, margin)

    def _say(self, finding: str, where: str, metric: str, differences: Sequence[float], margin: float = 0.0) -> None:
        if not differences:
            return
        verdict = "open"
        if min(differences) > 0:
            verdict = "holds"
        elif max(differences) < 0:
            verdict = "fails"
        text = f"{np.mean(differences) + margin:+.1f} ± {np.std(differences):.1f} points, {len(differences)} seeds"
        self.lines.append(f"{finding:3s} {verdict:5s} {where:44s} {metric.removeprefix('test_')}: {text}")

    def run(self) -> None:
        """R1 to R8."""
        for model in MODELS:
            for layer in ("input", "final"):
                here = {"model": model, "layer": layer}
                losses = {loss: here | {"loss": loss} for loss in LOSSES}
                base, long = here | {"loss": "baseline"}, here | {"loss": "unguided"}
                rest = [losses[loss] for loss in LOSSES if loss != "energy"]
                self.state("R1", f"{model} {layer}: energy has the best EPG", EPG, losses["energy"], rest)
                if layer == "final":
                    rest = [losses[loss] for loss in LOSSES if loss != "l1"]
                    self.state("R2", f"{model} {layer}: L1 has the best IoU", IOU, losses["l1"], rest)
                    self.state("R5", f"{model} {layer}: energy raises EPG by 5", EPG, losses["energy"], [base], 5.0)
                    self.state("R5", f"{model} {layer}: L1 raises IoU by 5", IOU, losses["l1"], [base], 5.0)
                self.state(
                    "R3", f"{model} {layer}: energy above L1 on objects", ON_OBJECT, losses["energy"], [losses["l1"]]
                )
                self.state(
                    "R6", f"{model} {layer}: energy raises F1 over longer training", F1, losses["energy"], [long]
                )
        at_input = {model: {"model": model, "layer": "input"} for model in MODELS}
        for loss, name in (("baseline", "before"), ("energy", "with energy")):
            rest = [at_input[model] | {"loss": loss} for model in MODELS if model != "bcos"]
            for metric in (EPG, IOU):
                self.state("R4", f"input, {name}: B-cos is best", metric, at_input["bcos"] | {"loss": loss}, rest)
        self._cheap_annotation()

    def _cheap_annotation(self) -> None:
        for loss, metric in (("energy", EPG), ("l1", IOU)):
            full = self._cheap(loss)
            none = [{"model": "bcos", "layer": "input", "loss": other} for other in ("baseline", "unguided")]
            for fraction in (0.01, 0.1):
                few = full | {"fraction": fraction}
                self.state("R7", f"{loss}: {fraction:.0%} of the boxes beat none", metric, few, none)
            self.state("R7", f"{loss}: 10% within 5 points of 100%", metric, full | {"fraction": 0.1}, [full], -5.0)
            for dilation in (0.1, 0.25, 0.5):
                grown = full | {"dilation": dilation}
                self.state("R8", f"{loss}: boxes +{dilation:.0%} cost no 5 points", metric, grown, [full], -5.0)
        for dilation in (0.25, 0.5):
            lost = {loss: [self._lost(seed, loss, dilation) for seed in self.seeds] for loss in ("energy", "l1")}
            known = [
                own - other for own, other in zip(*lost.values(), strict=True) if own is not None and other is not None
            ]
            self._say("R8", f"energy loses less than L1 by boxes +{dilation:.0%}", EPG, known)

    def _cheap(self, loss: str) -> dict[str, Any]:
        """The cell whose boxes are made few or coarse, at the one weight that those runs have."""
        here = {"model": "bcos", "layer": "input", "loss": loss}
        weights = {
            row["weight"] for row in self.rows if row["loss"] == loss and (row["fraction"] < 1 or row["dilation"])
        }
        return here | {"weight": weights.pop()} if len(weights) == 1 else here

    def _lost(self, seed: float, loss: str, dilation: float) -> float | None:
        grown, full = (self.best(seed, EPG, **self._cheap(loss), dilation=share) for share in (dilation, 0.0))
        return None if grown is None or full is None else grown - full

    def table(self, *weight: str) -> str:
        """Every kind of cell, mean and standard deviation over the seeds, in percent; of every weight when that is given."""
        names = ("model", "layer", "loss", *weight, "fraction", "dilation", "moved")
        kinds = list(dict.fromkeys(tuple(row[name] for name in names) for row in self.rows))
        heads = [name.removeprefix("test_") for name in SHOWN]
        lines = ["| " + " | ".join([*names, *heads, "none"]) + " |", "|" + "---|" * (len(names) + len(heads) + 1)]
        for kind in kinds:
            cell = dict(zip(names, kind, strict=True))
            plain = [f"{value:g}" if isinstance(value, float) else str(value) for value in kind]
            none = sum(self.best(seed, EPG, **cell) is None for seed in self.seeds)
            values = [self.shown(metric, **cell) for metric in SHOWN]
            lines.append("| " + " | ".join([*plain, *values, str(none or "")]) + " |")
        return "\n".join(lines)


def run_grid(name: str, data: Path, seeds: Sequence[int], output: Path) -> list[Row]:
    """The grid of a set, its finished rows included."""
    options = yaml.safe_load((ROOT / "examples" / "model_guidance" / f"{name}.yaml").read_text())
    options |= {"output_dir": str(output / name), "seeds": list(seeds)}
    if name == "cards":
        options["data_dir"] = str(data / "cards_voc")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(options, file)
        file.flush()
        run_script("run_model_guidance", file.name)
    with (output / name / "grid.csv").open(newline="") as stream:
        return [numbers(row) for row in csv.DictReader(stream)]


def main(run: Callable[..., list[Row]] = run_grid) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cards_voc")
    parser.add_argument("--only", choices=SETS, action="append")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("runs/study/model_guidance"))
    options = parser.parse_args()
    for name in options.only or SETS:
        findings = Findings(run(name, options.data, options.seeds, options.output))
        findings.run()
        print(f"\n{name}: representatives on the test split, percent\n{findings.table()}\n")
        print(f"The same by weight\n{findings.table('weight')}\n")
        print("\n".join(findings.lines), flush=True)


if __name__ == "__main__":
    main()
