"""Question answering in miniature: UpDn on shapes_vqa, unguided, by HINT, SCR and VisFIS, and by random importance.

Small training set, noisy box features, boxes that no question asks about, and answers whose frequency changes in
test_ood. Settings were chosen on seeds 100 and 101, which the demo does not use: the weights of HINT and SCR (of 0.01,
0.1, 1) and the form of VisFIS by the accuracy on dev, the data set's prior shift and the learning rate with a look at all
splits of these two seeds.

Writes runs/demo-vqa/results.json, accuracy.png and visfis/, and prints the table.
"""

import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers import draw_no_bars, follow, map_seeds, say

# isort: split
import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import HfArgumentParser, set_seed

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, dataset_builder, recipes
from hf_guidance.apps.cli.tasks.question_answering.measures import vqa_accuracy as accuracy
from hf_guidance.attributions import Gradient, PredictedLogit
from hf_guidance.data.questions.answers import AnswerVocabulary
from hf_guidance.data.questions.collator import QuestionCollator
from hf_guidance.evaluation.scores import explanation_metrics, explanation_scores
from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering, word_tokenizer

METRICS = ("id_accuracy", "ood_accuracy", "rrr_suff", "rrr_unc", "rrr_inv", "plausibility")
TASK = "clevr_xai"  # drawn scenes with exact boxes, as here: its threshold, 0.85, leaves the objects' own boxes


@dataclass
class DemoArguments:
    output_dir: str = field(default="runs/demo-vqa", metadata={"help": "Where results, plot and model go."})
    seeds: int = field(default=3, metadata={"help": "Number of seeds; each draws data and weights anew."})
    first_seed: int = field(default=0, metadata={"help": "The seeds are first_seed, first_seed + 1, ..."})
    arms: str = field(default="all", metadata={"help": "Comma-separated names of arms, or all."})
    test: bool = field(default=True, metadata={"help": "False measures the dev split only, to choose settings."})
    num_boxes: int = field(default=12, metadata={"help": "Boxes of a scene, 12 to 36."})
    epochs: int = field(default=20, metadata={"help": "Epochs of every arm."})
    learning_rate: float = field(default=2e-3, metadata={"help": "At the start; it falls linearly to zero."})
    hidden_size: int = field(default=128, metadata={"help": "UpDn's hidden size."})
    hint_weight: float = field(default=0.1, metadata={"help": "Weight of HINT's loss; the released scripts have 0.01."})
    scr_weight: float = field(default=1.0, metadata={"help": "Weight of SCR's loss; the released scripts have 0.01."})
    visfis: str = field(default="official", metadata={"help": "Form and weights of VisFIS: official or paper."})


def guidances(options: DemoArguments) -> dict[str, Guidance]:
    """The arms, with the reductions of the released code."""
    hint, scr = recipes.hint("updn", "official"), recipes.scr("updn", TASK, "official")
    hint = Guidance({**hint, "hint": dataclasses.replace(hint["hint"], weight=options.hint_weight)})
    scr = Guidance({**scr, "influence": dataclasses.replace(scr["influence"], weight=options.scr_weight)})
    visfis = recipes.visfis("updn", TASK, options.visfis)
    return {
        "unguided": recipes.task_only(),
        "hint": hint,
        "scr": scr,
        "visfis": visfis,
        "visfis_random": recipes.random_supervision(visfis),
    }


def chosen_arms(options: DemoArguments) -> list[str]:
    known = list(guidances(options))
    chosen = known if options.arms == "all" else options.arms.split(",")
    if unknown := sorted(set(chosen) - set(known)):
        raise ValueError(
            f"--arms {options.arms}: {', '.join(unknown)} is unknown; give all, or some of {','.join(known)}."
        )
    return [arm for arm in known if arm in chosen]


def load(seed: int, num_boxes: int) -> dict[str, list[dict[str, Any]]]:
    """Every split in memory."""
    builder = dataset_builder("shapes_vqa", seed=seed, num_boxes=num_boxes)
    builder.download_and_prepare()
    arrays = ["features", "boxes", "importance"]
    texts = ["question_id", "image_id", "question", "answers", "question_type"]
    splits = builder.as_dataset().select_columns(arrays + texts)
    return {name: list(split.with_format("numpy", arrays, output_all_columns=True)) for name, split in splits.items()}


def small_updn(words: int, box_dims: int, answers: AnswerVocabulary, options: DemoArguments) -> Any:
    """A small UpDn, from scratch."""
    config = UpDnConfig(
        vocab_size=words, word_size=64, hidden_size=options.hidden_size, visual_feat_dim=box_dims,
        id2label=answers.id2label, label2id=answers.label2id,
    )  # fmt: skip
    return UpDnForQuestionAnswering(config)


def train(
    splits: Any, guidance: Guidance, seed: int, options: DemoArguments, make_model: Callable[..., Any] = small_updn
) -> GuidedTrainer:
    """A model, from scratch; ``make_model`` is called as ``small_updn``."""
    set_seed(seed)
    tokenizer = word_tokenizer([row["question"] for row in splits["train"]])
    answers = AnswerVocabulary.from_answers([row["answers"] for row in splits["train"]], min_occurrence=1)
    model = make_model(len(tokenizer), splits["train"][0]["features"].shape[1], answers, options)
    args = GuidanceArguments(
        output_dir=os.path.join(tempfile.gettempdir(), "hf_guidance_demo_vqa"), seed=seed,
        per_device_train_batch_size=64, per_device_eval_batch_size=200, num_train_epochs=options.epochs,
        learning_rate=options.learning_rate, save_strategy="no", report_to="none", logging_strategy="no",
        disable_tqdm=True, dataloader_pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    trainer = GuidedTrainer(
        model=model, args=args, train_dataset=splits["train"], guidance=guidance,
        data_collator=QuestionCollator(tokenizer, answers), processing_class=tokenizer,
    )  # fmt: skip
    follow(trainer)
    trainer.train()
    return trainer


def explanations(trainer: GuidedTrainer, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """RRR metrics, and plausibility of the gradient of the predicted answer."""
    loader = DataLoader(rows, batch_size=200, collate_fn=trainer.data_collator)
    attribution, threshold = Gradient(target=PredictedLogit()), recipes.THRESHOLDS[TASK]
    scores = explanation_scores(trainer.model, trainer.family, loader, attribution=attribution, threshold=threshold)
    return explanation_metrics(scores)


def one_seed(seed: int, options: DemoArguments) -> dict[str, dict[str, float]]:
    """All arms of one seed, by arm the measures; the first seed also leaves its VisFIS model."""
    torch.set_num_threads(1)
    draw_no_bars()
    splits, results = load(seed, options.num_boxes), {}
    for arm in chosen_arms(options):
        started = time.time()
        trainer = train(splits, guidances(options)[arm], seed, options)
        measured = {"dev_accuracy": accuracy(trainer, splits["dev"])}
        if options.test:
            measured = {f"{name}_accuracy": accuracy(trainer, splits[f"test_{name}"]) for name in ("id", "ood")}
            explained = explanations(trainer, splits["test_id"])
            measured |= {name: explained[name] for name in METRICS if name in explained}
        results[arm] = measured
        rounded = {name: round(value, 3) for name, value in measured.items()}
        say(f"seed {seed} {arm:13s} {rounded} {time.time() - started:.0f} s")
        if arm == "visfis" and seed == options.first_seed:
            trainer.save_model(str(Path(options.output_dir) / "visfis"))
    return results


def plot(table: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Accuracy in and out of distribution, a pair of bars an arm."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.5))
    places = np.arange(len(table))
    for offset, name, label in ((-0.2, "id_accuracy", "test_id"), (0.2, "ood_accuracy", "test_ood")):
        means, deviations = ([row[name][key] for row in table.values()] for key in ("mean", "std"))
        axes.bar(places + offset, means, 0.4, yerr=deviations, capsize=3, label=label)
    axes.set_xticks(places, list(table))
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    (options,) = HfArgumentParser(DemoArguments).parse_args_into_dataclasses()
    started, folder, arms = time.time(), Path(options.output_dir), chosen_arms(options)
    folder.mkdir(parents=True, exist_ok=True)
    # A seed a process: small models gain nothing from several threads.
    workers = min(options.seeds, os.cpu_count() or 1, 2)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    runs_of_seeds = map_seeds(one_seed, seeds, options, runs=len(arms), workers=workers)
    names = METRICS if options.test else ("dev_accuracy",)
    table = {}
    for arm in arms:
        columns = {name: [runs[arm][name] for runs in runs_of_seeds] for name in names}
        table[arm] = {n: {"mean": float(np.mean(v)), "std": float(np.std(v))} for n, v in columns.items()}
    if options.test:
        partial = folder / "results.json.partial"
        partial.write_text(json.dumps(table, indent=2) + "\n")
        os.replace(partial, folder / "results.json")
        plot(table, folder / "accuracy.png")
    print(f"\n{'':14s}" + "".join(f"{name:>16s}" for name in names))
    for arm, row in table.items():
        print(f"{arm:14s}" + "".join(f"{row[n]['mean']:>8.3f} ± {row[n]['std']:.3f}" for n in names))
    print(f"{options.seeds} seeds, {time.time() - started:.0f} s; written to {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
