"""What guidance of question answering costs, against the naive scheme and against a plain step; medians of ratios.

Naive: every view and every sample is an edited copy whose question is encoded and whose boxes are projected anew. Train mode,
36 boxes of 2048 numbers; UpDn at the paper's size, LXMERT half as wide and a third as deep; every row annotated.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from question_setting import MODELS, QuestionSetting
from step_ratio import Alternation, ratio


def rows_of(setting: QuestionSetting, alternate: Alternation) -> list[dict[str, Any]]:
    """Leave-one-out and the VisFIS step, each with its naive form beside it, and the plain step."""
    visfis = {"plain": setting.plain, "guided": setting.guided, "naive": setting.naive_guided}
    seconds = alternate(visfis)
    rows = [
        {"what": "VisFIS step / plain step", "ratio": ratio(seconds, "guided")},
        {"what": "naive VisFIS step / VisFIS step", "ratio": ratio(seconds, "naive", "guided")},
    ]
    samples = alternate({"ours": setting.leave_one_out, "naive": setting.naive_leave_one_out}, share=0.5)
    rows.append({"what": "naive leave-one-out / leave-one-out", "ratio": ratio(samples, "naive", "ours")})
    return [{"model": setting.name, **row} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="few repeats, few boxes: does it run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a model for the VisFIS step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("runs/bench/question_step.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    batch, objects, rounds = (2, 6, 1) if args.quick else (args.batch, 36, args.rounds)
    alternate = Alternation(rounds, args.device, time.perf_counter, args.limit)
    rows = []
    for name in args.models:
        rows += rows_of(QuestionSetting(name, batch, args.device, objects), alternate)
    for row in rows:
        print(f"{row['model']:8s}{row['what']:40s}{row['ratio']:6.2f}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    conditions = {"batch": batch, "objects": objects, "threads": args.threads, "device": args.device}
    args.out.write_text(json.dumps({"conditions": conditions, "rows": rows}, indent=2) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
