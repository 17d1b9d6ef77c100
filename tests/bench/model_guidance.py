"""Guidance of ResNet-50-shaped nets: the library beside one autograd call an image, and guided beside plain.

All ways alternate in one process; ratios are medians over the rounds, in brackets the ratio of the fastest steps, which the
machine's other work disturbs least. "attribution + loss" is the time between the end of the model's forward and the start of
the last backward; "step" is all of it but the optimizer. The way by image takes long, so it runs for some of the images, and
their time is multiplied; the table says for how many. Before anything is timed, both ways must give equal maps and losses. In
train mode BatchNorm takes the batch's statistics, as in training; X-DNNs have none.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from naive_guidance import MODELS, Setting

LAYERS = {"final": 1.0, "mid2": 1 / 16, "input": 1 / 32}
"""Layers, and the share of the images that the way by image runs there."""
MODES = {"eval": False, "train": True}
Step = Callable[[], dict[str, float]]
Part = dict[str, list[float]]


def alternating(steps: dict[str, Step], rounds: int) -> dict[str, Part]:
    """Seconds of the parts of every step, in rounds of one run each."""
    found: dict[str, Part] = {name: {} for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            for part, seconds in step().items():
                found[name].setdefault(part, []).append(seconds)
    return found


def ratio(first: list[float], second: list[float]) -> float:
    """Median of the quotient within a round."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def measured(setting: Setting, rounds: int) -> list[dict[str, Any]]:
    """A row a layer: how many times faster than by image, and guided / plain in either mode."""
    maps = {layer: setting.agree(layer) for layer in LAYERS}
    steps: dict[str, Step] = {}
    for mode, train in MODES.items():
        setting.plain(train)  # warms up
        steps[f"plain {mode}"] = lambda train=train: setting.plain(train)
        for layer in LAYERS:
            steps[f"{layer} {mode}"] = lambda layer=layer, train=train: setting.guided(layer, train)
    counts = {layer: max(1, round(share * len(setting.images))) for layer, share in LAYERS.items()}
    for layer, count in counts.items():
        steps[f"{layer} by image"] = lambda layer=layer, count=count: setting.guided_by_image(layer, count)
    found = alternating(steps, rounds)
    rows = []
    for layer, count in counts.items():
        ours, naive = found[f"{layer} eval"], found[f"{layer} by image"]
        rows.append({
            "model": setting.name, "layer": layer, "map": list(maps[layer]), "images": len(setting.images),
            "images_run_by_image": count,
            **{f"{part}_faster": ratio(naive[part], ours[part]) for part in ("attribution", "step")},
            **{f"guided_plain_{mode}": ratio(found[f"{layer} {mode}"]["step"], found[f"plain {mode}"]["step"])
               for mode in MODES},
            **{f"guided_plain_{mode}_fastest": min(found[f"{layer} {mode}"]["step"]) / min(found[f"plain {mode}"]["step"])
               for mode in MODES},
            "seconds_plain": statistics.median(found["plain eval"]["step"]),
            "seconds_attribution": statistics.median(ours["attribution"]),
        })  # fmt: skip
    return rows


def evaluated(setting: Setting, rounds: int) -> list[dict[str, Any]]:
    """A row a layer: maps of all (image, positive class) pairs, against one call a pair on batches of four.

    "forward_faster" is the bound that no way of explaining can pass: how much less a forward alone takes than that.
    """
    rows = []
    for layer in LAYERS:
        steps: dict[str, Step] = {
            "ours": lambda layer=layer: setting.evaluate(layer),
            "by pair": lambda layer=layer: setting.evaluate_by_pair(layer),
            "forward": setting.forward,
        }
        found = {name: parts["step"] for name, parts in alternating(steps, rounds).items()}
        row = {"model": setting.name, "layer": layer, "pairs": len(setting.pairs)}
        row |= {"faster": ratio(found["by pair"], found["ours"])}
        rows.append(row | {"forward_faster": ratio(found["by pair"], found["forward"])})
    return rows


def table(rows: list[dict[str, Any]], evaluations: list[dict[str, Any]]) -> str:
    """All results as text."""
    ratios = "".join(f"{f'guided/plain {mode}':>19s} (fastest)" for mode in MODES)
    lines = [f"{'model':9s} {'layer':6s} {'map':>9s} {'attribution + loss':>19s} {'step':>8s}{ratios}  run by image"]
    for row in rows:
        size = " x ".join(map(str, row["map"]))
        lines.append(
            f"{row['model']:9s} {row['layer']:6s} {size:>9s} {row['attribution_faster']:17.1f} x {row['step_faster']:6.1f} x "
            + "".join(f"{row[f'guided_plain_{m}']:18.2f} ({row[f'guided_plain_{m}_fastest']:7.2f})" for m in MODES)
            + f"  {row['images_run_by_image']} of {row['images']}"
        )
    lines.append("")
    for row in evaluations:
        lines.append(
            f"{row['model']:9s} {row['layer']:6s} evaluation of {row['pairs']} pairs {row['faster']:.1f} x faster, "
            f"the forward alone {row['forward_faster']:.1f} x"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="few rounds, small batch: does it run")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("runs/bench/model_guidance.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    batch, size, rounds = (8, args.size, 1) if args.quick else (args.batch, args.size, args.rounds)
    rows, evaluations, begin = [], [], time.time()
    for name in args.models:
        setting = Setting(name, batch, size, args.device)
        print(f"{name}: final map {' x '.join(map(str, setting.agree('final')))} ...", file=sys.stderr, flush=True)
        rows += measured(setting, rounds)
        evaluations += evaluated(setting, rounds)
    print(table(rows, evaluations))
    print(
        f"final map {' x '.join(map(str, rows[0]['map']))} at {size} x {size} pixels; {time.time() - begin:.0f} s in all"
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    conditions = {"batch": batch, "size": size, "threads": args.threads, "device": args.device, "rounds": rounds}
    args.out.write_text(
        json.dumps({"conditions": conditions, "rows": rows, "evaluation": evaluations}, indent=2) + "\n"
    )
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
