"""The options of training a model that answers questions, beside those of GuidanceArguments."""

from dataclasses import dataclass, field


@dataclass
class ModelArguments:
    """The model that is trained."""

    model_type: str = field(default="updn", metadata={"help": "updn, pythia, san or lxmert, from scratch."})
    model_config: str = field(default="{}", metadata={"help": 'JSON with fields of the config: {"hidden_size": 1280}.'})
    model_name_or_path: str | None = field(default=None, metadata={"help": "Weights of the model_type to start from."})


@dataclass
class DataArguments:
    """The data that it is trained and evaluated on."""

    dataset: str = field(default="shapes_vqa", metadata={"help": "A builder's name, a folder, or a Hub id."})
    data_dir: str | None = field(default=None, metadata={"help": "Raw files of the builder."})
    builder_config: str = field(default="{}", metadata={"help": "JSON with options of the builder."})
    regions: list[str] | None = field(
        default=None, metadata={"help": "Files of region features, if rows hold none; see RegionFeatures.open."}
    )
    train_split: str = field(default="train", metadata={"help": "Split that is trained on."})
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
    """The recipe that guides it."""

    recipe: str = field(default="visfis", metadata={"help": "Function of hf_guidance.recipes; task_only: unguided."})
    recipe_options: str = field(default="{}", metadata={"help": 'JSON: {"dataset": "gqa", "variant": "official"}.'})
    guidance: str | None = field(default=None, metadata={"help": "Folder with a guidance.json, instead of a recipe."})
    random_supervision: bool = field(default=False, metadata={"help": "Random importance: the control."})


GROUPS = (ModelArguments, DataArguments, GuidanceChoice)
