"""What a user chooses of a grid: its axes and training (GridArguments), its data and models (DataArguments)."""

from dataclasses import dataclass, field

from hf_guidance.recipes.model_guidance import WEIGHTS


@dataclass
class GridArguments:
    """The axes of a grid and how its runs are trained; where an option says JSON, a YAML file may give the value itself.

    Args:
        output_dir: Folder of grid.csv, of the models and of the pictures.
        models: Kinds of model: "vanilla", "xdnn", "bcos".
        attributions: "paper" for the paper's own choice per model, or names that ``recipes.model_guidance`` takes.
        layers: "input", "mid1" to "mid3", "final".
        losses: "energy", "l1", "ppce", "rrr", and "unguided" for training as long without guidance.
        weights: Loss to the list of its weights; a loss that is not named gets the recipe's three.
        fractions: Shares of the training images whose boxes are used, in (0, 1].
        dilations: Shares of its size by which a training box grows at each side.
        moved: 0, or 1 for training boxes at random places, the control.
        seeds: Of weights, shuffling, drawn images and random places.
        grids: More grids, each the axes in which it differs from the ones above.
        baseline_epochs: Epochs of the unguided training that comes first.
        baseline_learning_rate: Learning rate of that training.
        baseline_learning_rates: Model to a learning rate of its own.
        epochs: Epochs of a guided run.
        learning_rate: Learning rate of a guided run.
        max_drop: F1, from 0 to 1, that the representative may lose on validation against the baseline.
    """

    output_dir: str = "runs/model_guidance"
    models: list[str] = field(
        default_factory=lambda: ["vanilla", "xdnn", "bcos"], metadata={"help": "vanilla, xdnn, bcos."}
    )
    attributions: list[str] = field(
        default_factory=lambda: ["paper"], metadata={"help": "paper, ixg, intgrad, gradcam, bcos."}
    )
    layers: list[str] = field(
        default_factory=lambda: ["input", "final"], metadata={"help": "input, mid1 to mid3, final."}
    )
    losses: list[str] = field(default_factory=lambda: list(WEIGHTS), metadata={"help": "energy, l1, ppce, rrr."})
    weights: str = field(
        default="{}", metadata={"help": "JSON: loss to its weights; the recipe's three where none are."}
    )
    fractions: list[float] = field(default_factory=lambda: [1.0], metadata={"help": "Shares of images with boxes."})
    dilations: list[float] = field(default_factory=lambda: [0.0], metadata={"help": "Growth of training boxes a side."})
    moved: list[int] = field(default_factory=lambda: [0], metadata={"help": "1: boxes at random places, the control."})
    seeds: list[int] = field(default_factory=lambda: [0])
    grids: str = field(default="[]", metadata={"help": "JSON: more grids, each the axes that differ from these."})
    baseline_epochs: int = 20
    baseline_learning_rate: float = 1e-3
    baseline_learning_rates: str = field(default="{}", metadata={"help": "JSON: model to a rate of its own."})
    epochs: int = 10
    learning_rate: float = 1e-4
    max_drop: float = field(default=0.05, metadata={"help": "F1 that the representative may lose on validation."})


@dataclass
class DataArguments:
    """The data of a grid, how they are prepared, and the configurations of its models.

    Args:
        dataset: Name of a dataset builder of this library whose rows have several labels, and boxes or masks.
        data_dir: Folder with the raw files of the builder, where it needs some.
        builder_config: More options of the builder, by name.
        source: "boxes" or "mask": what of a row says where to look.
        train_split: Name of the training split.
        validation_split: Name of the validation split; "" takes a fifth of the training split.
        test_split: Name of the test split.
        image_size: Height and width of the images in training, in pixels.
        in_memory: Prepare all images once and keep them, 12 bytes per pixel (24 for B-cos); boxes are truncated to whole
            pixels, as the paper's.
        model_config: Fields of the configurations of all three models, by name.
        model_options: Model to the fields of its configuration alone.
        pretrained: Model to the checkpoint that its baseline starts from.
        segmentations: Rows have masks beside their boxes: on-object EPG is measured, too.
        crop: Smallest share of a training image that random crops keep, with random flips; 1 for neither.
        batch_size: Images in a training batch.
        max_grad_norm: Norm to which gradients are clipped; 0 clips none, as the paper.
    """

    dataset: str = field(
        default="digits_on_photos", metadata={"help": "A builder's name; its rows have boxes or masks."}
    )
    data_dir: str | None = field(default=None, metadata={"help": "Raw files of the builder."})
    builder_config: str = field(default="{}", metadata={"help": "JSON with options of the builder."})
    source: str = field(default="boxes", metadata={"help": "boxes or mask: what of a row says where to look."})
    train_split: str = "train"
    validation_split: str = field(default="validation", metadata={"help": "'' takes a fifth of the training split."})
    test_split: str = "test"
    image_size: int = field(default=224, metadata={"help": "Height and width in pixels."})
    in_memory: bool = field(
        default=True,
        metadata={"help": "Prepare all images once, boxes truncated as the paper's; 12 bytes a pixel (B-cos 24)."},
    )
    model_config: str = field(default="{}", metadata={"help": "JSON with fields of all three configurations."})
    model_options: str = field(default="{}", metadata={"help": "JSON: model to fields of its configuration alone."})
    pretrained: str = field(
        default="{}", metadata={"help": "JSON: model to a checkpoint that its baseline starts from."}
    )
    segmentations: bool = field(default=False, metadata={"help": "Rows have masks: measure on-object EPG, too."})
    crop: float = field(
        default=1.0,
        metadata={"help": "Least share of a training image that random crops keep, flips with it; 1: neither."},
    )
    batch_size: int = 64
    max_grad_norm: float = field(default=0.0, metadata={"help": "0 clips no gradients, as the paper."})
