"""Train UpDn or LXMERT with guidance on any builder of questions: a recipe by name, or a guidance.json.

    python examples/run_guided_vqa.py --recipe visfis --output_dir runs/vqa
    python examples/run_guided_vqa.py --dataset gqa --data_dir gqa --regions gqa.h5 --model_type lxmert \
        --recipe visfis --recipe_options '{"model": "lxmert", "dataset": "gqa"}' --output_dir runs/gqa
"""

import inspect
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import evaluate
from torch.utils.data import DataLoader
from transformers import HfArgumentParser, LxmertConfig, LxmertForQuestionAnswering, set_seed

from hf_guidance import (
    Guidance,
    GuidanceArguments,
    GuidedTrainer,
    metric_path,
    recipes,
    with_annotated_fraction,
)
from hf_guidance.attributions import Gradient, PredictedLogit
from hf_guidance.common.checks import check_choice
from hf_guidance.data.questions.answers import AnswerVocabulary
from hf_guidance.data.questions.collator import QuestionCollator
from hf_guidance.data.questions.regions import RegionFeatures
from hf_guidance.data.splits import load_splits
from hf_guidance.evaluation.scores import explanation_metrics, explanation_scores
from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering, word_tokenizer

SMALL = {
    "updn": {"word_size": 64, "hidden_size": 128},
    "lxmert": {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "l_layers": 2, "x_layers": 1,
               "r_layers": 1},
}  # fmt: skip
"""Sizes for shapes_vqa; `--model_config` changes them."""


@dataclass
class ModelArguments:
    model_type: str = field(default="updn", metadata={"help": "updn or lxmert, from scratch."})
    model_config: str = field(default="{}", metadata={"help": 'JSON with fields of the config: {"hidden_size": 1280}.'})
    model_name_or_path: str | None = field(default=None, metadata={"help": "Weights of the model_type to start from."})


@dataclass
class DataArguments:
    dataset: str = field(default="shapes_vqa", metadata={"help": "A builder's name, a folder, or a Hub id."})
    data_dir: str | None = field(default=None, metadata={"help": "Raw files of the builder."})
    builder_config: str = field(default="{}", metadata={"help": "JSON with options of the builder."})
    regions: list[str] | None = field(
        default=None, metadata={"help": "Files of region features, if rows hold none; see RegionFeatures.open."}
    )
    train_split: str = "train"
    eval_splits: list[str] = field(
        default_factory=lambda: ["test_id", "test_ood"], metadata={"help": "Evaluated before and after."}
    )
    min_occurrence: int = field(default=1, metadata={"help": "Questions an answer needs to be a class; VQA v2: 9."})
    max_length: int = field(default=14, metadata={"help": "Words of a question; 20 is usual for LXMERT."})
    source: str = field(default="auto", metadata={"help": "Importance: importance, reference_boxes, mask, or auto."})
    fraction: float = field(default=1.0, metadata={"help": "Share of training questions whose importance is used."})
    threshold: float = field(default=0.85, metadata={"help": "A box is important above it; for the RRR metrics."})


@dataclass
class GuidanceChoice:
    recipe: str = field(default="visfis", metadata={"help": "Function of hf_guidance.recipes; task_only: unguided."})
    recipe_options: str = field(default="{}", metadata={"help": 'JSON: {"dataset": "gqa", "variant": "official"}.'})
    guidance: str | None = field(default=None, metadata={"help": "Folder with a guidance.json, instead of a recipe."})
    random_supervision: bool = field(default=False, metadata={"help": "Random importance: the control."})


def chosen_guidance(choice: GuidanceChoice, model_type: str) -> Guidance:
    if choice.guidance is not None:
        guidance = Guidance.load(choice.guidance)
    else:
        known = sorted(
            set(recipes.__all__) - {"THRESHOLDS", "RANDOM_IMPORTANCE", "random_supervision", "model_guidance"}
        )
        check_choice("recipe", choice.recipe, known)
        recipe, options = getattr(recipes, choice.recipe), json.loads(choice.recipe_options)
        if "model" in inspect.signature(recipe).parameters:
            options = {"model": model_type} | options
        guidance = recipe(**options)
    return recipes.random_supervision(guidance) if choice.random_supervision else guidance


def build_model(choice: ModelArguments, tokenizer: Any, answers: AnswerVocabulary, dims: int) -> Any:
    check_choice("model_type", choice.model_type, sorted(SMALL))
    fields = SMALL[choice.model_type] | json.loads(choice.model_config)
    fields |= {"vocab_size": len(tokenizer), "visual_feat_dim": dims, "id2label": answers.id2label,
               "label2id": answers.label2id}  # fmt: skip
    if choice.model_type == "updn":
        kind, config = UpDnForQuestionAnswering, UpDnConfig(**fields)
    else:
        kind, config = LxmertForQuestionAnswering, LxmertConfig(num_qa_labels=len(answers), **fields)
    if choice.model_name_or_path is None:
        return kind(config)
    return kind.from_pretrained(choice.model_name_or_path, config=config, ignore_mismatched_sizes=True)


def evaluated(trainer: GuidedTrainer, rows: Any, threshold: float) -> dict[str, float | None]:
    """VQA accuracy; and, where questions have importance, RRR and plausibility of the predicted answer's gradient."""
    names = trainer.model.config.id2label
    predicted = [names[int(label)] for label in trainer.predict(rows).predictions.argmax(-1)]
    metric = evaluate.load(metric_path("vqa_accuracy"), keep_in_memory=True)
    results = dict(metric.compute(predictions=predicted, references=list(rows["answers"])))
    collator = trainer.data_collator.for_evaluation()
    loader = DataLoader(rows, batch_size=trainer.args.per_device_eval_batch_size, collate_fn=collator)
    scores = explanation_scores(
        trainer.model, trainer.family, loader, attribution=Gradient(target=PredictedLogit()), threshold=threshold
    )
    if scores["has_importance"].any():
        wanted = ("rrr_suff", "rrr_unc", "rrr_inv", "plausibility")
        results |= {name: value for name, value in explanation_metrics(scores).items() if name in wanted}
    return results


def main() -> None:
    parser = HfArgumentParser((ModelArguments, DataArguments, GuidanceChoice, GuidanceArguments))
    model_args, data, choice, args = parser.parse_args_into_dataclasses()
    set_seed(args.seed)
    guidance = chosen_guidance(choice, model_args.model_type)
    splits = load_splits(data.dataset, data_dir=data.data_dir, builder_config=json.loads(data.builder_config))
    missing = sorted({data.train_split, *data.eval_splits} - set(splits))
    if missing:
        raise ValueError(f"{data.dataset} has no split {missing[0]!r}; it has {sorted(splits)}.")
    train = splits[data.train_split]
    regions = RegionFeatures.open(*data.regions) if data.regions else None
    tokenizer = word_tokenizer(train["question"], max_length=data.max_length)
    answers = AnswerVocabulary.from_answers(train["answers"], data.min_occurrence)
    collator = QuestionCollator(tokenizer, answers, regions, max_length=data.max_length, source=data.source)
    for split in data.eval_splits:
        collator.check_rows(splits[split], split)
    dims = collator([train[0]])["visual_feats"].shape[-1]
    trainer = GuidedTrainer(
        model=build_model(model_args, tokenizer, answers, dims),
        args=args,
        train_dataset=with_annotated_fraction(train, data.fraction, args.seed),
        data_collator=collator,
        processing_class=tokenizer,
        guidance=guidance,
    )
    before = {split: evaluated(trainer, splits[split], data.threshold) for split in data.eval_splits}
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()
    answers.save(Path(args.output_dir) / "answers.json")
    after = {split: evaluated(trainer, splits[split], data.threshold) for split in data.eval_splits}
    (Path(args.output_dir) / "results.json").write_text(json.dumps({"before": before, "after": after}, indent=2) + "\n")
    print(f"{'':34s}{'before':>10s}{'after':>10s}")
    for split in data.eval_splits:
        for name, value in after[split].items():
            numbers = "".join(f"{'-' if v is None else f'{v:.4f}':>10s}" for v in (before[split].get(name), value))
            print(f"{split + ' ' + name:34s}{numbers}")
    print(f"model, tokenizer, answers.json and guidance.json: {Path(args.output_dir)}")


if __name__ == "__main__":
    main()
