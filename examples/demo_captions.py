"""HINT for captions in miniature: UpDn captions drawn scenes, first unguided, then each arm goes on for some epochs.

Arms: "unguided" goes on as it was; "hint" ranks the boxes by the gradient of every visual word as the masks do; "hint_6" has
the masks of 6 % of the scenes; "attention_align" ranks the attention instead; "hint_random", the control, is told a fixed
random order. Settings were chosen on dev of seed 100 (`--first_seed 100 --seeds 1 --test false`), which the demo does not use:
of the weights 1 and 0.1 of the ranking, 1 had the higher rank correlation.

Writes runs/demo-captions/results.json, and prints the table. "rank_correlation" is that of the gradient of a word of the
caption with its mask, over the boxes; "cider" that of the captions the model says itself, "chair" the share of the objects in
them that the image does not show. words.png beside it has the words of some test scenes of the first seed: the scene, where
people see the word, and the gradient of the word in some arms.
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

from workers import draw_no_bars, follow, map_seeds, say

# isort: split
import evaluate
import numpy as np
import torch
from transformers import HfArgumentParser, set_seed

from hf_guidance import (
    Grounding,
    Guidance,
    GuidanceArguments,
    GuidedTrainer,
    dataset_builder,
    metric_path,
    recipes,
    with_annotated_fraction,
)
from hf_guidance.attributions import Gradient, WordLogit
from hf_guidance.data import CaptionCollator, VisualWords
from hf_guidance.evaluation import WordExplanation, explain_words, generate_captions, word_figure
from hf_guidance.evaluation.figures import save_figure
from hf_guidance.models import UpDnCaptionerConfig, UpDnForImageCaptioning, caption_tokenizer
from hf_guidance.objectives import CaptionLoss

SHAPES = ("circle", "square", "triangle", "diamond", "cross")
METRICS = ("cider", "chair", "rank_correlation", "ood_cider", "ood_chair")
SHOWN, ARMS_SHOWN = 2, ("unguided", "hint", "hint_random")  # scenes of words.png, and arms
FEW = 0.06  # the share of the scenes with masks, as in the paper


@dataclass
class DemoArguments:
    output_dir: str = field(default="runs/demo-captions", metadata={"help": "Where the results go."})
    seeds: int = field(default=3, metadata={"help": "Number of seeds; each draws data and weights anew."})
    first_seed: int = field(default=0, metadata={"help": "The seeds are first_seed, first_seed + 1, ..."})
    arms: str = field(default="all", metadata={"help": "Comma-separated names of arms, or all."})
    test: bool = field(default=True, metadata={"help": "False measures the dev split only, to choose settings."})
    train_size: int = field(default=2000, metadata={"help": "Scenes to train on."})
    epochs: int = field(default=12, metadata={"help": "Epochs of the first, unguided training."})
    arm_epochs: int = field(default=3, metadata={"help": "Epochs of each arm after it."})
    learning_rate: float = field(default=2e-3, metadata={"help": "Of the first training; a half of it in the arms."})
    hint_weight: float = field(default=1.0, metadata={"help": "Weight of the ranking of gradients."})
    attention_weight: float = field(default=1.0, metadata={"help": "Weight of the ranking of attentions."})


def guidances(options: DemoArguments) -> dict[str, Guidance]:
    """The arms; the ranking is weighed against a task of weight 1."""

    def ranked(weight: float, attention: bool = False) -> Guidance:
        return recipes.hint_captions(task=1.0 / weight, attention=attention)

    hint = ranked(options.hint_weight)
    return {
        "unguided": Guidance(task=CaptionLoss()),
        "hint": hint,
        "hint_6": hint,
        "attention_align": ranked(options.attention_weight, attention=True),
        "hint_random": recipes.random_supervision(hint),
    }


def chosen_arms(options: DemoArguments) -> list[str]:
    known = list(guidances(options))
    chosen = known if options.arms == "all" else options.arms.split(",")
    if unknown := sorted(set(chosen) - set(known)):
        raise ValueError(
            f"--arms {options.arms}: {', '.join(unknown)} is unknown; give all, or some of {','.join(known)}."
        )
    return [arm for arm in known if arm in chosen]


def load(seed: int, options: DemoArguments) -> Any:
    """Every split."""
    builder = dataset_builder("shapes_captions", seed=seed, train_size=options.train_size)
    builder.download_and_prepare()
    return builder.as_dataset().remove_columns("scene")


def shown_scenes(seed: int) -> Any:
    """The first scenes of the test split, with their images."""
    sizes = {"train_size": 0, "dev_size": 0, "test_id_size": SHOWN, "test_ood_size": 0}
    builder = dataset_builder("shapes_captions", seed=seed, images=True, **sizes)
    builder.download_and_prepare()
    return builder.as_dataset("test_id")


def draw_words(maps: dict[str, list[WordExplanation]], path: Path) -> None:
    """A picture of the maps of each word, arm by arm."""
    title = "gradients of words: red speaks for the word, blue against it, each map to its own largest value"
    save_figure(word_figure({arm: maps[arm] for arm in ARMS_SHOWN if arm in maps}, title), path)


def train(
    model: Any, rows: Any, collator: CaptionCollator, guidance: Guidance, epochs: int, rate: float, seed: int
) -> GuidedTrainer:
    """Some epochs; ``evaluate()`` measures the gradients of words."""
    set_seed(seed)
    args = GuidanceArguments(
        output_dir=os.path.join(tempfile.gettempdir(), "hf_guidance_demo_captions"), seed=seed, learning_rate=rate,
        per_device_train_batch_size=64, per_device_eval_batch_size=100, num_train_epochs=epochs,
        save_strategy="no", report_to="none", logging_strategy="no", disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    trainer = GuidedTrainer(
        model, args, train_dataset=rows, data_collator=collator, processing_class=collator.tokenizer, guidance=guidance,
        grounding=Grounding(Gradient(target=WordLogit()), metrics=("plausibility",)),
    )  # fmt: skip
    follow(trainer)
    trainer.train()
    return trainer


def said_well(trainer: GuidedTrainer, rows: Any) -> dict[str, float]:
    """CIDEr-D and CHAIR of the model's own captions."""
    said = generate_captions(trainer.model, trainer.data_collator, rows, do_sample=False)
    cider = evaluate.load(metric_path("caption_scores"), keep_in_memory=True)
    chair = evaluate.load(metric_path("chair"), keep_in_memory=True)
    shown = [[each["category"] for each in masks] for masks in rows["segmentations"]]
    found = cider.compute(predictions=said, references=list(rows["captions"]), scores=["cider"])
    found |= chair.compute(predictions=said, references=shown, words=trainer.data_collator.words.table)
    return {"cider": found["cider"], "chair": found["chair_i"]}


def one_seed(seed: int, options: DemoArguments) -> dict[str, dict[str, float]]:
    """All arms of one seed, by arm the measures."""
    torch.set_num_threads(1)
    draw_no_bars()
    splits, results, maps = load(seed, options), {}, {}
    drawn = options.test and seed == options.first_seed
    scenes = shown_scenes(seed) if drawn else None
    own = splits["test_id" if options.test else "dev"]
    tokenizer = caption_tokenizer(splits["train"]["caption"])
    collator = CaptionCollator(tokenizer, VisualWords.from_names(SHAPES), seed=seed)
    set_seed(seed)
    config = UpDnCaptionerConfig(
        len(tokenizer),
        word_size=64,
        hidden_size=128,
        attention_size=64,
        visual_feat_dim=len(splits["train"][0]["features"][0]),
    )
    rate, task = options.learning_rate, Guidance(task=CaptionLoss())
    first = train(UpDnForImageCaptioning(config), splits["train"], collator, task, options.epochs, rate, seed)
    for arm in chosen_arms(options):
        started = time.time()
        rows = with_annotated_fraction(splits["train"], FEW if arm == "hint_6" else 1.0, seed)
        model = copy.deepcopy(first.model)
        trainer = train(model, rows, collator, guidances(options)[arm], options.arm_epochs, rate / 2, seed)
        measured = said_well(trainer, own) | {"rank_correlation": trainer.evaluate(own)["eval_plausibility"]}
        if options.test:
            measured |= {f"ood_{name}": value for name, value in said_well(trainer, splits["test_ood"]).items()}
        if drawn:
            maps[arm] = explain_words(trainer.model, collator, scenes)
        results[arm] = {name: measured[name] for name in METRICS if name in measured}
        rounded = {name: round(value, 3) for name, value in results[arm].items()}
        say(f"seed {seed} {arm:15s} {rounded} {time.time() - started:.0f} s")
    if drawn and any(arm in maps for arm in ARMS_SHOWN):
        draw_words(maps, Path(options.output_dir) / "words.png")
    return results


def main() -> None:
    (options,) = HfArgumentParser(DemoArguments).parse_args_into_dataclasses()
    started, folder, arms = time.time(), Path(options.output_dir), chosen_arms(options)
    folder.mkdir(parents=True, exist_ok=True)
    workers = min(options.seeds, os.cpu_count() or 1, 2)  # a seed a process: small models gain nothing from threads
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    runs_of_seeds = map_seeds(one_seed, seeds, options, runs=len(arms) + 1, workers=workers)
    table: dict[str, dict[str, dict[str, float]]] = {}
    for arm in arms:
        columns = {name: [runs[arm][name] for runs in runs_of_seeds] for name in runs_of_seeds[0][arm]}
        table[arm] = {n: {"mean": float(np.mean(v)), "std": float(np.std(v))} for n, v in columns.items()}
    if options.test:
        partial = folder / "results.json.partial"
        partial.write_text(json.dumps(table, indent=2) + "\n")
        os.replace(partial, folder / "results.json")
    names = list(table[arms[0]])
    print(f"\n{'':16s}" + "".join(f"{name:>19s}" for name in names))
    for arm, row in table.items():
        print(f"{arm:16s}" + "".join(f"{row[n]['mean']:>11.3f} ± {row[n]['std']:.3f}" for n in names))
    print(f"{options.seeds} seeds, {time.time() - started:.0f} s; written to {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
