"""VisFIS's ablation of objectives (table 4), random supervision of one objective (table 12) and importance methods (table 10).

Formulas and weights are those of the released code, as in the demo; "visfis, paper's formulas" has those of the paper.
"""

from pathlib import Path
from typing import Any

import numpy as np
from studies.questions_common import COLUMNS, OPTIONS, PREDICTED, TASK, Table, demo, run_arm

from hf_guidance import Guidance, Term, recipes
from hf_guidance.analysis import PREDICTORS, accuracy_by_plausibility, faithfulness_groups, predict_ood
from hf_guidance.attributions import (
    AttentionWeights,
    Attribution,
    AverageEffect,
    ExpectedGradients,
    Gradient,
    KeepOneIn,
    KernelSHAP,
    LeaveOneOut,
)
from hf_guidance.objectives import Alignment
from hf_guidance.targets import SoftLabelLogits

TERMS = {"sufficiency": "Suff-Human", "uncertainty": "Unc", "alignment": "Align", "invariance_fi": "Inv-FI"}
GT = SoftLabelLogits()
METHODS: dict[str, Attribution] = {
    "Attention": AttentionWeights(),
    "VGrad-gt": Gradient(target=GT),
    "VGrad-pred": Gradient(target=PREDICTED),
    "ExpGrad-pred 1": ExpectedGradients(target=PREDICTED, variant="official"),
    "LOO-pred 12": LeaveOneOut(target=PREDICTED),
    "KOI-gt 12": KeepOneIn(target=GT),
    "SHAP-pred 15": KernelSHAP(target=PREDICTED, samples=15),
    "AvgEffect-pred 15": AverageEffect(target=PREDICTED, samples=15),
    "LOO-pred 1": LeaveOneOut(target=PREDICTED, budget=1),
    "KOI-gt 1": KeepOneIn(target=GT, budget=1),
    "SHAP-pred 2": KernelSHAP(target=PREDICTED, samples=2),
    "AvgEffect-pred 2": AverageEffect(target=PREDICTED, samples=2),
    "ExpGrad-pred 5": ExpectedGradients(target=PREDICTED, samples=5, variant="official"),
}
"""The number is that of boxes, samples or coalitions; without one the cost is fixed."""


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
    """Align alone, weight 1, on each method."""
    return {
        f"Align {name}": Guidance({**recipes.task_only(), "alignment": Term(Alignment(method))})
        for name, method in METHODS.items()
    }


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
    table.show((*COLUMNS, "sufficiency", "train_seconds"))


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
    aligned = {arm: table.mean(arm, "ood_accuracy") for arm in methods()}
    table.notes["Align, importance methods by OOD accuracy"] = ", ".join(
        f"{arm[6:]} {aligned[arm]:.1f}" for arm in sorted(aligned, key=lambda arm: -aligned[arm])
    )
    _over_models(table)
    _over_points(table)


def _over_models(table: Table) -> None:
    """Do metrics in distribution tell accuracy out of distribution (table 5), over all models trained here?"""
    runs = [run for runs in table.runs.values() for run in runs]
    names = {"accuracy": "id_accuracy"} | {
        name: name for used in PREDICTORS.values() for name in used if name != "accuracy"
    }
    metrics = {name: np.array([run[column] for run in runs]) for name, column in names.items()}
    ood = np.array([run["ood_accuracy"] for run in runs])
    found = predict_ood(metrics, ood, train_share=0.7, splits=2000)
    table.notes[f"correlation with OOD accuracy, {len(runs)} models, 30 % of them left out"] = ", ".join(
        f"{name} {value.test:.2f}" for name, value in found.items()
    )
    alone, best = found["ID accuracy"].test, max(found[name].test for name in ("RRR-Suff", "RRR-Inv", "RRR-Unc"))
    table.state(
        "ID accuracy tells more of OOD accuracy than any RRR metric", alone > best, f"{alone:.2f} against {best:.2f}"
    )
    value = float(np.corrcoef(metrics["plausibility"], ood)[0, 1])
    table.state("plausibility of a model tells little of its OOD accuracy (paper: 0.14)", value < 0.5, f"{value:.2f}")


def _over_points(table: Table) -> None:
    """Does plausibility tell accuracy of a question, where the explanation is faithful (figure 2)?"""
    files = sorted((table.file.parent / "points").glob("visfis-*.npz"))
    known: dict[str, Any] = {}
    for file in files:
        with np.load(file) as points:
            for name in points.files:
                known.setdefault(name, []).append(points[name])
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
