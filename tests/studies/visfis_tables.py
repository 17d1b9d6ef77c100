"""VisFIS's ablation of objectives (table 4), random supervision of one objective (table 12) and importance methods (table 10).

Formulas and weights are those of the released code, as in the demo; "VisFIS, paper's formulas" has those of the paper.
Weights of Align on scores of edited copies were chosen on the dev split of seed 100, which the tables do not use
(``--study alignment_weights --first_seed 100 --seeds 1``).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from studies.questions_common import (
    COLUMNS,
    OPTIONS,
    POINTS,
    PREDICTED,
    TASK,
    Table,
    demo,
    points_file,
    run_arm,
    scores_of,
)
from torch import Tensor

from hf_guidance import Guidance, Term, recipes
from hf_guidance.attributions import (
    AttentionWeights,
    Attribution,
    AverageEffect,
    ExpectedGradients,
    Gradient,
    KeepOneIn,
    KernelSHAP,
    LeaveOneOut,
    SoftLabelLogits,
)
from hf_guidance.evaluation.analysis import PREDICTORS, accuracy_by_plausibility, faithfulness_groups, predict_ood
from hf_guidance.objectives import Alignment

TERMS = {"sufficiency": "Suff-Human", "uncertainty": "Unc", "alignment": "Align", "invariance_fi": "Inv-FI"}
GT = SoftLabelLogits()


@dataclass(frozen=True)
class LeaveOneOutThrough(LeaveOneOut):
    """LeaveOneOut of every box, with the gradient through score(x) that the paper stops."""

    def __call__(self, forward: Any) -> Tensor:
        full = forward.scores(self.target)
        return super().__call__(forward) + (full - full.detach())[:, None]


@dataclass(frozen=True)
class KeepOneInThrough(KeepOneIn):
    """KeepOneIn of every box, with the gradient through score(nothing) that the paper stops."""

    def __call__(self, forward: Any) -> Tensor:
        nothing = forward.scores(self.target, self.views[1])[0]
        return super().__call__(forward) - (nothing - nothing.detach())[:, None]


WEIGHTS = (1.0, 0.1, 0.01)
METHODS: dict[str, tuple[Attribution, float]] = {
    "Attention": (AttentionWeights(), 1.0),
    "VGrad-gt": (Gradient(target=GT), 1.0),
    "VGrad-pred": (Gradient(target=PREDICTED), 1.0),
    "LOO-pred 12": (LeaveOneOut(target=PREDICTED), 0.1),
    "KOI-gt 12": (KeepOneIn(target=GT), 0.01),
    "SHAP-pred 15": (KernelSHAP(target=PREDICTED, samples=15), 1.0),
    "AvgEffect-pred 15": (AverageEffect(target=PREDICTED, samples=15), 1.0),
    "LOO-pred 12 through": (LeaveOneOutThrough(target=PREDICTED), 1.0),
    "KOI-gt 12 through": (KeepOneInThrough(target=GT), 1.0),
    "SHAP-pred 15 through": (KernelSHAP(target=PREDICTED, samples=15, variant="official"), 1.0),
    "SHAP-pred 2": (KernelSHAP(target=PREDICTED, samples=2), 1.0),
    "SHAP-pred 2 through": (KernelSHAP(target=PREDICTED, samples=2, variant="official"), 1.0),
    "ExpGrad-pred 5": (ExpectedGradients(target=PREDICTED, samples=5, variant="official"), 1.0),
    "LOO-pred 1": (LeaveOneOut(target=PREDICTED, budget=1), 1.0),
    "KOI-gt 1": (KeepOneIn(target=GT, budget=1), 1.0),
    "AvgEffect-pred 2": (AverageEffect(target=PREDICTED, samples=2), 1.0),
}
"""Method and weight of Align. The number is that of boxes, samples or coalitions; without one the cost is fixed.

ExpGrad-pred with 1 sample is the arm "Align". The last three explain one box: the cosine of such a map is e_j / |e| with the
sign of its entry, whatever its size, so the term trains nothing and no weight was sought. SHAP-pred 2 has SHAP-pred 15's
weight, and "through" the weight 1 of the paper.
"""
SOUGHT = ("LOO-pred 12", "KOI-gt 12", "SHAP-pred 15", "AvgEffect-pred 15", "LOO-pred 12 through", "KOI-gt 12 through")


def objectives() -> dict[str, Guidance]:
    """Table 4, with the terms that the rows of one objective have."""
    own = "official"
    found = {
        "Baseline": recipes.task_only(),
        "Inv-DA": recipes.invariance_da(TASK, own),
        "Inv-FI": recipes.invariance_fi(TASK, own),
        "Unc": recipes.uncertainty(TASK, own),
        "Align": recipes.alignment(TASK, own),
        "Suff-Random": recipes.random_sufficiency(),
        "Suff-Human": recipes.sufficiency(TASK, own),
    }
    found |= {f"Suff + {name}": Guidance({**found["Suff-Human"], **_guided(found[name])}) for name in ("Align", "Unc")}
    found["VisFIS"] = demo.guidances(OPTIONS)["visfis"]
    found["VisFIS, paper's formulas"] = recipes.visfis("updn", TASK, "paper")
    return found


def random_terms() -> dict[str, Guidance]:
    """VisFIS with a fixed random importance, for all terms and for one at a time."""
    visfis = demo.guidances(OPTIONS)["visfis"]
    moved = recipes.random_supervision(visfis)
    found = {"VisFIS, random": moved}
    return found | {f"VisFIS, random {name}": Guidance({**visfis, term: moved[term]}) for term, name in TERMS.items()}


def methods() -> dict[str, Guidance]:
    """Align alone on each method."""
    return {f"Align {name}": align(*chosen) for name, chosen in METHODS.items()}


def align(method: Attribution, weight: float) -> Guidance:
    return Guidance({**recipes.task_only(), "alignment": Term(Alignment(method), weight)})


def _guided(guidance: Guidance) -> dict[str, Term]:
    return guidance.guided


def run(output: Path, seeds: list[int]) -> None:
    arms = objectives() | random_terms() | methods()
    table = Table("visfis", output, arms)
    for seed in seeds:
        splits = demo.load(seed, OPTIONS.num_boxes)
        for arm, guidance in arms.items():
            run_arm(table, arm, guidance, splits, seed)
    _statements(table)
    table.show((*COLUMNS, "sufficiency"))


def _statements(table: Table) -> None:
    for arm in ("Suff-Human", "Unc", "Inv-FI", "Align", "Inv-DA", "Suff-Random"):
        text = f"{arm} alone beats the baseline" if arm != "Inv-DA" else "Inv-DA does not beat the baseline"
        pair = (arm, "Baseline") if arm != "Inv-DA" else ("Baseline", arm)
        table.compare(text, pair)
    for arm in ("Align", "Unc"):
        table.compare(f"Suff-Human with {arm} beats Suff-Human", (f"Suff + {arm}", "Suff-Human"))
    others = [arm for arm in objectives() if not arm.startswith("VisFIS")]
    best = max(others, key=lambda arm: table.mean(arm, "ood_accuracy"))
    table.compare(f"VisFIS is best out of distribution (next: {best})", ("VisFIS", best))
    table.compare("VisFIS beats Suff-Random in distribution", ("VisFIS", "Suff-Random"), "id_accuracy")
    table.compare("random supervision is no better than the baseline", ("Baseline", "VisFIS, random"), above=-1)
    for name in TERMS.values():
        table.compare(f"{name} of VisFIS needs true importance", ("VisFIS", f"VisFIS, random {name}"))
    for name in ("rrr_suff", "rrr_inv"):
        table.compare(f"VisFIS raises {name}", ("VisFIS", "Baseline"), name)
    table.compare("VisFIS lowers rrr_unc", ("Baseline", "VisFIS"), "rrr_unc")
    _of_methods(table)
    _over_models(table)
    _over_points(table)


def _of_methods(table: Table) -> None:
    """Table 10: "Align" is ExpGrad with one sample there."""
    arms = {"Align": "ExpGrad-pred 1"} | {arm: arm[6:] for arm in methods()}
    accuracy = {arm: table.mean(arm, "ood_accuracy") for arm in arms if arm in table.runs}
    order = sorted(accuracy, key=lambda arm: -accuracy[arm])
    shown = ", ".join(f"{arms[arm]} {accuracy[arm]:.1f}" for arm in order)
    table.notes["Align, importance methods by OOD accuracy"] = shown
    for arm in ("Align Attention", "Align VGrad-pred", "Align LOO-pred 12", "Align KOI-gt 12", "Align SHAP-pred 15"):
        table.compare(f"Align on ExpGrad beats {arm}", ("Align", arm))
    small = {"LOO-pred 12": "LOO-pred 1", "KOI-gt 12": "KOI-gt 1", "SHAP-pred 15": "SHAP-pred 2",
             "AvgEffect-pred 15": "AvgEffect-pred 2", "ExpGrad-pred 5": ""}  # fmt: skip
    for large, less in small.items():
        pair = (f"Align {less}".strip(), f"Align {large}")
        table.compare(f"a larger budget does not help (under 1 point), {large}", pair, above=-1)
    for name in ("LOO-pred 12", "KOI-gt 12", "SHAP-pred 15", "SHAP-pred 2"):
        table.compare(f"gradients through the stopped score help, {name}", (f"Align {name} through", f"Align {name}"))


def _over_models(table: Table) -> None:
    """Do metrics in distribution tell accuracy out of distribution (table 5), over all models trained here?"""
    names = {name: name for used in PREDICTORS.values() for name in used} | {"accuracy": "id_accuracy"}
    every = [run for runs in table.runs.values() for run in runs]
    runs = [run for run in every if all(run[column] is not None for column in names.values())]
    metrics = {name: np.array([run[column] for run in runs]) for name, column in names.items()}
    ood = np.array([run["ood_accuracy"] for run in runs])
    found = predict_ood(metrics, ood, train_share=0.7, splits=2000)
    table.notes[f"correlation with OOD accuracy, {len(runs)} of {len(every)} models, 30 % of them left out"] = (
        ", ".join(f"{name} {value.test:.2f}" for name, value in found.items())
    )
    alone, best = found["ID accuracy"].test, max(found[name].test for name in ("RRR-Suff", "RRR-Inv", "RRR-Unc"))
    table.state(
        "ID accuracy tells more of OOD accuracy than any RRR metric", alone > best, f"{alone:.2f} against {best:.2f}"
    )
    value = float(np.corrcoef(metrics["plausibility"], ood)[0, 1])
    table.state("plausibility of a model tells little of its OOD accuracy (paper: 0.14)", value < 0.5, f"{value:.2f}")


def _over_points(table: Table) -> None:
    """Does plausibility tell accuracy of a question, where the explanation is faithful (figure 2)? Models of this table."""
    files = [points_file(table, arm, run["seed"]) for arm, runs in table.runs.items() for run in runs]
    known: dict[str, list[Any]] = {name: [] for name in POINTS}
    for file in files:
        with np.load(file) as points:
            for name in POINTS:
                known[name].append(points[name])
    joined = {name: np.concatenate(parts) for name, parts in known.items()}
    for by in ("sufficiency", "comprehensiveness"):
        groups = faithfulness_groups(joined[by], by)
        trends = accuracy_by_plausibility(joined["accuracy"], joined["plausibility"], groups)
        shown = ", ".join(
            f"{name} {trend.slope:.2f} ± {trend.slope_error:.2f} ({trend.points} points)"
            for name, trend in trends.items()
        )
        holds = trends["best"].slope > max(trends["middle"].slope, trends["worst"].slope) and trends["best"].slope > 0
        table.state(
            f"plausibility tells accuracy most where explanations are faithful ({by})", holds, f"slopes {shown}"
        )


def choose_weights(output: Path, seeds: list[int]) -> None:
    """Dev accuracy by weight, and the size of the aligned map: where it explodes, training runs away."""
    for seed in seeds:
        splits = demo.load(seed, OPTIONS.num_boxes)
        trainer = demo.train(splits, recipes.task_only(), seed, OPTIONS)
        print(f"seed {seed} unguided: dev {100 * demo.accuracy(trainer, splits['dev']):.1f}", flush=True)
        for name in SOUGHT:
            method = METHODS[name][0]
            for weight in WEIGHTS[:1] if "through" in name else WEIGHTS:
                trainer = demo.train(splits, align(method, weight), seed, OPTIONS)
                scores = scores_of(trainer, splits["dev"], method)
                shown = f"dev {100 * demo.accuracy(trainer, splits['dev']):.1f}"
                shown += f", plausibility of the map {100 * float(np.nanmean(scores['plausibility'])):.1f}"
                print(
                    f"seed {seed} {name} {weight}: {shown}, mean size {np.abs(scores['attribution']).mean():.3g}",
                    flush=True,
                )
