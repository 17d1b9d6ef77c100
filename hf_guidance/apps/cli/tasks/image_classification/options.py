"""The options of training an image classifier, beside those of GuidanceArguments."""

from dataclasses import dataclass, field


@dataclass
class ModelArguments:
    """The model that is trained."""

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
    """The data that it is trained and evaluated on."""

    dataset: str = field(default="digits_on_photos", metadata={"help": "A builder's name, a folder, or a Hub id."})
    data_dir: str | None = field(default=None, metadata={"help": "Raw files of the builder."})
    builder_config: str = field(default="{}", metadata={"help": "JSON with options of the builder."})
    train_split: str = field(default="train", metadata={"help": "Split that is trained on."})
    eval_split: str = field(default="test", metadata={"help": "Split that is evaluated before and after."})
    problem_type: str = field(
        default="single_label_classification", metadata={"help": "That, or multi_label_classification."}
    )
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
    """The term that guides it."""

    objective: str | None = field(default="Energy", metadata={"help": "Class of hf_guidance.objectives; '' for none."})
    attribution: str = field(default="GradCAM", metadata={"help": "Class of hf_guidance.attributions."})
    layer: str = field(default="final", metadata={"help": "input, mid1, mid2, mid3, final, or a module path."})
    attribution_options: str = field(default="{}", metadata={"help": 'More fields, as JSON: {"steps": 8}.'})
    objective_options: str = field(default="{}", metadata={"help": 'More fields, as JSON: {"grid": "attribution"}.'})
    weight: float = field(default=1.0, metadata={"help": "Factor of the term in the loss."})
    reduction: str = field(default="rows", metadata={"help": "batch, rows, or sum."})


GROUPS = (ModelArguments, DataArguments, GuidanceChoice)
