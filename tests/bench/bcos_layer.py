"""What a B-cos convolution costs: its time over that of a plain convolution of the same shape.

A pass is what guidance needs of a layer: the forward pass, the gradient at x with dynamic weights fixed (create_graph),
and the backward of both, with the gradients at x and the filters. The plain convolution runs with the library's double
backward. "formula" is the B-cos layer by ordinary operations. Alternating in one process, medians of quotients.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from step_ratio import Alternation, ratio
from torch import Tensor, nn

from hf_guidance.models import BcosConv2d
from hf_guidance.second_order import fast_double_backward, first_derivative
from hf_guidance.second_order.dynamic_weights import fixed_dynamic_weights

# Input channels, output channels, kernel, stride, side of the input: the layers of a ResNet-50 at 224 pixels.
SHAPES = (
    (6, 64, 7, 2, 224), (64, 64, 1, 1, 56), (64, 64, 3, 1, 56), (64, 256, 1, 1, 56), (256, 64, 1, 1, 56),
    (256, 128, 1, 1, 56), (128, 128, 3, 2, 56), (128, 128, 3, 1, 28), (128, 512, 1, 1, 28), (512, 128, 1, 1, 28),
    (256, 512, 1, 2, 56), (256, 256, 3, 1, 14), (256, 1024, 1, 1, 14), (1024, 256, 1, 1, 14), (512, 512, 3, 1, 7),
    (512, 2048, 1, 1, 7), (2048, 512, 1, 1, 7),
)  # fmt: skip


class Passes:
    """One shape: a plain convolution, the B-cos layer and its formula, on one input with fixed cotangents."""

    def __init__(self, shape: tuple[int, ...], batch: int, device: str) -> None:
        inputs, outputs, kernel, stride, side = shape
        torch.manual_seed(0)
        self.plain = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False).to(device)
        self.bcos = BcosConv2d(inputs, outputs, kernel, stride, kernel // 2).to(device)
        self.x = torch.rand(batch, inputs, side, side, device=device)
        y = self.plain(self.x).detach()
        # The layer above hands down a gradient that depends on its own input, so it is differentiated too.
        self.dy, self.g, self.u = torch.randn_like(y).requires_grad_(), torch.randn_like(y), torch.randn_like(self.x)

    def convolution(self) -> None:
        """The plain convolution."""
        with fast_double_backward():
            self._rest(lambda x: self.plain(x), self.plain.weight)

    def layer(self) -> None:
        """The B-cos layer."""
        self._rest(lambda x: self.bcos(x), self.bcos.weight)

    def formula(self) -> None:
        """The B-cos layer by ordinary operations, differentiated by autograd."""
        self._rest(lambda x: self.bcos.plain(x, self.bcos.weight), self.bcos.weight)

    def _rest(self, layer: Callable[[Tensor], Tensor], weight: Tensor) -> None:
        x = self.x.detach().requires_grad_()
        with torch.enable_grad():
            y = layer(x)
        with fixed_dynamic_weights(), first_derivative():
            (dx,) = torch.autograd.grad(y, x, self.dy, create_graph=True)
        torch.autograd.grad((y, dx), (x, weight, self.dy), (self.g, self.u))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="few repeats: does it run")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--limit", type=float, default=30.0, help="seconds a shape")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--clock", default="wall", choices=("wall", "cpu"), help="cpu: on a busy machine, one thread")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/bcos_layer.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    shapes = SHAPES[1:5:2] if args.quick else SHAPES
    alternate = Alternation(2 if args.quick else args.rounds, args.device, clock, args.limit)
    rows = []
    print(f"{'in':>6s}{'out':>6s}{'kernel':>8s}{'stride':>8s}{'side':>6s}{'ms plain':>10s}{'B-cos':>8s}{'formula':>9s}")
    for shape in shapes:
        passes = Passes(shape, args.batch, args.device)
        seconds = alternate({"plain": passes.convolution, "bcos": passes.layer, "formula": passes.formula})
        row = {"shape": shape, "seconds_plain": statistics.median(seconds["plain"])}
        row |= {name: ratio(seconds, name) for name in ("bcos", "formula")}
        rows.append(row)
        sizes = "".join(f"{size:{width}d}" for size, width in zip(shape, (6, 6, 8, 8, 6), strict=True))
        print(f"{sizes}{1e3 * row['seconds_plain']:10.1f}{row['bcos']:8.2f}{row['formula']:9.2f}", flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    conditions = {"batch": args.batch, "threads": args.threads, "device": args.device, "clock": args.clock}
    args.out.write_text(json.dumps({"conditions": conditions, "rows": rows}, indent=2) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
