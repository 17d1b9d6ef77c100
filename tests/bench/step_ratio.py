"""What guidance costs: guided step / plain step, alternating in one process, medians; and the peak memory.

A step is zero_grad, forward, loss, backward, on a fixed batch; no optimizer step (it is the same for both). The plain
step is the model's forward and cross-entropy; the guided one goes the way of GuidedTrainer: Forward, Guidance.
Energy of InputXGradient with every row annotated, BatchNorm with fixed statistics, random weights.

Memory on CPU: bytes of live tensor storage, followed through torch.profiler's allocation events; the peak above what was
alive before the step. On a GPU: torch.cuda.max_memory_allocated, the same way.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from operations import operation_rows, operation_table
from rows import by_image_row, evaluation_row, table, unannotated_row
from setting import LAYERS, MODELS, Setting, autograd_only
from torch.profiler import ProfilerActivity, profile

Step = Callable[[], None]


class Alternation:
    """Times steps in rounds of one run each, so that what else the machine does meets all alike.

    Args:
        rounds: Rounds at most, after one that warms up.
        device: "cpu" or "cuda".
        clock: Seconds: of the wall, or of this process's threads together.
        limit: Seconds after which no further round starts, when there are three.
    """

    def __init__(self, rounds: int, device: str, clock: Callable[[], float], limit: float) -> None:
        self.rounds, self.device, self.clock, self.limit = rounds, device, clock, limit

    def __call__(self, steps: dict[str, Step], share: float = 1.0) -> dict[str, list[float]]:
        """Seconds of every step; ``share`` scales rounds and limit."""
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        began = time.perf_counter()
        for round_ in range(max(1, round(share * self.rounds)) + 1):
            if round_ > 3 and time.perf_counter() - began > share * self.limit:
                break
            for name, step in steps.items():
                _wait(self.device)
                start = self.clock()
                step()
                _wait(self.device)
                if round_:
                    seconds[name].append(self.clock() - start)
        return seconds


def ratio(seconds: dict[str, list[float]], name: str, base: str = "plain") -> float:
    """Median over the rounds of the quotient within a round."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[base], strict=True))


def peak_bytes(step: Step, drop_gradients: Step, device: str) -> int:
    """Largest number of bytes alive during a step above those alive before, the gradients of the last one dropped."""
    step()
    drop_gradients()
    if device == "cuda":
        _wait(device)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return int(torch.cuda.max_memory_allocated() - before)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its start-up messages would tear the table apart
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    return peak_of(recorded)


def peak_of(recorded: Any) -> int:
    """Running sum of the allocator's events in order of time."""
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


def layer_rows(setting: Setting, alternate: Alternation) -> list[dict[str, Any]]:
    """Guided / plain at every layer; at the input also with autograd's own double backward."""
    steps: dict[str, Step] = {"plain": setting.plain}
    for layer in LAYERS:
        steps[layer] = lambda layer=layer: setting.guided(layer)
    steps["autograd"] = lambda: autograd_only(lambda: setting.guided("input"))
    seconds = alternate(steps)
    peaks = {name: peak_bytes(step, setting.model.zero_grad, setting.device) for name, step in steps.items()}
    rows = []
    for layer in LAYERS:
        row = {"model": setting.name, "layer": layer, "ratio": ratio(seconds, layer)}
        row["fastest_ratio"] = min(seconds[layer]) / min(seconds["plain"])
        row["peak_memory_ratio"] = peaks[layer] / peaks["plain"]
        row["seconds_plain"] = statistics.median(seconds["plain"])
        if layer == "input":
            row["autograd_ratio"] = ratio(seconds, "autograd")
            row["autograd_peak_memory_ratio"] = peaks["autograd"] / peaks["plain"]
        rows.append(row)
    return rows


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def write_record(args: argparse.Namespace, batch: int, size: int, **found: Any) -> None:
    """Write what was found to ``args.out``, with the conditions."""
    args.out.parent.mkdir(parents=True, exist_ok=True)
    conditions = {"batch": batch, "size": size, "threads": args.threads, "device": args.device, "clock": args.clock}
    args.out.write_text(json.dumps({"conditions": conditions, **found}, indent=2) + "\n")
    print(f"wrote {args.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="few repeats, small batch: does it run")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--limit", type=float, default=40.0, help="seconds a model for the table by layers")
    parser.add_argument(
        "--clock", default="wall", choices=("wall", "cpu"), help="cpu: with --threads 1 on a busy machine"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("runs/bench/step_ratio.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    batch, size, rounds = (4, 64, 2) if args.quick else (16, 112, args.rounds)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    alternate = Alternation(rounds, args.device, clock, args.limit)
    rows, others, operations = [], [], []
    for name in args.models:
        print(f"{name} ...", file=sys.stderr, flush=True)
        setting = Setting(name, batch, size, args.device)
        rows += layer_rows(setting, alternate)
        others.append(unannotated_row(setting, alternate, ratio))
        others.append(by_image_row(setting, alternate, ratio))
        others.append(evaluation_row(setting, alternate))
        operations += operation_rows(setting)
    print(table(rows, others))
    print(operation_table(operations))
    write_record(args, batch, size, rows=rows, other_rows=others, operations=operations)


if __name__ == "__main__":
    main()
