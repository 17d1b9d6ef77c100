"""Train UpDn to caption images with guidance: HINT on the gradients of visual words, or its baseline on attention.

    python examples/run_guided_captioning.py --output_dir runs/captions
    python examples/run_guided_captioning.py --dataset coco_captions --data_dir coco --regions train36.hdf5 val36.hdf5 \
        --eval_splits validation --min_count 5 --fraction 0.06 --num_beams 5 \
        --model_name_or_path runs/unguided --output_dir runs/hint

The first line draws its scenes (shapes_captions). HINT fine-tunes a trained captioner: train one by `--recipe task_only`, and
name it by `--model_name_or_path`. Writes model, tokenizer, guidance.json and results.json: {"before"|"after": {split: {"cider",
"bleu_4", "rouge_l", "chair_i", "chair_s", "plausibility", "loss", ...}}}.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import evaluate
from transformers import AutoTokenizer, HfArgumentParser, set_seed

from hf_guidance import (
    Grounding,
    Guidance,
    GuidanceArguments,
    GuidedTrainer,
    metric_path,
    recipes,
    with_annotated_fraction,
)
from hf_guidance.apps.cli.tasks.data import splits_named
from hf_guidance.apps.cli.tasks.outcome import TIMINGS, Outcome
from hf_guidance.apps.cli.tasks.resuming import checkpoint_of
from hf_guidance.attributions import Gradient, WordLogit
from hf_guidance.common.whole_file import whole_file
from hf_guidance.data import CaptionCollator, RegionFeatures, VisualWords
from hf_guidance.evaluation import generate_captions
from hf_guidance.models import UpDnCaptionerConfig, UpDnForImageCaptioning, caption_tokenizer
from hf_guidance.objectives import CaptionLoss

SHAPES = ("circle", "square", "triangle", "diamond", "cross")
SMALL = {
    "word_size": 64,
    "hidden_size": 128,
    "attention_size": 64,
}  # suits shapes_captions; others have the paper's sizes


@dataclass
class CaptionerArguments:
    """The model that is trained."""

    model_config: str = field(default="{}", metadata={"help": 'JSON with fields of the config: {"hidden_size": 1000}.'})
    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Folder of a trained UpDn and its tokenizer to start from."}
    )


@dataclass
class CaptionArguments:
    """The captions, and which words of them are visual."""

    dataset: str = field(default="shapes_captions", metadata={"help": "shapes_captions, coco_captions, or a folder."})
    data_dir: str | None = field(default=None, metadata={"help": "Raw files of the builder."})
    builder_config: str = field(default="{}", metadata={"help": "JSON with options of the builder."})
    regions: list[str] | None = field(default=None, metadata={"help": "Files of region features, if rows hold none."})
    train_split: str = field(default="train", metadata={"help": "Split that is trained on."})
    eval_splits: list[str] = field(
        default_factory=lambda: ["test_id", "test_ood"], metadata={"help": "Evaluated before and after."}
    )
    visual_words: str = field(
        default="auto",
        metadata={"help": "auto, by the data set; coco; a file of VisualWords.save; or categories, between commas."},
    )
    fraction: float = field(default=1.0, metadata={"help": "Share of the training captions whose masks are used."})
    min_count: int = field(default=1, metadata={"help": "Captions a word must be in to be known; COCO: 5."})
    max_length: int = field(default=20, metadata={"help": "Words of a caption that are read, and said."})


@dataclass
class HintArguments:
    """What it is trained by."""

    recipe: str = field(default="hint_captions", metadata={"help": "hint_captions or task_only."})
    recipe_options: str = field(default="{}", metadata={"help": 'JSON: {"task": 10.0, "attention": true}.'})
    guidance: str | None = field(default=None, metadata={"help": "Folder with a guidance.json, instead of a recipe."})
    random_supervision: bool = field(default=False, metadata={"help": "Random importance: the control."})
    num_beams: int = field(default=1, metadata={"help": "Beams of the captions that are measured; the paper has 5."})


def task_only(words: str = "sum") -> Guidance:
    """The captions alone."""
    return Guidance(task=CaptionLoss(words))


RECIPES = {"hint_captions": recipes.hint_captions, "task_only": task_only}


def check_options(model_args: CaptionerArguments, hint: HintArguments) -> None:
    """Raise on options that would end the run later, or would not be used."""
    if json.loads(model_args.model_config) and model_args.model_name_or_path:
        raise ValueError(
            "--model_config is for a model from scratch, and --model_name_or_path names one; leave out one."
        )
    if hint.num_beams < 1:
        raise ValueError(f"--num_beams {hint.num_beams} finds no caption; give 1 for greedy search, or more.")


def chosen_guidance(given: HintArguments) -> Guidance:
    """The recipe, or what a folder holds."""
    options = json.loads(given.recipe_options)
    if given.guidance is not None:
        if options:
            raise ValueError("--recipe_options is for a recipe, and --guidance names a folder; leave out one of them.")
        guidance = Guidance.load(given.guidance)
    elif given.recipe not in RECIPES:
        raise ValueError(f"--recipe {given.recipe} is unknown; give one of {', '.join(RECIPES)}.")
    else:
        try:
            guidance = RECIPES[given.recipe](**options)
        except TypeError as error:  # an option that it does not have
            raise ValueError(
                f"--recipe {given.recipe} with --recipe_options {given.recipe_options}: {error}."
            ) from None
    return recipes.random_supervision(guidance) if given.random_supervision else guidance


def chosen_words(given: str, dataset: str) -> VisualWords:
    """Which words are visual."""
    if given == "auto":
        return VisualWords.from_names(SHAPES) if dataset == "shapes_captions" else VisualWords.coco()
    if given == "coco":
        return VisualWords.coco()
    if given.endswith(".json"):
        return VisualWords.load(given)
    return VisualWords.from_names([name.strip() for name in given.split(",")])


def made_collator(
    tokenizer: Any, words: VisualWords, data: CaptionArguments, splits: Any, seed: int
) -> CaptionCollator:
    """The collator, where every image of the splits has features: one without would end the run in the middle."""
    if not data.regions and "features" not in splits[data.train_split].column_names:
        raise ValueError(
            f"--regions is not given, and rows of {data.dataset} hold no features; name the files of region features."
        )
    regions = RegionFeatures.open(*data.regions) if data.regions else None
    collator = CaptionCollator(tokenizer, words, regions, max_length=data.max_length, seed=seed)
    for split in (data.train_split, *data.eval_splits):
        collator.check_rows(splits[split], split)
    return collator


def made_model(given: CaptionerArguments, words: int, dims: int, small: bool) -> UpDnForImageCaptioning:
    """A model from scratch, or that of a folder."""
    if given.model_name_or_path is not None:
        return UpDnForImageCaptioning.from_pretrained(given.model_name_or_path)
    fields = (SMALL if small else {}) | json.loads(given.model_config)
    return UpDnForImageCaptioning(UpDnCaptionerConfig(**fields | {"vocab_size": words, "visual_feat_dim": dims}))


def measured(trainer: GuidedTrainer, rows: Any, num_beams: int) -> dict[str, float]:
    """Of the words of the captions loss and rank correlation with the masks; of what the model says CIDEr-D and CHAIR."""
    told = trainer.evaluate(rows)
    found = {name.removeprefix("eval_"): value for name, value in told.items()}
    found = {name: value for name, value in found.items() if name not in TIMINGS}
    said = generate_captions(trainer.model, trainer.data_collator, rows, num_beams=num_beams, do_sample=False)
    scores = evaluate.load(metric_path("caption_scores"), keep_in_memory=True)
    references = rows["captions"] if "captions" in rows.column_names else [[caption] for caption in rows["caption"]]
    found |= scores.compute(predictions=said, references=list(references))
    if "segmentations" in rows.column_names:
        chair = evaluate.load(metric_path("chair"), keep_in_memory=True)
        words = trainer.data_collator.words  # what people mention is there, with or without a mask
        shown = [
            sorted(
                {mask["category"] for mask in masks or ()} | {word.category for c in captions for word in words.find(c)}
            )
            for masks, captions in zip(rows["segmentations"], references, strict=True)
        ]
        found |= chair.compute(predictions=said, references=shown, words=words.table)
    return found


def run(
    model_args: CaptionerArguments, data: CaptionArguments, hint: HintArguments, args: GuidanceArguments
) -> Outcome:
    """Train, measure before and after, and save."""
    check_options(model_args, hint)
    set_seed(args.seed)
    guidance, start, words = chosen_guidance(hint), checkpoint_of(args), chosen_words(data.visual_words, data.dataset)
    splits = splits_named(data.dataset, (data.train_split, *data.eval_splits), data.data_dir, data.builder_config)
    rows = splits[data.train_split]
    known = model_args.model_name_or_path
    tokenizer = (
        AutoTokenizer.from_pretrained(known)
        if known
        else caption_tokenizer(rows["caption"], data.min_count, data.max_length)
    )
    collator = made_collator(tokenizer, words, data, splits, args.seed)
    model = made_model(
        model_args, len(tokenizer), collator([rows[0]])["visual_feats"].shape[-1], data.dataset == "shapes_captions"
    )
    train = with_annotated_fraction(rows, data.fraction, args.seed, by="image_id")
    trainer = GuidedTrainer(
        model, args, train_dataset=train, data_collator=collator, processing_class=tokenizer, guidance=guidance,
        grounding=Grounding(Gradient(target=WordLogit()), metrics=("plausibility",)),
    )  # fmt: skip
    before = {split: measured(trainer, splits[split], hint.num_beams) for split in data.eval_splits}
    trainer.train(resume_from_checkpoint=start)
    trainer.save_model()
    after = {split: measured(trainer, splits[split], hint.num_beams) for split in data.eval_splits}
    trainer.save_state()
    folder = Path(args.output_dir)
    with whole_file(folder / "results.json") as draft:
        draft.write_text(json.dumps({"before": before, "after": after}, indent=2) + "\n")
    both = {f"{s} {n}": (before[s].get(n), value) for s, found in after.items() for n, value in found.items()}
    return Outcome(both, str(folder), "model, tokenizer, guidance.json and results.json")


def main() -> None:
    groups = (CaptionerArguments, CaptionArguments, HintArguments, GuidanceArguments)
    print(run(*HfArgumentParser(groups).parse_args_into_dataclasses()).table())


if __name__ == "__main__":
    main()
