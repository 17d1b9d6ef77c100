"""Train Pythia, UpDn, SAN or LXMERT for consistent answers, by SOrT or SQuINT, on reasoning questions with sub-questions.

    python examples/run_sort.py --recipe sort --output_dir runs/sort
    python examples/run_sort.py --dataset vqa_introspect --data_dir vqa_introspect \
        --builder_config '{"questions_dir": "../vqa_v2"}' --mixed_with vqa_v2 --mixed_data_dir vqa_v2 \
        --regions train36.hdf5 val36.hdf5 --eval_splits validation --min_occurrence 9 --recipe sort --output_dir runs/sort

The first line draws its questions (shapes_vqa). Without triples, by `--recipe task_only`, questions are answered and nothing
else: `--recipe_options '{"role_weights": [1, 1, 0]}'` learns the sub-questions, too. Writes model, tokenizer, answers.json,
guidance.json and results.json: {"before"|"after": {split: {"vqa_accuracy", "consistency", ..., "mp_at_1", ...}}}.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser, set_seed

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, Term, recipes
from hf_guidance.apps.cli.tasks.data import splits_named
from hf_guidance.apps.cli.tasks.outcome import TIMINGS, Outcome
from hf_guidance.apps.cli.tasks.question_answering.measures import vqa_accuracy
from hf_guidance.apps.cli.tasks.question_answering.options import ModelArguments
from hf_guidance.apps.cli.tasks.resuming import checkpoint_of
from hf_guidance.common.whole_file import whole_file
from hf_guidance.data import (
    AnswerVocabulary,
    MixedQuestions,
    QuestionTripleCollator,
    QuestionTriples,
    RegionFeatures,
    every_question,
)
from hf_guidance.evaluation import QuestionConsistency
from hf_guidance.models import word_tokenizer
from hf_guidance.models.shared.question_answerer import question_answerer
from hf_guidance.objectives import RoleAnswerLoss

QUESTIONS_OF_A_TRIPLE = 3
LISTS = ("sub_questions", "irrelevant_questions")


@dataclass
class SortModelArguments(ModelArguments):
    """The model that is trained: Pythia, as in the paper, unless another is named."""

    model_type: str = field(default="pythia", metadata={"help": "pythia, updn, san or lxmert, from scratch."})


@dataclass
class TripleArguments:
    """The questions, and which sub- and irrelevant questions stand beside a reasoning question."""

    dataset: str = field(default="shapes_vqa", metadata={"help": "shapes_vqa, vqa_introspect, a folder, or a Hub id."})
    data_dir: str | None = field(default=None, metadata={"help": "Raw files of the builder."})
    builder_config: str = field(default="{}", metadata={"help": "JSON with options of the builder."})
    mixed_with: str | None = field(default=None, metadata={"help": "A builder of questions without partners: vqa_v2."})
    mixed_data_dir: str | None = field(default=None, metadata={"help": "Raw files of that builder."})
    regions: list[str] | None = field(default=None, metadata={"help": "Files of region features, if rows hold none."})
    train_split: str = field(default="train", metadata={"help": "Split that is trained on."})
    eval_splits: list[str] = field(
        default_factory=lambda: ["test_id", "test_ood"], metadata={"help": "Evaluated before and after."}
    )
    min_occurrence: int = field(default=1, metadata={"help": "Questions an answer needs to be a class; VQA v2: 9."})
    max_length: int = field(default=14, metadata={"help": "Words of a question that are read."})
    pairs: str = field(default="sampled", metadata={"help": "sampled: a new pair in every epoch; all: every pair."})
    swapped: bool = field(
        default=False, metadata={"help": "The control: sub- and irrelevant questions swapped at random."}
    )


@dataclass
class ObjectiveArguments:
    """What it is trained by, and what the ranking compares."""

    recipe: str = field(default="sort", metadata={"help": "sort, sort_only_sub_questions, squint or task_only."})
    recipe_options: str = field(
        default="{}", metadata={"help": 'JSON: {"weighting": "official"}; squint: {"attention": 10}.'}
    )
    guidance: str | None = field(default=None, metadata={"help": "Folder with a guidance.json, instead of a recipe."})
    similarity: str = field(default="gradcam", metadata={"help": "Ranked by: gradcam, question, both, or none."})


def task_only(role_weights: tuple[float, float, float] = (1.0, 0.0, 0.0)) -> Guidance:
    """Answers to the rows' own questions, or to the others, too, by the weights of the roles."""
    task = RoleAnswerLoss(role_weights=tuple(role_weights), alone=1.0)
    return Guidance(task=Term(task, float(QUESTIONS_OF_A_TRIPLE)))


RECIPES = {
    "sort": recipes.sort,
    "sort_only_sub_questions": recipes.sort_only_sub_questions,
    "squint": recipes.squint,
    "task_only": task_only,
}


def chosen_guidance(given: ObjectiveArguments) -> Guidance:
    """The recipe, or what a folder holds.

    Rows bring irrelevant questions, so recipes that know pairs are told that groups are triples.
    """
    options = json.loads(given.recipe_options)
    if given.guidance is not None:
        if options:
            raise ValueError("--recipe_options is for a recipe, and --guidance names a folder; leave out one of them.")
        return Guidance.load(given.guidance)
    if given.recipe not in RECIPES:
        raise ValueError(f"--recipe {given.recipe} is unknown; give one of {', '.join(RECIPES)}.")
    pairs = given.recipe in ("sort_only_sub_questions", "squint")
    try:
        return RECIPES[given.recipe](**({"questions": QUESTIONS_OF_A_TRIPLE} if pairs else {}) | options)
    except TypeError as error:  # an option that it does not have, or one that it lacks
        raise ValueError(f"--recipe {given.recipe} with --recipe_options {given.recipe_options}: {error}.") from None


def loaded(data: TripleArguments) -> dict[str, Any]:
    """The splits; a data set without sub-questions is refused before anything is trained."""
    splits = splits_named(data.dataset, (data.train_split, *data.eval_splits), data.data_dir, data.builder_config)
    columns = splits[data.train_split].column_names
    if missing := [name for name in LISTS if name not in columns]:
        raise ValueError(
            f"--dataset {data.dataset} has no column {missing[0]!r}; give one of reasoning questions with sub-questions, "
            "as vqa_introspect or shapes_vqa, and name others by --mixed_with."
        )
    return {name: splits[name] for name in (data.train_split, *data.eval_splits)}


def measured(trainer: GuidedTrainer, rows: Any) -> dict[str, float]:
    """Accuracy of all of the rows' own questions, and what evaluate() says of the triples among them."""
    found = {"vqa_accuracy": vqa_accuracy(trainer, rows.remove_columns(LISTS))}
    reasoning = rows.filter(lambda subs: len(subs) > 0, input_columns="sub_questions")
    told = trainer.evaluate(QuestionTriples(reasoning))
    own = {name.removeprefix("eval_"): value for name, value in told.items()}
    return found | {name: value for name, value in own.items() if name not in TIMINGS}


def run(
    model_args: ModelArguments, data: TripleArguments, objective: ObjectiveArguments, args: GuidanceArguments
) -> Outcome:
    """Train, measure before and after, and save."""
    set_seed(args.seed)
    guidance, start, splits = chosen_guidance(objective), checkpoint_of(args), loaded(data)
    rows = splits[data.train_split]
    parts: list[Any] = [QuestionTriples(rows, data.pairs, args.seed)]
    if data.mixed_with is not None:
        parts.append(splits_named(data.mixed_with, (data.train_split,), data.mixed_data_dir)[data.train_split])
    texts, labels = zip(*every_question(rows, *parts[1:]), strict=True)
    tokenizer = word_tokenizer(texts, max_length=data.max_length)
    answers = AnswerVocabulary.from_answers(labels, data.min_occurrence)
    collator = QuestionTripleCollator(
        tokenizer, answers, RegionFeatures.open(*data.regions) if data.regions else None,
        max_length=data.max_length, control_seed=args.seed if data.swapped else None,
    )  # fmt: skip
    train = parts[0] if len(parts) == 1 else MixedQuestions(*parts)
    model = question_answerer(
        model_args.model_type, answers.id2label, vocabulary=len(tokenizer), fields=json.loads(model_args.model_config),
        box_dims=collator([train[0]])["visual_feats"].shape[-1], name_or_path=model_args.model_name_or_path,
    )  # fmt: skip
    trainer = GuidedTrainer(
        model, args, train_dataset=train, data_collator=collator, processing_class=tokenizer, guidance=guidance,
        consistency=QuestionConsistency(objective.similarity),
    )  # fmt: skip
    before = {split: measured(trainer, splits[split]) for split in data.eval_splits}
    trainer.train(resume_from_checkpoint=start)
    trainer.save_model()
    folder = Path(args.output_dir)
    answers.save(folder / "answers.json")
    after = {split: measured(trainer, splits[split]) for split in data.eval_splits}
    trainer.save_state()
    with whole_file(folder / "results.json") as draft:
        draft.write_text(json.dumps({"before": before, "after": after}, indent=2) + "\n")
    return Outcome(both(before, after), str(folder), "model, tokenizer, answers.json, guidance.json and results.json")


def both(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[float | None, float | None]]:
    """Metrics of all splits, before and after."""
    return {f"{split} {n}": (before[split].get(n), v) for split, found in after.items() for n, v in found.items()}


def main() -> None:
    groups = (SortModelArguments, TripleArguments, ObjectiveArguments, GuidanceArguments)
    print(run(*HfArgumentParser(groups).parse_args_into_dataclasses()).table())


if __name__ == "__main__":
    main()
