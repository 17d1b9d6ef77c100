"""What compiled double backwards of GELU and LayerNorm win: of a guided step at the input, and of the operations alone.

The steps are those of step_ratio.py: plain, guided, and guided inside fused_kernels(). Alone, the double backward of each
operation at the shapes of a model is timed on PyTorch's own kernels and compiled, beside one first backward.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from setting import Setting
from step_ratio import Alternation, peak_bytes, ratio, write_record
from torch.nn import functional as F

from hf_guidance.second_order import compiling, fast_double_backward, first_derivative, fused_kernels

MODELS = ("vit-tiny", "convnext-atto")
Step = Callable[[], None]


def fused(step: Step) -> Step:
    """A step with fused kernels."""

    def run() -> None:
        with fused_kernels():
            step()

    return run


class Alone:
    """The double backward of one operation, again and again on one graph."""

    def __init__(self, name: str, shape: tuple[int, ...], device: str) -> None:
        torch.manual_seed(0)
        self.name, self.shape = name, shape
        self.x = torch.randn(shape, device=device, requires_grad=True)
        self.dy = torch.randn(shape, device=device, requires_grad=True)
        self.u = torch.randn(shape, device=device)
        self.weight = torch.ones(shape[-1], device=device, requires_grad=True)
        self.bias = torch.zeros(shape[-1], device=device, requires_grad=True)

    def _operation(self) -> torch.Tensor:
        if self.name == "GELU":
            return F.gelu(self.x)
        return F.layer_norm(self.x, self.shape[-1:], self.weight, self.bias)

    def second(self) -> Step:
        """The step that runs the double backward."""
        with fast_double_backward():
            y = self._operation()
        with first_derivative():
            (dx,) = torch.autograd.grad(y, self.x, self.dy, create_graph=True)
        wanted = [self.dy, self.x] if self.name == "GELU" else [self.dy, self.x, self.weight]
        return lambda: torch.autograd.grad(dx, wanted, self.u, retain_graph=True) and None

    def first(self) -> Step:
        """The step that runs a first backward, at the input alone."""
        y = self._operation()
        return lambda: torch.autograd.grad(y, self.x, self.u, retain_graph=True) and None

    def steps(self) -> dict[str, Step]:
        """All three."""
        with fused_kernels():
            compiled = self.second()
        return {"own": self.second(), "fused": compiled, "first": self.first()}


def shapes_of(name: str, batch: int, size: int) -> list[tuple[str, tuple[int, ...]]]:
    """The largest operations of a model."""
    if name == "vit-tiny":
        tokens = (size // 16) ** 2 + 1
        return [("GELU", (batch, tokens, 768)), ("LayerNorm", (batch, tokens, 192))]
    side = size // 4
    return [("GELU", (batch, side, side, 160)), ("LayerNorm", (batch, side, side, 40))]


def step_row(setting: Setting, alternate: Alternation) -> dict[str, Any]:
    """Ratios to the plain step, of time and memory."""
    steps = {"plain": setting.plain, "guided": lambda: setting.guided("input")}
    steps["fused"] = fused(steps["guided"])
    steps["fused"]()  # compiles
    seconds = alternate(steps)
    peaks = {name: peak_bytes(step, setting.model.zero_grad, setting.device) for name, step in steps.items()}
    row: dict[str, Any] = {"model": setting.name}
    for name in ("guided", "fused"):
        row |= {name: ratio(seconds, name), f"{name}_fastest": min(seconds[name]) / min(seconds["plain"])}
        row[f"{name}_memory"] = peaks[name] / peaks["plain"]
    return row | {"fused_of_guided": ratio(seconds, "fused", "guided")}


def alone_row(model: str, alone: Alone, alternate: Alternation) -> dict[str, Any]:
    """Milliseconds of the double backward, both ways, and of a first backward."""
    seconds = alternate(alone.steps(), share=5.0)
    found = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    return {"model": model, "operation": alone.name, "shape": alone.shape, **found}


def table(rows: list[dict[str, Any]], alone: list[dict[str, Any]], compiling_took: float) -> str:
    """Both tables as text."""
    heads = "".join(
        f"{word:>10s}" for word in ("guided", "(fastest)", "memory", "fused", "(fastest)", "memory", "fused/g.")
    )
    lines = [f"{'guided / plain, input':22s}{heads}"]
    columns = [f"{way}{what}" for way in ("guided", "fused") for what in ("", "_fastest", "_memory")]
    for row in rows:
        numbers = "".join(f"{row[name]:10.2f}" for name in (*columns, "fused_of_guided"))
        lines.append(f"{row['model']:22s}{numbers}")
    lines.append(f"{'double backward, ms':44s}{'own':>8s}{'fused':>8s}{'first backward':>16s}")
    for row in alone:
        shape = "x".join(map(str, row["shape"]))
        name = f"{row['model']} {row['operation']} {shape}"
        lines.append(f"{name:44s}{row['own']:8.2f}{row['fused']:8.2f}{row['first']:16.2f}")
    lines.append(f"compiling both took {compiling_took:.0f} s")
    return "\n".join(lines)


def compiling_seconds(device: str) -> float:
    """Seconds until both kernels are there."""
    began = time.perf_counter()
    with fused_kernels():
        for name in ("GELU", "LayerNorm"):
            Alone(name, (4, 8), device).second()()
    if compiling._state.failed:
        sys.exit(f"nothing was compiled: {compiling._state.failed}")
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="few repeats, small batch: does it run")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a model")
    parser.add_argument("--clock", default="wall", choices=("wall", "cpu"), help="cpu: on a busy machine")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("runs/bench/fused_kernels.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    batch, size, rounds = (4, 64, 2) if args.quick else (16, 112, args.rounds)
    alternate = Alternation(rounds, args.device, clock, args.limit)
    took, rows, alone = compiling_seconds(args.device), [], []
    for name in args.models:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows.append(step_row(Setting(name, batch, size, args.device), alternate))
        for operation, shape in shapes_of(name, batch, size):
            alone.append(alone_row(name, Alone(operation, shape, args.device), alternate))
    print(table(rows, alone, took))
    write_record(args, batch, size, rows=rows, alone=alone, compiling_seconds=took)


if __name__ == "__main__":
    main()
