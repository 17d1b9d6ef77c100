"""Guidance at every k-th step only: what k steps cost over k plain ones, and with --effect what that does to make demo.

Cost: Energy of InputXGradient at the input, every row annotated; a cycle is one guided step and k - 1 plain ones by the way of
GuidedTrainer. Effect: the demo's task, model and weight, `guide_every=k`; accuracy, the worst group's and EPG of the test set,
where the background tells nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from setting import MODELS, Setting
from step_ratio import Alternation, ratio

ROOT = Path(__file__).resolve().parents[2]
EVERY = (1, 2, 4)
MEASURES = ("accuracy", "worst_group_accuracy", "epg")


def cost_row(setting: Setting, alternate: Alternation) -> dict[str, Any]:
    """Time of k steps over that of k plain ones, by k."""
    found = {}
    for every in EVERY:
        steps = {"plain": lambda every=every: repeat(setting.plain, every), "cycle": lambda e=every: cycle(setting, e)}
        found[str(every)] = ratio(alternate(steps, share=1 / len(EVERY)), "cycle")
    return {"model": setting.name, "ratio": found}


def cycle(setting: Setting, every: int) -> None:
    """One guided step, then plain ones as the trainer takes them."""
    setting.guided("input")
    repeat(lambda: setting.guided("input", annotated=False), every - 1)


def repeat(step: Any, count: int) -> None:
    for _ in range(count):
        step()


def effect_rows(seeds: int) -> list[dict[str, Any]]:
    """The demo's measures without guidance and by k: means and deviations over seeds."""
    arms: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        for name, measures in effect_of(seed).items():
            arms.setdefault(name, []).append(measures)
    rows = []
    for name, runs in arms.items():
        values = {measure: [run[measure] for run in runs] for measure in MEASURES}
        rows.append({"arm": name} | {m: (float(np.mean(v)), float(np.std(v))) for m, v in values.items()})
    return rows


def effect_of(seed: int) -> dict[str, dict[str, float]]:
    """The measures of one seed, by arm."""
    sys.path.insert(0, str(ROOT / "examples"))
    import demo
    from transformers import set_seed

    from hf_guidance import Guidance, GuidanceCollator, Term, with_annotated_fraction
    from hf_guidance.attributions import GradCAM
    from hf_guidance.objectives import Energy

    given = demo.DemoArguments()
    set_seed(seed)
    start = demo.learn_digits(seed, given.pretrain_epochs)
    biased = demo.load(correlation=1.0, seed=seed)
    rows = with_annotated_fraction(biased["train"], given.fraction, seed)
    collator = GuidanceCollator(demo.image_processor(), num_labels=2, source="boxes")
    guidance = Guidance(energy=Term(Energy(GradCAM(layer="final")), given.weight, reduction="rows"))
    found = {}
    for name, terms, every in [("unguided", Guidance(), 1), *((f"k = {k}", guidance, k) for k in EVERY)]:
        set_seed(seed)
        model = demo.build_model(biased)
        model.load_state_dict(start, strict=False)
        trainer = demo.train(
            model, rows, terms, collator, seed=seed, learning_rate=1e-4, num_train_epochs=given.epochs,
            lr_scheduler_type="constant", guide_every=every,
        )  # fmt: skip
        found[name] = demo.measure(trainer, biased["test"])[0]
        print(f"seed {seed} {name}: { {m: round(found[name][m], 3) for m in MEASURES} }", file=sys.stderr, flush=True)
    return found


def table(costs: list[dict[str, Any]], effects: list[dict[str, Any]]) -> str:
    """Both tables as Markdown."""
    lines = ["| model | " + " | ".join(f"k = {k}" for k in EVERY) + " |", "|---" * (1 + len(EVERY)) + "|"]
    lines += [f"| {r['model']} | " + " | ".join(f"{r['ratio'][str(k)]:.2f}" for k in EVERY) + " |" for r in costs]
    if effects:
        lines += ["", "| demo | " + " | ".join(MEASURES) + " |", "|---" * (1 + len(MEASURES)) + "|"]
        for row in effects:
            lines.append(f"| {row['arm']} | " + " | ".join("{:.3f} ± {:.3f}".format(*row[m]) for m in MEASURES) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="few repeats, small batch: does it run")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", default="wall", choices=("wall", "cpu"), help="cpu: on a busy machine")
    parser.add_argument("--models", nargs="*", default=["vit-tiny", "convnext-atto"], choices=list(MODELS))
    parser.add_argument(
        "--effect", type=int, default=0, metavar="SEEDS", help="the demo by k as well, three minutes a seed"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench" / "guide_every.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    batch, size, rounds = (4, 64, 2) if args.quick else (16, 112, 3 * args.rounds)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    alternate = Alternation(rounds, args.device, clock, limit=120.0)
    costs = [cost_row(Setting(name, batch, size, args.device), alternate) for name in args.models]
    effects = effect_rows(args.effect)
    print(table(costs, effects))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"cost": costs, "effect": effects}, indent=2) + "\n")


if __name__ == "__main__":
    main()
