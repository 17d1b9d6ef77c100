"""SOrT in miniature: Pythia on shapes_vqa, whose reasoning questions rest on sub-questions about the same scene.

Arms: "pythia" learns the rows' own questions only; "pythia_sub_questions" those that come with them, too; "squint" also lets
both look at the same boxes; "sort_only_sub_questions" and "sort" let both rely on the same features, "sort" unlike irrelevant
questions; and "sort_swapped", the control, has sub- and irrelevant questions swapped in half of the triples. Settings were
chosen on dev of seed 100 (`--first_seed 100 --seeds 1 --test false`), which the demo does not use: as many questions as it
takes to learn to see, so much noise that sub-questions stay hard, and of each term the weight of the best consistency (a table
of docs/consistency.md).

Writes runs/demo-sort/results.json, and prints the table.
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workers import draw_no_bars, follow, map_seeds, say

# isort: split
import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import HfArgumentParser, set_seed
from word_overlap import ANSWER_NAMED, ranked_by_overlap

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, Term, dataset_builder, recipes
from hf_guidance.apps.cli.tasks.question_answering.measures import vqa_accuracy
from hf_guidance.attributions import InputXGradient, PredictedLogit
from hf_guidance.data import QuestionTripleCollator, QuestionTriples, every_question
from hf_guidance.data.questions.answers import AnswerVocabulary
from hf_guidance.data.questions.collator import QuestionCollator
from hf_guidance.evaluation.scores import explanation_metrics, explanation_scores
from hf_guidance.models import PythiaConfig, PythiaForQuestionAnswering, word_tokenizer
from hf_guidance.objectives import RoleAnswerLoss

RANKED = ("mp_at_1", "ranking_accuracy", "mrr", "wpr")
QUADRANTS = ("r_right_s_right", "r_right_s_wrong", "r_wrong_s_right", "r_wrong_s_wrong")
METRICS = ("accuracy", "reasoning_accuracy", "consistency", "ood_consistency", *RANKED, "plausibility", *QUADRANTS)
THRESHOLD = recipes.THRESHOLDS["clevr_xai"]  # drawn scenes with exact boxes, as here


@dataclass
class DemoArguments:
    output_dir: str = field(default="runs/demo-sort", metadata={"help": "Where the results go."})
    seeds: int = field(default=3, metadata={"help": "Number of seeds; each draws data and weights anew."})
    first_seed: int = field(default=0, metadata={"help": "The seeds are first_seed, first_seed + 1, ..."})
    arms: str = field(default="all", metadata={"help": "Comma-separated names of arms, or all."})
    test: bool = field(default=True, metadata={"help": "False measures the dev split only, to choose settings."})
    train_size: int = field(default=10000, metadata={"help": "Questions to train on, each about a scene of its own."})
    reasoning_share: float = field(default=0.5, metadata={"help": "Share of the questions that rest on others."})
    noise: float = field(default=2.0, metadata={"help": "Of the features of boxes; the builder has 1.2."})
    epochs: int = field(default=8, metadata={"help": "Epochs of every arm."})
    learning_rate: float = field(default=2e-3, metadata={"help": "At the start; it falls linearly to zero."})
    batch_size: int = field(default=64, metadata={"help": "Rows of a step, each with up to three questions."})
    sort_weight: float = field(default=10.0, metadata={"help": "Weight of the loss on Grad-CAM vectors of triples."})
    sub_weight: float = field(default=1.0, metadata={"help": "The same, without irrelevant questions."})
    squint_weight: float = field(default=1.0, metadata={"help": "Weight of the loss on attentions."})


def guidances(options: DemoArguments) -> dict[str, Guidance]:
    """The arms: one task for all but "pythia", and the loss that the recipe adds.

    The paper weighs answers to irrelevant questions by 0.0003. Then the control would learn to answer other questions than the
    other arms; here all questions count alike.
    """
    own, every = (RoleAnswerLoss(role_weights=(1.0, others, others), alone=1.0) for others in (0.0, 1.0))

    def with_term(recipe: Guidance, weight: float) -> Guidance:
        ((name, term),) = recipe.guided.items()
        return Guidance({"task": Term(every, 3.0), name: replace(term, weight=term.weight * weight)})

    return {
        "pythia": Guidance(task=Term(own, 3.0)),
        "pythia_sub_questions": Guidance(task=Term(every, 3.0)),
        "squint": with_term(recipes.squint(1.0, questions=3), options.squint_weight),
        "sort_only_sub_questions": with_term(recipes.sort_only_sub_questions(questions=3), options.sub_weight),
        "sort": with_term(recipes.sort(), options.sort_weight),
        "sort_swapped": with_term(recipes.sort(), options.sort_weight),
    }


def chosen_arms(options: DemoArguments) -> list[str]:
    known = list(guidances(options))
    chosen = known if options.arms == "all" else options.arms.split(",")
    if unknown := sorted(set(chosen) - set(known)):
        raise ValueError(
            f"--arms {options.arms}: {', '.join(unknown)} is unknown; give all, or some of {','.join(known)}."
        )
    return [arm for arm in known if arm in chosen]


def load(seed: int, options: DemoArguments) -> dict[str, list[dict[str, Any]]]:
    """Every split in memory."""
    builder = dataset_builder(
        "shapes_vqa", seed=seed, train_size=options.train_size, reasoning_share=options.reasoning_share, noise=options.noise,
    )  # fmt: skip
    builder.download_and_prepare()
    arrays = ["features", "boxes", "importance"]
    texts = ["question_id", "image_id", "question", "answers", "sub_questions", "irrelevant_questions"]
    splits = builder.as_dataset().select_columns(arrays + texts)
    return {name: list(split.with_format("numpy", arrays, output_all_columns=True)) for name, split in splits.items()}


def train(splits: Any, arm: str, seed: int, options: DemoArguments) -> GuidedTrainer:
    """A small Pythia, from scratch."""
    set_seed(seed)
    texts, labels = zip(*every_question(splits["train"]), strict=True)
    tokenizer, answers = word_tokenizer(texts), AnswerVocabulary.from_answers(labels, min_occurrence=1)
    config = PythiaConfig(
        len(tokenizer), word_size=64, hidden_size=64, word_attention_size=64, box_encoding_size=None, fusion_size=128,
        text_branch_size=64, image_branch_size=128, grid_feat_dim=None,
        visual_feat_dim=splits["train"][0]["features"].shape[1], id2label=answers.id2label, label2id=answers.label2id,
    )  # fmt: skip
    args = GuidanceArguments(
        output_dir=os.path.join(tempfile.gettempdir(), "hf_guidance_demo_sort"), seed=seed,
        per_device_train_batch_size=options.batch_size, per_device_eval_batch_size=100, num_train_epochs=options.epochs,
        learning_rate=options.learning_rate, save_strategy="no", report_to="none", logging_strategy="no",
        disable_tqdm=True, dataloader_pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    trainer = GuidedTrainer(
        model=PythiaForQuestionAnswering(config), args=args, guidance=guidances(options)[arm],
        train_dataset=QuestionTriples(splits["train"], "sampled", seed), processing_class=tokenizer,
        data_collator=QuestionTripleCollator(
            tokenizer, answers, control_seed=seed if arm == "sort_swapped" else None
        ),
    )  # fmt: skip
    follow(trainer)
    trainer.train()
    return trainer


def alone(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows' own questions."""
    return [{name: value for name, value in row.items() if "questions" not in name} for row in rows]


def consistency(trainer: GuidedTrainer, rows: list[dict[str, Any]]) -> dict[str, float]:
    """What evaluate() reports of all pairs of questions; "consistency" is NaN where no reasoning question is right."""
    found = trainer.evaluate(QuestionTriples([row for row in rows if row["sub_questions"]]))
    return {"consistency": float("nan")} | {name.removeprefix("eval_"): value for name, value in found.items()}


def plausibility(trainer: GuidedTrainer, rows: list[dict[str, Any]]) -> float:
    """Rank correlation of input times gradient of the predicted answer at the boxes with the boxes that matter.

    It is Grad-CAM's product at the boxes. The gradient alone has a sign by chance: features here have mean zero.
    """
    collator = trainer.data_collator
    loader = DataLoader(rows, batch_size=100, collate_fn=QuestionCollator(collator.tokenizer, collator.answers))
    attribution = InputXGradient(target=PredictedLogit())
    scores = explanation_scores(trainer.model, trainer.family, loader, attribution=attribution, threshold=THRESHOLD)
    return float(explanation_metrics(scores)["plausibility"])


def without_a_model(rows: list[dict[str, Any]], seed: int) -> dict[str, dict[str, float]]:
    """How well questions are ranked by the words, or the answer, that they share with the reasoning question, and by chance."""
    ranked = {
        "overlap": ranked_by_overlap(rows, "jaccard", seed),
        "answer_named": ranked_by_overlap(rows, ANSWER_NAMED, seed),
    }
    found = {arm: {name: values[name] for name in RANKED[:3]} for arm, values in ranked.items()}
    return found | {"chance": {name: ranked["overlap"][f"chance_{name}"] for name in RANKED[:2]}}


def one_seed(seed: int, options: DemoArguments) -> dict[str, dict[str, float]]:
    """All arms of one seed, and what needs no model, by name the measures."""
    torch.set_num_threads(1)
    draw_no_bars()
    splits, results = load(seed, options), {}
    for arm in chosen_arms(options):
        started = time.time()
        trainer = train(splits, arm, seed, options)
        own = splits["test_id" if options.test else "dev"]
        measured = {"accuracy": vqa_accuracy(trainer, alone(own))} | consistency(trainer, own)
        if options.test:
            measured["ood_consistency"] = consistency(trainer, splits["test_ood"])["consistency"]
            measured["plausibility"] = plausibility(trainer, own)
        results[arm] = {name: measured[name] for name in METRICS if name in measured}
        rounded = {name: round(value, 3) for name, value in results[arm].items()}
        say(f"seed {seed} {arm:23s} {rounded} {time.time() - started:.0f} s")
    return results | without_a_model(splits["test_id" if options.test else "dev"], seed)


def mean_and_std(values: list[float]) -> dict[str, float | None]:
    """Of all seeds; None where a seed has no value, as the consistency of a model that answers no reasoning question."""
    if not np.isfinite(values).all():
        return {"mean": None, "std": None}
    return {"mean": float(np.mean(values)), "std": float(np.std(values))}


def in_table(found: dict[str, float | None] | None) -> str:
    """Mean and standard deviation as a text; nothing where nothing was measured."""
    if found is None:
        return ""
    return "undefined" if found["mean"] is None else f"{found['mean']:.3f} ± {found['std']:.3f}"


def main() -> None:
    (options,) = HfArgumentParser(DemoArguments).parse_args_into_dataclasses()
    started, folder, arms = time.time(), Path(options.output_dir), chosen_arms(options)
    folder.mkdir(parents=True, exist_ok=True)
    # A seed a process: small models gain nothing from several threads.
    workers = min(options.seeds, os.cpu_count() or 1, 2)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    runs_of_seeds = map_seeds(one_seed, seeds, options, runs=len(arms), workers=workers)
    table: dict[str, dict[str, dict[str, float | None]]] = {}
    for arm in runs_of_seeds[0]:
        columns = {name: [runs[arm][name] for runs in runs_of_seeds] for name in runs_of_seeds[0][arm]}
        table[arm] = {name: mean_and_std(values) for name, values in columns.items()}
    if options.test:
        partial = folder / "results.json.partial"
        partial.write_text(json.dumps({arm: table[arm] for arm in arms}, indent=2, allow_nan=False) + "\n")
        os.replace(partial, folder / "results.json")
    for names in ([n for n in table[arms[0]] if n not in QUADRANTS], QUADRANTS):
        print(f"\n{'':24s}" + "".join(f"{name:>19s}" for name in names))
        for arm, row in table.items():
            if set(names) & set(row):
                print(f"{arm:24s}" + "".join(f"{in_table(row.get(name)):>19s}" for name in names))
    print(f"{options.seeds} seeds, {time.time() - started:.0f} s; written to {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
