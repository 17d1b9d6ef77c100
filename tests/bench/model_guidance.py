"""Guidance of ResNet-50-shaped nets: the library beside one autograd call an image, and guided beside plain.

All ways alternate in one process; ratios are medians over the rounds. "attribution + loss" is the time between the end of
the model's forward and the start of the last backward; "step" is all of it but the optimizer. Where a graph for every
image would not fit into memory, some images are run and their time is multiplied; the table says how many were.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from naive_guidance import MODELS, Setting

LAYERS = {"final": 1.0, "mid2": 0.25, "input": 0.125}
"""Layers, and the share of the images that the way by image runs there."""
Part = dict[str, list[float]]


def alternating(steps: dict[str, Callable[[], dict[str, float]]], rounds: int) -> dict[str, Part]:
    """Seconds of the parts of every step, in rounds of one run each after one that warms up."""
    found: dict[str, Part] = {name: {} for name in steps}
    for round_ in range(rounds + 1):
        for name, step in steps.items():
            for part, seconds in step().items():
                found[name].setdefault(part, []).extend([seconds] if round_ else [])
    return found


def ratio(first: list[float], second: list[float]) -> float:
    """Median of the quotient within a round."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def measured(setting: Setting, rounds: int) -> list[dict[str, Any]]:
    """A row a layer: how many times faster than by image, and guided / plain."""
    rows = []
    for layer, share in LAYERS.items():
        count = max(1, round(share * len(setting.images)))
        steps = {
            "plain": setting.plain,
            "guided": lambda layer=layer: setting.guided(layer),
            "naive": lambda layer=layer, count=count: setting.guided_by_image(layer, count),
        }
        found = alternating(steps, rounds)
        print(f"{setting.name} {layer} ...", file=sys.stderr, flush=True)
        rows.append({
            "model": setting.name, "layer": layer, "images": len(setting.images), "images_run_by_image": count,
            "attribution_faster": ratio(found["naive"]["attribution"], found["guided"]["attribution"]),
            "step_faster": ratio(found["naive"]["step"], found["guided"]["step"]),
            "guided_plain": ratio(found["guided"]["step"], found["plain"]["step"]),
            "seconds_plain": statistics.median(found["plain"]["step"]),
            "seconds_attribution": statistics.median(found["guided"]["attribution"]),
        })  # fmt: skip
    return rows


def evaluated(setting: Setting, rounds: int) -> list[dict[str, Any]]:
    """A row a layer: maps of all (image, positive class) pairs, against one call a pair on batches of four."""
    rows = []
    for layer in LAYERS:
        steps = {
            "slots": lambda layer=layer: setting.evaluate(layer),
            "pairs": lambda layer=layer: setting.evaluate_by_pair(layer),
        }
        found = alternating(steps, rounds)
        faster = ratio(found["pairs"]["step"], found["slots"]["step"])
        rows.append({"model": setting.name, "layer": layer, "pairs": len(setting.pairs), "faster": faster})
    return rows


def table(rows: list[dict[str, Any]], evaluations: list[dict[str, Any]]) -> str:
    """All results as text."""
    lines = [f"{'model':9s} {'layer':6s} {'attribution + loss':>19s} {'step':>8s} {'guided/plain':>13s}  images run"]
    for row in rows:
        lines.append(
            f"{row['model']:9s} {row['layer']:6s} {row['attribution_faster']:17.1f} x {row['step_faster']:6.1f} x "
            f"{row['guided_plain']:13.2f}  {row['images_run_by_image']} of {row['images']}"
        )
    lines.append("")
    for row in evaluations:
        lines.append(
            f"{row['model']:9s} {row['layer']:6s} evaluation of {row['pairs']} pairs {row['faster']:.1f} x faster"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="few rounds, small batch: does it run")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("runs/bench/model_guidance.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    batch, size, rounds = (8, 32, 1) if args.quick else (args.batch, args.size, args.rounds)
    rows, evaluations = [], []
    for name in args.models:
        setting = Setting(name, batch, size, args.device)
        rows += measured(setting, rounds)
        evaluations += evaluated(setting, rounds)
    print(table(rows, evaluations))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    conditions = {"batch": batch, "size": size, "threads": args.threads, "device": args.device, "rounds": rounds}
    args.out.write_text(
        json.dumps({"conditions": conditions, "rows": rows, "evaluation": evaluations}, indent=2) + "\n"
    )
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
