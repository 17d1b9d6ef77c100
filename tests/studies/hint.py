"""HINT's own studies: few annotations, attention aligned instead of gradients, and which of both tells what occlusion does.

The protocol is the demo's, from scratch; the loss of HINT counts annotated questions only and is divided by all of a batch.
ATTENTION was chosen like the demo's weights, on the dev split of seed 100 (``--first_seed 100 --study hint_weights``).
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from studies.common import with_annotated
from studies.questions_common import OPTIONS, PREDICTED, Table, demo, judged, run_arm, scores_of

from hf_guidance import Guidance, Term, annotated_indices, recipes
from hf_guidance.attributions import AttentionWeights, Gradient, InputXGradient, LeaveOneOut
from hf_guidance.objectives import RankingHINT
from hf_guidance.views import zeros

SHARES = {"1.5 %": 0.015, "3 %": 0.03, "6 %": 0.06, "100 %": 1.0}
ATTENTION = 0.01
COLUMNS = ("id_accuracy", "ood_accuracy", "rrr_suff", "plausibility", "plausible_grad", "plausible_attn",
           "loo_attention", "loo_gradient", "loo_inputxgrad", "size_attention", "size_gradient")  # fmt: skip


def attention(weight: float) -> Guidance:
    """Attn. Align: HINT's loss as the demo has it, on attention; a weight of its own, for attention has another scale."""
    return Guidance({**recipes.task_only(), "hint": Term(RankingHINT(AttentionWeights(), variant="official"), weight)})


def arms() -> dict[str, Guidance]:
    guided = demo.guidances(OPTIONS)
    found = {"unguided": guided["unguided"]} | {f"hint {share}": guided["hint"] for share in SHARES}
    found |= {f"attention {share}": attention(ATTENTION) for share in ("6 %", "100 %")}
    # So few questions hardly count in the mean over a batch; here the mean is over the annotated.
    by_row = replace(guided["hint"]["hint"], reduction="rows")
    return found | {f"hint {share} by row": Guidance({**guided["hint"], "hint": by_row}) for share in ("1.5 %", "6 %")}


def occlusion(trainer: Any, splits: Any) -> dict[str, float]:
    """Spearman's correlation of occlusion with attention and with gradients, the mean over test_id, in percent; boxes become 0.

    "loo_inputxgrad" has the gradient times the features, "size_" the magnitudes of both sides: features of shapes_vqa have
    mean zero, so the plain sum of a box's gradient has no sign to go by. Questions with a constant vector do not count.
    """
    methods = {
        "attention": AttentionWeights(),
        "gradient": Gradient(target=PREDICTED),
        "inputxgrad": InputXGradient(layer="input", target=PREDICTED),
        "loo": LeaveOneOut(target=PREDICTED, replace=zeros),
    }
    found = {name: scores_of(trainer, splits["test_id"], method) for name, method in methods.items()}
    maps = {name: scores["attribution"] for name, scores in found.items()}
    loo = maps.pop("loo")
    values = {f"loo_{name}": _correlation(loo, other) for name, other in maps.items()}
    values |= {f"size_{name}": _correlation(np.abs(loo), np.abs(other)) for name, other in maps.items()}
    return values | {"plausible_attn": 100 * float(np.nanmean(found["attention"]["plausibility"]))}


def _correlation(first: Any, second: Any) -> float:
    pairs = [pair for pair in zip(first, second, strict=True) if np.ptp(pair[0]) > 0 and np.ptp(pair[1]) > 0]
    return 100 * float(np.mean([spearmanr(*pair).statistic for pair in pairs]))


def run(output: Path, seeds: list[int]) -> None:
    table = Table("hint", output, arms())
    for seed in seeds:
        splits = demo.load(seed, OPTIONS.num_boxes)
        for arm, guidance in arms().items():
            share = next((value for name, value in SHARES.items() if f" {name}" in arm), 1.0)
            chosen = annotated_indices(len(splits["train"]), share, seed)
            some = splits | {"train": with_annotated(splits["train"], chosen)}
            run_arm(table, arm, guidance, some, seed, occlusion)
    for share in SHARES:
        table.compare(f"HINT on {share} of the questions beats no guidance", (f"hint {share}", "unguided"))
    for share in ("6 %", "100 %"):
        table.compare(f"HINT beats Attn. Align, {share}", (f"hint {share}", f"attention {share}"))
    table.compare("Attn. Align hardly helps, 6 % (under 1 point)", ("unguided", "attention 6 %"), above=-1)
    for arm in ("unguided", "hint 100 %"):
        for kind, text in (("loo", ""), ("size", ", magnitudes")):
            pairs = [(run[f"{kind}_gradient"], run[f"{kind}_attention"]) for run in table.runs[arm]]
            holds, noise = judged([gradient - weights for gradient, weights in pairs])
            gradient, weights = np.mean(pairs, axis=0)
            shown = f"{gradient:.1f} against {weights:.1f}, noise {noise:.1f} (paper: 48 against 10)"
            table.state(f"gradients follow occlusion more than attention, {arm}{text}", holds, shown)
    table.show(COLUMNS)


def choose_weights(output: Path, seeds: list[int]) -> None:
    """Dev accuracy of weights for attention, of a seed that the study does not use."""
    for seed in seeds:
        splits = demo.load(seed, OPTIONS.num_boxes)
        for weight in (0.01, 0.1, 1.0):
            trainer = demo.train(splits, attention(weight), seed, OPTIONS)
            print(f"seed {seed} attention {weight}: dev {100 * demo.accuracy(trainer, splits['dev']):.1f}", flush=True)
