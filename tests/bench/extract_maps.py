"""What saving maps costs: images a second of extract_maps / of plain inference / of the released scheme, alternating.

Plain inference runs the model over the same rows with the same collator and keeps the logits. The released scheme takes a
forward and a backward through the whole model for every batch and writes all maps as one JSON file. Rows are photographs as
PNG in a ``datasets.Dataset``. Before they are timed, both ways of making maps are compared. Random weights; nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from setting import CLASSES, MODELS
from step_ratio import Alternation, ratio
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import ViTImageProcessor

from hf_guidance import GuidanceCollator, family_of
from hf_guidance.evaluation import extract_maps

TOLERANCE = 1e-4  # of the largest value, in float32


def photographs(count: int, size: int) -> datasets.Dataset:
    """Rows of noise over a few flat patches, so that PNG has something to do."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 200, (count, 8, 8, 3), np.uint8).repeat(size // 8, 1).repeat(size // 8, 2)
    noisy = coarse + generator.integers(0, 55, coarse.shape, np.uint8)
    labels = datasets.ClassLabel(num_classes=CLASSES)
    features = datasets.Features(image=datasets.Image(), image_id=datasets.Value("string"), label=labels)
    rows = {"image": [Image.fromarray(one) for one in noisy], "image_id": [str(i) for i in range(count)]}
    return datasets.Dataset.from_dict(rows | {"label": [i % CLASSES for i in range(count)]}, features=features)


class Ways:
    """A model with rows, and three ways over them."""

    def __init__(self, name: str, rows: int, size: int, batch: int, workers: int, device: str, folder: Path) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = MODELS[name](size).to(device).eval()
        self.rows, self.batch, self.workers, self.device, self.folder = (
            photographs(rows, size),
            batch,
            workers,
            device,
            folder,
        )
        self.processor = ViTImageProcessor(size={"height": size, "width": size})

    def maps(self) -> Any:
        """extract_maps, everything anew."""
        return extract_maps(
            self.model, self.rows, self.folder / "maps", self.processor, batch_size=self.batch, overwrite=True,
            num_workers=self.workers,
        )  # fmt: skip

    def plain(self) -> Tensor:
        """The logits of all rows."""
        with torch.inference_mode():
            return torch.cat([self.model(pixel_values=batch["pixel_values"]).logits.cpu() for batch in self._batches()])

    def released(self) -> Any:
        """The maps by a backward through the model, as one JSON file."""
        found: list[Any] = []
        final = self.model.get_submodule(family_of(self.model).layers["final"])
        for batch in self._batches():
            kept: list[Tensor] = []
            hook = final.register_forward_hook(lambda _, __, output, kept=kept: kept.append(output))
            logits = self.model(pixel_values=batch["pixel_values"]).logits
            hook.remove()
            chosen = logits.gather(1, batch["labels"][:, None]).sum()
            (gradient,) = torch.autograd.grad(chosen, kept[0], create_graph=True)
            maps = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1).clamp_min(0)
            found += maps.detach().cpu().tolist()
        (self.folder / "maps.json").write_text(json.dumps(found))
        return found

    def _batches(self) -> Any:
        collate = GuidanceCollator(self.processor, num_labels=CLASSES)
        loader = DataLoader(self.rows, self.batch, collate_fn=collate, num_workers=self.workers)
        for batch in loader:
            yield {name: batch[name].to(self.device) for name in ("pixel_values", "labels")}


def difference(ways: Ways) -> float:
    """Largest difference of the maps over the largest value.

    Raises:
        AssertionError: It is more than rounding.
    """
    theirs, ours = np.array(ways.released(), np.float32), ways.maps()
    found = float(np.abs(ours.taken(range(len(ours))) - theirs).max() / np.abs(theirs).max())
    assert found < TOLERANCE, f"maps differ by {found:.1e}"
    return found


def row_of(ways: Ways, name: str, alternate: Alternation) -> dict[str, Any]:
    """The figures of a model."""
    error = difference(ways)
    steps: dict[str, Callable[[], Any]] = {"ours": ways.maps, "plain": ways.plain, "released": ways.released}
    seconds = alternate(steps)
    return {
        "model": name, "difference": error, "of_plain": ratio(seconds, "plain", "ours"),
        "of_plain_fastest": min(seconds["plain"]) / min(seconds["ours"]),
        "of_released": ratio(seconds, "released", "ours"), "images_per_second": len(ways.rows) / min(seconds["ours"]),
        "rounds": len(seconds["ours"]),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="few repeats, small images: does it run")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--limit", type=float, default=90.0, help="seconds a model")
    parser.add_argument(
        "--clock", default="wall", choices=("wall", "cpu"), help="cpu: with --threads 1 on a busy machine"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument(
        "--models", nargs="+", default=["resnet-18", "convnext-atto"], choices=("resnet-18", "convnext-atto")
    )
    parser.add_argument("--out", type=Path, default=Path("runs/bench/extract_maps.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows, size, rounds = (16, 64, 2) if args.quick else (args.rows, args.size, args.rounds)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    alternate, found = Alternation(rounds, args.device, clock, args.limit), []
    print(
        f"{'model':14s} {'ours / plain':>12s} {'of fastest':>10s} {'ours / released':>15s} {'images/s':>9s}  images a second"
    )
    for name in args.models:
        with tempfile.TemporaryDirectory() as folder:
            ways = Ways(name, rows, size, args.batch, args.workers, args.device, Path(folder))
            row = row_of(ways, name, alternate)
        found.append(row)
        numbers = f"{row['of_plain']:12.2f} {row['of_plain_fastest']:10.2f} {row['of_released']:15.2f}"
        print(f"{name:14s} {numbers} {row['images_per_second']:9.1f}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    conditions = {name: str(value) for name, value in vars(args).items()}
    args.out.write_text(json.dumps({"conditions": conditions, "rows": found}, indent=2) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
