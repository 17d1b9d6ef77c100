"""What guidance by yes/no answers costs: attention step / plain step, and the released scheme / attention step.

Steps alternate in one process; ratios are medians over rounds. A step is zero_grad, forward, loss, backward, every image
answered. The released scheme, written naively: a second forward for the map, by autograd.grad with a graph, and saved maps
in float64 from one JSON text, of which a batch takes its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from setting import Setting
from step_ratio import Alternation, ratio
from torch.nn import functional as F

from hf_guidance.data.columns import ANSWER, NO, SAVED_MAP, YES
from hf_guidance.forward import Forward
from hf_guidance.objectives import OffsetMax
from hf_guidance.recipes import crayon

MODELS = {"resnet-18": "mean and Linear", "convnext-atto": "LayerNorm before the Linear"}
ALPHA, BETA, RELEVANT, IRRELEVANT = 1e2, 1e1, 340, 150


class CrayonSetting(Setting):
    """Answered maps of a batch, and the steps to time."""

    def __init__(self, name: str, batch: int, size: int, device: str) -> None:
        super().__init__(name, batch, size, device)
        self.guidance = crayon(RELEVANT, IRRELEVANT, alpha=ALPHA, beta=BETA)
        seen = Forward(self.model, self.family, self.batch(), self.guidance.needs()).activation("final")
        self.saved = torch.rand(batch, *seen.shape[-2:], device=device)
        self.answers = [YES if index % 2 else NO for index in range(batch)]
        self.stored = json.loads(json.dumps(self.saved.double().tolist()))

    def attention(self) -> torch.Tensor:
        """What GuidedTrainer does: one forward."""
        self.model.zero_grad(set_to_none=True)
        batch: dict[str, Any] = {
            "pixel_values": self.images, "labels": self.labels, "target": self.labels,
            SAVED_MAP: self.saved, ANSWER: self.answers,
        }  # fmt: skip
        forward = Forward(self.model, self.family, batch, self.guidance.needs())
        loss, _ = self.guidance(forward, None)
        loss.backward()
        return loss.detach()

    def released(self) -> torch.Tensor:
        """Two forwards, and maps as they come from the JSON."""
        self.model.zero_grad(set_to_none=True)
        task = F.cross_entropy(self.model(pixel_values=self.images).logits, self.labels, reduction="sum")
        found: list[torch.Tensor] = []
        module = self.model.get_submodule(self.family.path("final", self.model))
        hook = module.register_forward_hook(lambda _, __, output: found.append(output))
        logits = self.model(pixel_values=self.images).logits
        hook.remove()
        score = logits.gather(1, self.labels[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, found[0], create_graph=True)
        maps = (gradient.mean((2, 3), keepdim=True) * found[0]).sum(1).clamp_min(0)
        normal = OffsetMax()
        now, saved = normal(maps), normal(torch.tensor(self.stored, dtype=torch.float64, device=self.device))
        answers = torch.tensor(self.answers, device=self.device)
        relevant = ((now * (1 - saved)).sum((1, 2)) * (answers == YES)).sum()
        irrelevant = ((now * saved).sum((1, 2)) * (answers == NO)).sum()
        loss = (task + ALPHA / RELEVANT * relevant + BETA / IRRELEVANT * irrelevant) / len(self.images)
        loss.backward()
        return loss.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="few repeats, small batch: does it run")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/crayon_step.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    batch, size, rounds = (4, 64, 2) if args.quick else (16, 112, args.rounds)
    alternate = Alternation(rounds, args.device, time.perf_counter, args.limit)
    rows = []
    print(f"{'model':14s} {'attention/plain':>15s} {'of fastest':>10s} {'released/attention':>18s}  head")
    for name, head in MODELS.items():
        setting = CrayonSetting(name, batch, size, args.device)
        steps = {"plain": setting.plain, "attention": setting.attention, "released": setting.released}
        seconds = alternate(steps)
        row = {
            "model": name, "head": head, "ratio": ratio(seconds, "attention"),
            "fastest_ratio": min(seconds["attention"]) / min(seconds["plain"]),
            "released_ratio": ratio(seconds, "released", "attention"),
        }  # fmt: skip
        numbers = f"{row['ratio']:15.2f} {row['fastest_ratio']:10.2f} {row['released_ratio']:18.2f}"
        print(f"{name:14s} {numbers}  {head}", file=sys.stdout, flush=True)
        rows.append(row)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    conditions = {"batch": batch, "size": size, "threads": args.threads, "device": args.device}
    args.out.write_text(json.dumps({"conditions": conditions, "rows": rows}, indent=2) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
