"""Fine-tune any supported image classifier with guidance, on any builder of this library or any load_dataset folder.

    python examples/run_guided_image_classification.py --dataset pascal_voc --data_dir VOCdevkit/VOC2007 \
        --model_name_or_path microsoft/resnet-50 --problem_type multi_label_classification \
        --objective Energy --attribution InputXGradient --layer final --output_dir runs/voc

An imagefolder (docs/from-trainer.md) has boxes of COCO's form and no labels: an image has the classes of its objects.

    python examples/run_guided_image_classification.py --dataset my_images --bbox_format xywh --names cat dog \
        --model_name_or_path microsoft/resnet-50 --problem_type multi_label_classification --output_dir runs/mine
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    HfArgumentParser,
    ViTImageProcessor,
    set_seed,
)

from hf_guidance import (
    Grounding,
    Guidance,
    GuidanceArguments,
    GuidanceCollator,
    GuidedTrainer,
    with_annotated_fraction,
)
from hf_guidance.data.images.object_labels import with_object_labels
from hf_guidance.data.splits import load_splits
from hf_guidance.evaluation.classification import classification_metrics
from hf_guidance.models import BcosImageProcessor, XDNNImageProcessor


@dataclass
class ModelArguments:
    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Hub id or folder; None starts from scratch."}
    )
    model_type: str = field(
        default="resnet", metadata={"help": "resnet, convnext, vit, swin, timm_wrapper, bcos_resnet, xdnn_resnet."}
    )
    model_config: str = field(default="{}", metadata={"help": "JSON with fields of the config; from scratch."})
    image_size: int = field(default=64, metadata={"help": "Height and width in pixels; from scratch."})


@dataclass
class DataArguments:
    dataset: str = field(default="digits_on_photos", metadata={"help": "A builder's name, a folder, or a Hub id."})
    data_dir: str | None = field(default=None, metadata={"help": "Raw files of the builder."})
    builder_config: str = field(default="{}", metadata={"help": "JSON with options of the builder."})
    train_split: str = "train"
    eval_split: str = field(default="test", metadata={"help": "Split that is evaluated before and after."})
    problem_type: str = "single_label_classification"
    bbox_format: str = field(
        default="xyxy", metadata={"help": "xyxy (every builder), or xywh (COCO, most imagefolders)."}
    )
    names: list[str] | None = field(
        default=None, metadata={"help": "Class names in index order, where rows have objects and no labels."}
    )
    source: str = field(default="auto", metadata={"help": "Importance from boxes, mask, importance, or auto."})
    fraction: float = field(default=1.0, metadata={"help": "Share of training rows whose annotation is used."})
    control_seed: int | None = field(default=None, metadata={"help": "Move boxes to random places: the control."})


@dataclass
class GuidanceChoice:
    objective: str | None = field(default="Energy", metadata={"help": "Class of hf_guidance.objectives; '' for none."})
    attribution: str = field(default="GradCAM", metadata={"help": "Class of hf_guidance.attributions."})
    layer: str = field(default="final", metadata={"help": "input, mid1, mid2, mid3, final, or a module path."})
    attribution_options: str = field(default="{}", metadata={"help": 'More fields, as JSON: {"steps": 8}.'})
    objective_options: str = field(default="{}", metadata={"help": 'More fields, as JSON: {"grid": "attribution"}.'})
    weight: float = 1.0
    reduction: str = field(default="rows", metadata={"help": "batch, rows, or sum."})


def class_names(train: Any, split: str) -> list[str]:
    labels = train.features.get("labels", train.features.get("label"))
    feature = getattr(labels, "feature", labels)
    if not hasattr(feature, "names"):
        raise ValueError(
            f"split {split!r} has no ClassLabel column 'labels' or 'label', nor 'objects' to take labels from; it has "
            f"{train.column_names}. Give labels their names: dataset.cast_column('label', ClassLabel(names=[...]))."
        )
    return feature.names


def load_model(model: ModelArguments, names: list[str], problem_type: str) -> tuple[Any, Any]:
    labels = {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": problem_type,
    }
    if model.model_name_or_path is None:
        fields = json.loads(model.model_config) | labels
        if hasattr(AutoConfig.for_model(model.model_type), "image_size"):  # token models are built for one size
            fields = {"image_size": model.image_size} | fields
        config = AutoConfig.for_model(model.model_type, **fields)
        kind = {"bcos_resnet": BcosImageProcessor, "xdnn_resnet": XDNNImageProcessor}.get(
            model.model_type, ViTImageProcessor
        )
        processor = kind(size={"height": model.image_size, "width": model.image_size})
        return AutoModelForImageClassification.from_config(config), processor
    processor = AutoImageProcessor.from_pretrained(model.model_name_or_path, backend="pil")
    return AutoModelForImageClassification.from_pretrained(
        model.model_name_or_path, ignore_mismatched_sizes=True, **labels
    ), processor


def chosen_guidance(choice: GuidanceChoice) -> tuple[Guidance, Any]:
    attribution = {"type": choice.attribution, "layer": choice.layer} | json.loads(choice.attribution_options)
    objective = {"type": choice.objective or "Energy", "attribution": attribution} | json.loads(
        choice.objective_options
    )
    term = {"type": "Term", "objective": objective, "weight": choice.weight, "reduction": choice.reduction}
    name = (choice.objective or "Energy").lower()
    guidance = Guidance.from_dict({name: term})
    explained = guidance[name].objective.attribution
    return (guidance if choice.objective else Guidance()), explained


def main() -> None:
    parser = HfArgumentParser((ModelArguments, DataArguments, GuidanceChoice, GuidanceArguments))
    model_args, data, choice, args = parser.parse_args_into_dataclasses()
    set_seed(args.seed)
    guidance, attribution = chosen_guidance(choice)
    splits = load_splits(data.dataset, data_dir=data.data_dir, builder_config=json.loads(data.builder_config))
    splits = with_object_labels(splits, data.names)
    missing = sorted({data.train_split, data.eval_split} - set(splits))
    if missing:
        raise ValueError(f"{data.dataset} has no split {missing[0]!r}; it has {sorted(splits)}.")
    train = with_annotated_fraction(splits[data.train_split], data.fraction, args.seed)
    names = class_names(train, data.train_split)
    model, processor = load_model(model_args, names, data.problem_type)
    collator = GuidanceCollator(
        processor,
        data.problem_type,
        len(names),
        data.source,
        control_seed=data.control_seed,  # which the trainer evaluates without
        bbox_format=data.bbox_format,
    )
    test = splits[data.eval_split]
    grouped = data.problem_type == "single_label_classification" and "group" in test.column_names
    trainer = GuidedTrainer(
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=test,
        data_collator=collator,
        processing_class=processor,
        compute_metrics=classification_metrics(data.problem_type, group="group" if grouped else None),
        guidance=guidance,
        grounding=Grounding(attribution, metrics=("epg", "attribution_iou", "pointing_game")),
    )
    before = trainer.evaluate(metric_key_prefix="before")
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()
    after = trainer.evaluate(metric_key_prefix="after")
    trainer.save_metrics("all", before | after)
    names = [key.removeprefix("after_") for key in after if f"before_{key.removeprefix('after_')}" in before]
    print(f"{'':34s}{'before':>10s}{'after':>10s}")
    for name in names:
        print(f"{name:34s}{before[f'before_{name}']:>10.4f}{after[f'after_{name}']:>10.4f}")
    print(f"model, processor and guidance.json: {Path(args.output_dir)}")


if __name__ == "__main__":
    main()
