"""What guidance through attention costs by the number of tokens: memory and time of a step, and of attention alone.

The step is that of step_ratio.py at the input, ViT-tiny, one image. Plain is the model with torch's fused attention; guided
goes through fused attention with second derivatives, or through the eager implementation, whose matrices have an entry for
each pair of tokens. Attention alone is a forward, the gradient at the queries, keys and values, and the backward of both.
Both ways have equal losses and gradients (test_attention_steps_agree.py).
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
from setting import Setting
from step_ratio import Alternation, peak_bytes, ratio
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from hf_guidance.second_order.attention import fused_attention

SIZES = {197: (224, 224), 785: (448, 448), 1569: (448, 896)}
ALONE = (197, 785, 1569, 4096)
HEADS, DIMS = 3, 64
MIB = 1 << 20


class AttentionSetting(Setting):
    """ViT-tiny with one image, under each implementation of its attention."""

    def __init__(self, size: int | tuple[int, int], device: str = "cpu") -> None:
        super().__init__("vit-tiny", 1, size, device)
        self.fused: str = self.model.config._attn_implementation

    def under(self, implementation: str, step: Callable[[], None]) -> None:
        """A step with another implementation."""
        self.model.set_attn_implementation(implementation)
        step()

    def steps(self) -> dict[str, Callable[[], None]]:
        """The steps to compare."""
        return {
            "plain": lambda: self.under("sdpa", self.plain),
            "guided": lambda: self.under(self.fused, lambda: self.guided("input")),
            "eager": lambda: self.under("eager", lambda: self.guided("input")),
        }


class Alone:
    """Attention of one image without a model around it."""

    def __init__(self, tokens: int, device: str = "cpu") -> None:
        torch.manual_seed(0)
        self.inputs = [torch.randn(1, HEADS, tokens, DIMS, device=device, requires_grad=True) for _ in range(3)]

    def step(self, attend: Callable[..., Tensor]) -> None:
        """Forward, gradients, and the backward of both."""
        output = attend(*self.inputs)
        gradients = torch.autograd.grad(output.square().sum(), self.inputs, create_graph=True)
        (output.sum() + sum(g.square().sum() for g in gradients)).backward()

    def steps(self) -> dict[str, Callable[[], None]]:
        """Fused, and of whole matrices."""
        return {"fused": lambda: self.step(fused_attention), "whole": lambda: self.step(whole_attention)}

    def drop_gradients(self) -> None:
        """As zero_grad of a model."""
        for tensor in self.inputs:
            tensor.grad = None


def whole_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """torch's MATH backend."""
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(q, k, v)


def step_row(tokens: int, alternate: Alternation, device: str) -> dict[str, Any]:
    """Memory and time of the steps of a model at a number of tokens."""
    setting = AttentionSetting(SIZES[tokens], device)
    seconds = alternate(setting.steps())
    peaks = {name: peak_bytes(step, setting.model.zero_grad, device) for name, step in setting.steps().items()}
    row: dict[str, Any] = {"tokens": tokens, "plain_mib": peaks["plain"] / MIB}
    for name in ("guided", "eager"):
        row |= {f"{name}_memory": peaks[name] / peaks["plain"], f"{name}_time": ratio(seconds, name)}
    row["guided_of_eager"] = ratio(seconds, "guided", "eager")
    return row | {"seconds_plain": statistics.median(seconds["plain"])}


def alone_row(tokens: int, alternate: Alternation, device: str) -> dict[str, Any]:
    """Memory and time of attention alone."""
    alone = Alone(tokens, device)
    seconds = alternate(alone.steps(), share=0.5)
    peaks = {name: peak_bytes(step, alone.drop_gradients, device) for name, step in alone.steps().items()}
    row: dict[str, Any] = {"tokens": tokens, "time_ratio": ratio(seconds, "fused", "whole")}
    return row | {f"{name}_mib": peak / MIB for name, peak in peaks.items()}


def table(rows: list[dict[str, Any]], alone: list[dict[str, Any]]) -> str:
    """Both tables as text."""
    lines = [f"{'guided step at the input':26s}{'fused':>22s}{'eager':>22s}"]
    both = f"{'memory':>11s}{'time':>11s}" * 2
    lines.append(f"{'tokens':>8s}{'plain MiB':>12s}{'':6s}{both}{'time fused/eager':>18s}")
    for row in rows:
        numbers = [row[f"{name}_{what}"] for name in ("guided", "eager") for what in ("memory", "time")]
        lines.append(
            f"{row['tokens']:8d}{row['plain_mib']:12.0f}{'':6s}"
            + "".join(f"{n:11.2f}" for n in numbers)
            + f"{row['guided_of_eager']:18.2f}"
        )
    lines.append(f"{'attention alone, tokens':26s}{'fused MiB':>11s}{'whole MiB':>11s}{'time fused/whole':>18s}")
    lines += [
        f"{row['tokens']:26d}{row['fused_mib']:11.1f}{row['whole_mib']:11.1f}{row['time_ratio']:18.2f}" for row in alone
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="few repeats, few tokens: does it run")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a number of tokens")
    parser.add_argument("--clock", default="wall", choices=("wall", "cpu"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/attention_step.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    alternate = Alternation(2 if args.quick else args.rounds, args.device, clock, args.limit)
    rows, alone = [], []
    for tokens in [197] if args.quick else SIZES:
        print(f"{tokens} tokens ...", file=sys.stderr, flush=True)
        rows.append(step_row(tokens, alternate, args.device))
    for tokens in [197] if args.quick else ALONE:
        alone.append(alone_row(tokens, alternate, args.device))
    print(table(rows, alone))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    conditions = {"batch": 1, "threads": args.threads, "device": args.device, "clock": args.clock}
    args.out.write_text(json.dumps({"conditions": conditions, "rows": rows, "alone": alone}, indent=2) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
