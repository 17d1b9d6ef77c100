"""What compiling a guided step wins: compiled and eager guided steps over plain eager ones, and the seconds of compiling.

The step is that of step_ratio.py at one layer. The compiled one is what GuidedTrainer runs with torch_compile=True: its graph
computes the loss and all gradients. Compiling is timed on the wall, without a cache of earlier runs; it takes minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from setting import MODELS, Setting
from step_ratio import Alternation, peak_bytes, ratio
from torch import Tensor, nn
from torch._inductor.utils import fresh_inductor_cache

from hf_guidance.attributions import InputXGradient
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import Energy
from hf_guidance.training.compiled.graph import StepGraph
from hf_guidance.training.compiled.parts import StepParts
from hf_guidance.training.compiled.settings import CompileSettings


class CompiledSetting(Setting):
    """A model with the graph of its guided step."""

    def __init__(self, name: str, batch: int, size: int, device: str, layer: str, backend: str) -> None:
        super().__init__(name, batch, size, device)
        self.layer, self.parts = layer, StepParts(self.batch(), None, list(range(batch)))
        self.guidance = Guidance(energy=Energy(InputXGradient(layer)))
        self.guided(layer)  # finds layouts and heads
        began = time.perf_counter()
        self.graph = StepGraph(self.step, self.model, self.parts, CompileSettings(backend).compiler)
        self.compiled()  # the rest of compiling comes with the first call
        self.seconds = time.perf_counter() - began

    def step(self, model: nn.Module, parts: StepParts) -> tuple[Tensor, dict[str, Tensor]]:
        """What is compiled."""
        assert parts.annotated is not None
        return self.guidance(Forward(model, self.family, parts.annotated, self.guidance.needs()), None)

    def compiled(self) -> None:
        """A step by the graph."""
        self.model.zero_grad(set_to_none=True)
        loss, _ = self.graph(self.model, self.parts)
        loss.backward()


def row(setting: CompiledSetting, alternate: Alternation) -> dict[str, Any]:
    """Times and memory of one model."""
    steps = {
        "plain": setting.plain,
        "eager": lambda: setting.guided(setting.layer),
        "compiled": setting.compiled,
    }
    seconds = alternate(steps)
    peaks = {name: peak_bytes(step, setting.model.zero_grad, setting.device) for name, step in steps.items()}
    found: dict[str, Any] = {"model": setting.name, "layer": setting.layer, "seconds_compiling": setting.seconds}
    for name in ("eager", "compiled"):
        found |= {f"{name}_ratio": ratio(seconds, name), f"{name}_memory": peaks[name] / peaks["plain"]}
    return found | {"seconds_plain": statistics.median(seconds["plain"])}


def table(rows: list[dict[str, Any]]) -> str:
    """As text."""
    lines = [f"{'over a plain eager step':34s}{'time':>20s}{'memory':>20s}{'compiling':>12s}"]
    lines.append(f"{'model':20s}{'layer':14s}" + f"{'eager':>10s}{'compiled':>10s}" * 2 + f"{'seconds':>12s}")
    for entry in rows:
        numbers = [entry[f"{name}_{what}"] for what in ("ratio", "memory") for name in ("eager", "compiled")]
        text = "".join(f"{n:10.2f}" for n in numbers)
        lines.append(f"{entry['model']:20s}{entry['layer']:14s}{text}{entry['seconds_compiling']:12.0f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="one model, traced only: does it run")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--limit", type=float, default=40.0, help="seconds a model, without compiling")
    parser.add_argument("--clock", default="cpu", choices=("wall", "cpu"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--layer", default="input")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("runs/bench/compiled_step.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    alternate = Alternation(2 if args.quick else args.rounds, args.device, clock, args.limit)
    backend = "aot_eager" if args.quick else "inductor"
    rows = []
    for name in ["resnet-18"] if args.quick else args.models:
        print(f"{name} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder, fresh_inductor_cache(dir=folder):
            setting = CompiledSetting(name, args.batch, args.size, args.device, args.layer, backend)
            rows.append(row(setting, alternate))
        print(table(rows[-1:]), file=sys.stderr, flush=True)
    print(table(rows))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    conditions = {name: getattr(args, name) for name in ("batch", "size", "threads", "device", "clock")}
    args.out.write_text(json.dumps({"conditions": conditions, "rows": rows}, indent=2) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
