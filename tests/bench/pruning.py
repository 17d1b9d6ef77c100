"""What pruning costs: an epoch of the last layer from features / the released way, and the memory of searching patches.

The released way calls the whole network in every step, with a graph, in training mode, although only the last layer learns.
Both ways take the same batches and the same optimiser and alternate in one process; medians of the quotients. Computing the
features, once for all epochs, is in a column of its own. The memory of a search is the peak of live bytes above what was alive
before, for two numbers of images that are made batch by batch; the resident set of the process is beside it.
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from setting import CLASSES, MODELS
from step_ratio import Alternation, peak_bytes
from torch import Tensor
from torch.nn import functional as F

from hf_guidance.evaluation.patches import top_patches
from hf_guidance.families import Family
from hf_guidance.models.channel_mask import ChannelMask, attach_channel_mask
from hf_guidance.training.pruning import HeadTraining, PooledFeatures, fine_tune_head, pooled_features, prune_channels
from hf_guidance.training.pruning.finetune import _epoch

TRAINING = HeadTraining(1e-3, "sgd", weight_decay=1e-4, epochs=1, batch_size=32)


class BothWays:
    """A pruned model with images and labels, and an epoch of its last layer in both ways."""

    def __init__(self, name: str, images: int, size: int, device: str, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        self.model: Any = MODELS[name](size).to(device, dtype)
        channels = self.model.config.hidden_sizes[-1] if hasattr(self.model.config, "hidden_sizes") else 192
        prune_channels(self.model, torch.arange(channels) % 2 == 0)
        # Training mode changes the statistics of its norms, so that the features would be another model's.
        self.released = copy.deepcopy(self.model)
        self.images = torch.randn(images, 3, size, size, device=device, dtype=dtype)
        self.labels = torch.randint(CLASSES, (images,), device=device)
        self.features: PooledFeatures = pooled_features(self.model, self.batches())

    def batches(self) -> list[dict[str, Tensor]]:
        """All images, in order."""
        parts = zip(self.images.split(TRAINING.batch_size), self.labels.split(TRAINING.batch_size), strict=True)
        return [{"pixel_values": images, "labels": labels} for images, labels in parts]

    def cache(self) -> None:
        """Compute the features anew."""
        pooled_features(self.model, self.batches())

    def cached(self) -> None:
        """An epoch from features, fingerprint of the model included."""
        fine_tune_head(self.model, self.features, TRAINING)

    def steps(self) -> None:
        """The steps of an epoch alone: what each further epoch costs."""
        head = self.model.get_submodule(self.features.head)
        optimizer, _ = TRAINING.optimizer_of(head.parameters())
        order = torch.randperm(len(self.labels)).split(TRAINING.batch_size)
        _epoch(head, optimizer, self.features, self.labels, order)

    def network(self, training: bool = True) -> None:
        """An epoch that calls the network; ``training`` as the released code has it."""
        self.released.train(training)
        head = self.released.get_submodule(self.features.head)
        optimizer, _ = TRAINING.optimizer_of(head.parameters())
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(0))
        for part in order.split(TRAINING.batch_size):
            logits = self.released(pixel_values=self.images[part]).logits
            optimizer.zero_grad()
            F.cross_entropy(logits, self.labels[part], reduction="sum").backward()
            optimizer.step()


class Given(torch.nn.Module):
    """A net whose images are its activations, so that only the search itself takes memory."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = torch.nn.Identity(), torch.nn.Linear(512, 2)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        return {"logits": self.head(self.layer(pixel_values).mean((2, 3)))}


def memory_of_search(images: int, device: str) -> int:
    """Bytes alive at the peak of a search over images that are made as they are read."""
    net, family = Given().to(device), Family(layers={"final": "layer"})
    attach_channel_mask(net, ChannelMask("layer", 512, (0,)))

    def batches() -> Iterator[dict[str, Tensor]]:
        for start in range(0, images, 50):
            generator = torch.Generator().manual_seed(start)
            yield {"pixel_values": torch.rand(50, 512, 7, 7, generator=generator).to(device)}

    return peak_bytes(lambda: top_patches(net, batches(), family=family), lambda: None, device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="few repeats, few images: does it run")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a model")
    parser.add_argument("--clock", default="wall", choices=("wall", "cpu"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["resnet-18", "convnext-atto"], choices=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("runs/bench/pruning.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    images, size, rounds = (64, 64, 1) if args.quick else (128, 112, args.rounds)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    alternate = Alternation(rounds, args.device, clock, args.limit)
    rows = []
    for name in args.models:
        both = BothWays(name, images, size, args.device)
        seconds = alternate(
            {"network": both.network, "cached": both.cached, "steps": both.steps, "features": both.cache}
        )
        row: dict[str, Any] = {"model": name, "images": images, "size": size}
        for way in ("cached", "steps"):
            row[f"network/{way}"] = statistics.median(
                a / b for a, b in zip(seconds["network"], seconds[way], strict=True)
            )
        rows.append(row | {f"{way}_seconds": statistics.median(values) for way, values in seconds.items()})
    few, many = (100, 1_000) if args.quick else (1_000, 10_000)
    memory: dict[str, Any] = {f"peak_bytes_{count}": memory_of_search(count, args.device) for count in (few, many)}
    memory["ratio"] = memory[f"peak_bytes_{many}"] / memory[f"peak_bytes_{few}"]
    memory["resident_kilobytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{'model':14s} {'network/cached':>14s} {'network/steps':>13s} {'network s':>9s} {'cached s':>8s} {'features s':>10s}"
    )
    for row in rows:
        print(
            f"{row['model']:14s} {row['network/cached']:14.1f} {row['network/steps']:13.1f} {row['network_seconds']:9.2f} "
            f"{row['cached_seconds']:8.3f} {row['features_seconds']:10.2f}"
        )
    print(f"search of patches: {json.dumps(memory)}", file=sys.stdout)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"device": args.device, "rows": rows, "memory": memory}, indent=2) + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
