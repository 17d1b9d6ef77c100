"""CRAYON in miniature: a model that looks at the background is corrected by yes and no, and compared with other methods.

A small ResNet learns ten digits on backgrounds that tell nothing. Then {0, 6, 8} against {1, 4, 7} is learned, where in
training the background tells the answer for 99.5 % of 1,200 images: this is the original model. Two simulated annotators, who
are wrong in one of ten cases, say of its maps and patches whether they lie on the digit (simulated_annotator.py). Every other
arm starts from the original model and is trained as long (crayon_arms.py). A ConvNeXt that learned the same is corrected by
the answers about the ResNet's maps.

Writes runs/demo-crayon/results.json, attributions.png (before and after) and attention/ (the model), and prints the table.
"""

import copy
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers import draw_no_bars, map_seeds, say

# isort: split
import numpy as np
import torch
from crayon_arms import ArmOptions, Arms, means, print_table
from demo import SIDE, build_model, draw, image_processor, learn_digits, load
from transformers import ConvNextConfig, ConvNextForImageClassification, HfArgumentParser, set_seed

from hf_guidance import Guidance
from hf_guidance.data import sampled_answers
from hf_guidance.training.baselines import ERM

TRAININGS = 19  # of one seed, for the bar
# A ConvNeXt stays at chance while a digit is an eighth of the image, and learns where it is most of it. What it learned lasts
# if images then grow in small steps.
GROWING_SIDES = (32, 40, 48, 56, SIDE)


@dataclass
class DemoArguments(ArmOptions):
    output_dir: str = field(default="runs/demo-crayon", metadata={"help": "Where results, picture and model go."})
    pretrain_epochs: int = field(default=6, metadata={"help": "Epochs on ten digits on unbiased backgrounds."})
    growing_epochs: int = field(default=3, metadata={"help": "The same of the ConvNeXt, for each size of the images."})


def convnext(data: Any) -> ConvNextForImageClassification:
    """A small ConvNeXt, for the transfer of answers; a fine stem and three stages make maps of 6x6."""
    names = data["train"].features["labels"].feature.names
    shape = {"hidden_sizes": [32, 64, 128], "depths": [1, 1, 1], "num_stages": 3, "patch_size": 3}
    # Blocks scaled by 1e-6, the default, would hardly take part in so short a training.
    return ConvNextForImageClassification(ConvNextConfig(**shape, layer_scale_init_value=1.0, num_labels=len(names)))


def started(data: Any, build: Any, start: dict[str, torch.Tensor]) -> Any:
    """A model for the biased task that knows digits."""
    model = build(data)
    model.load_state_dict(start, strict=False)
    return model


def one_seed(seed: int, options: DemoArguments) -> dict[str, dict[str, float]]:
    """All arms of one seed, by arm the measures; the first seed also leaves the picture and the corrected model."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // min(options.seeds, os.cpu_count() or 1)))
    draw_no_bars()
    set_seed(seed)
    processor = image_processor()
    data = load(correlation=0.995, train_size=1200, seed=seed)
    held_out = load(train_size=400, seed=seed)["train"]  # as many rows of every group, for DFR alone
    shared = Arms(seed, options, processor, {**data, "held_out": held_out}, SIDE)
    with tempfile.TemporaryDirectory() as folder:
        start = learn_digits(seed, options.pretrain_epochs, size=2000)
        shared.begin(started(data, build_model, start), folder)
        arms = shared.trained()
        few = sampled_answers(shared.answers, len(shared.answers) // 10, seed)
        arms["attention_10_percent"] = shared.attention(shared.copy(), few)
        start = learn_digits(seed, options.growing_epochs, convnext, size=2000, sides=GROWING_SIDES)
        other = started(data, convnext, start)
        arms["convnext"] = shared.guided(other, Guidance())
        arms["convnext_erm"] = shared.method(ERM(), model=copy.deepcopy(other))
        arms["convnext_transfer"] = shared.attention(copy.deepcopy(other), shared.answers)
        results = {arm: shared.measured(trainer) for arm, trainer in arms.items()}
        for arm, found in results.items():
            say(f"seed {seed} {arm:21s} { {name: round(value, 3) for name, value in found.items()} }")
        if seed == 0:
            leave(shared, arms, results, Path(options.output_dir))
    return results


def leave(shared: Arms, arms: dict[str, Any], results: dict[str, Any], folder: Path) -> None:
    """The picture of maps before and after, and the corrected model."""
    picture: dict[str, Any] = {"test": shared.data["test"]}
    for arm in ("original", "attention"):
        output = arms[arm].predict(shared.data["test"])
        picture[arm] = (arms[arm], results[arm], np.asarray(output.predictions.argmax(-1) == output.label_ids))
    draw(picture, folder / "attributions.png", ("original", "attention"))
    arms["attention"].save_model(str(folder / "attention"))


def main() -> None:
    (options,) = HfArgumentParser(DemoArguments).parse_args_into_dataclasses()
    started_at, folder = time.time(), Path(options.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    # All seeds side by side, also on fewer cores: the last one need not wait.
    runs_of_seeds = map_seeds(one_seed, range(options.seeds), options, runs=TRAININGS, workers=options.seeds)
    table = {arm: means([runs[arm] for runs in runs_of_seeds]) for arm in runs_of_seeds[0]}
    partial = folder / "results.json.partial"
    partial.write_text(json.dumps(table, indent=2) + "\n")
    os.replace(partial, folder / "results.json")
    print_table(table)
    print(f"{options.seeds} seeds, {time.time() - started_at:.0f} s; written to {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
