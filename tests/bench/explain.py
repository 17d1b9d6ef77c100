"""What explaining costs: explain / captum on the same maps, alternating in one process, medians of the quotients.

Maps are numbers on the pixels of the images, for a class that is given. Before they are timed, both ways are compared in
float64. explain also gives the probabilities of the classes, for which captum's maps need one more call of the model: the
second quotient has it. Random weights; nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from captum.attr import InputXGradient as CaptumInputXGradient
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import LayerGradCam
from setting import CLASSES, MODELS
from step_ratio import Alternation
from torch import Tensor, nn
from torch.nn import functional as F

from hf_guidance import explain, family_of
from hf_guidance.attributions import GradCAM, InputXGradient, IntegratedGradients

STEPS = 8
TOLERANCE = 1e-8  # relative, in float64
METHODS = {
    "InputXGradient": InputXGradient(),
    "GradCAM": GradCAM(),
    "IntegratedGradients": IntegratedGradients(steps=STEPS),
}


class BothWays:
    """A model with images, and their maps by explain and by captum."""

    def __init__(self, name: str, batch: int, size: int, device: str, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = MODELS[name](size).to(device, dtype).eval()
        self.images = torch.randn(batch, 3, size, size, device=device, dtype=dtype)
        self.target = torch.randint(CLASSES, (batch,), device=device)
        final = family_of(self.model).layers["final"]
        self.final = self.model.get_submodule(final)

    def ours(self, method: str) -> Any:
        """(images, height, width) of explain."""
        return explain(self.model, self.images, attribution=METHODS[method], target=self.target).maps

    def captum(self, method: str) -> Any:
        """The same of captum."""
        if method == "InputXGradient":
            pixels = self.images.clone().requires_grad_()
            found = CaptumInputXGradient(self.logits).attribute(pixels, target=self.target).sum(1)
        elif method == "IntegratedGradients":
            captum = CaptumIntegratedGradients(self.logits)
            found = captum.attribute(self.images, target=self.target, n_steps=STEPS, method="riemann_middle").sum(1)
        else:
            cam = LayerGradCam(self.logits, self.final)
            grid = cam.attribute(self.images, target=self.target, relu_attributions=True)
            found = F.interpolate(grid, self.images.shape[-2:], mode="bilinear")[:, 0]
        return found.detach().cpu().numpy()

    def captum_and_scores(self, method: str) -> Any:
        """The same, and the probabilities of the classes."""
        with torch.no_grad():
            scores = self.logits(self.images).softmax(1).cpu().numpy()
        return self.captum(method), scores

    def logits(self, pixel_values: Tensor) -> Tensor:
        """As captum calls the model."""
        logits: Tensor = self.model(pixel_values=pixel_values).logits
        return logits


def difference(name: str, size: int, device: str, method: str) -> float:
    """Largest difference of both ways over the largest value, in float64.

    Raises:
        AssertionError: It is more than rounding.
    """
    both = BothWays(name, 2, size, device, torch.float64)
    theirs = torch.as_tensor(both.captum(method))
    found = float((torch.as_tensor(both.ours(method)) - theirs).abs().max() / theirs.abs().max())
    assert found < TOLERANCE, f"{name}, {method}: maps differ by {found:.1e}"
    return found


def rows_of(
    name: str, methods: list[str], batch: int, size: int, device: str, alternate: Alternation
) -> list[dict[str, Any]]:
    """One row per method."""
    both, rows = BothWays(name, batch, size, device), []
    for method in methods:
        ways: dict[str, Callable[[], Any]] = {
            "ours": lambda method=method: both.ours(method),
            "captum": lambda method=method: both.captum(method),
            "captum_and_scores": lambda method=method: both.captum_and_scores(method),
        }
        seconds = alternate(ways)
        row: dict[str, Any] = {"model": name, "method": method, "difference": difference(name, size, device, method)}
        for way in ("captum", "captum_and_scores"):
            row[way] = statistics.median(a / b for a, b in zip(seconds[way], seconds["ours"], strict=True))
            row[f"{way}_fastest"] = min(seconds[way]) / min(seconds["ours"])
        rows.append(row | {"seconds": statistics.median(seconds["ours"]), "rounds": len(seconds["ours"])})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """All results as text."""
    head = f"{'model':14s} {'method':20s} {'captum / ours':>13s} {'of fastest':>10s} "
    head += f"{'with scores':>11s} {'of fastest':>10s} {'s':>6s}"
    return "\n".join(
        [head]
        + [
            f"{row['model']:14s} {row['method']:20s} {row['captum']:13.2f} {row['captum_fastest']:10.2f} "
            f"{row['captum_and_scores']:11.2f} {row['captum_and_scores_fastest']:10.2f} {row['seconds']:6.2f}"
            for row in rows
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="few repeats, small batch: does it run")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a method")
    parser.add_argument(
        "--clock", default="wall", choices=("wall", "cpu"), help="cpu: with --threads 1 on a busy machine"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["resnet-18"], choices=list(MODELS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("runs/bench/explain.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    batch, size, rounds = (4, 64, 2) if args.quick else (16, 112, args.rounds)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    alternate = Alternation(rounds, args.device, clock, args.limit)
    rows = [row for name in args.models for row in rows_of(name, args.methods, batch, size, args.device, alternate)]
    print(table(rows))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    conditions = {"batch": batch, "size": size, "threads": args.threads, "device": args.device, "clock": args.clock}
    args.out.write_text(json.dumps({"conditions": conditions, "rows": rows}, indent=2) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
