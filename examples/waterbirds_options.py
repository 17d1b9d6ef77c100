"""The options of run_waterbirds.py, and which of them have no meaning together."""

from dataclasses import dataclass, field

from simulated_annotator import JUDGES
from waterbirds_methods import METHODS, REPLACE, SCHEDULES, VIEWED, WEIGHTED, Method

LITE = "efficientnet_lite0"
LATE = "late"
HALVES = ("all", "first", "second")
HEAD = "head"
RATES = {LATE: 2e-4, "all": 2e-4}  # where more than the last layer is trained; there the method has its own


@dataclass
class WaterbirdsArguments:
    data_dir: str = field(metadata={"help": "Folder with metadata.csv and images."})
    method: str = field(metadata={"help": "How to train.", "choices": list(METHODS)})
    output_dir: str = field(metadata={"help": "Where results.json and the model go."})
    seed: int = field(default=0, metadata={"help": "Of weights, order, annotated rows and random boxes."})
    backbone: str = field(default=LITE, metadata={"help": "efficientnet_lite0, resnet50, or a Hub id or folder."})
    task: str = field(default="conventional", metadata={"help": "conventional: the bird; reversed: the place."})
    boxes: float = field(default=0.1, metadata={"help": "Share of the training rows whose boxes are read."})
    random_boxes: bool = field(
        default=False,
        metadata={"help": "Move the boxes to random places, those by which annotators answer, too: the control."},
    )
    boxes_file: str | None = field(default=None, metadata={"help": "CUB's bounding_boxes.txt, if elsewhere."})
    weight: float | None = field(default=None, metadata={"help": "Weight of the method's terms; None: its own."})
    replace: str = field(
        default="others",
        metadata={
            "help": "What stands in place of what a view does not show, in training: others, the same place of other "
            "photographs; a blur; grey; or marginal, pixels of random places of the batch.",
            "choices": list(REPLACE),
        },
    )
    schedule: str = field(
        default="constant",
        metadata={
            "help": "How the weight of the terms goes over the training: constant; rising from 0, or falling to 0, in a "
            "line; or late, 0 in the first half.",
            "choices": list(SCHEDULES),
        },
    )
    half: str = field(default="all", metadata={"help": "Validation rows that are measured.", "choices": list(HALVES)})
    image_size: int = field(default=160, metadata={"help": "Pixels, of efficientnet_lite0."})
    trained: str = field(
        default=HEAD,
        metadata={"help": "head: the last layer, BatchNorm's statistics kept; late: what follows the first three blocks of "
                          "efficientnet_lite0; or all.", "choices": [HEAD, *RATES]},
    )  # fmt: skip
    epochs: int = field(default=2, metadata={"help": "Epochs of each of one or two trainings."})
    learning_rate: float | None = field(
        default=None,
        metadata={
            "help": f"Of AdamW, linear to 0; None: the method's own where the last layer is trained, else {RATES}."
        },
    )
    weight_decay: float = field(default=1e-2, metadata={"help": "Of AdamW."})
    batch_size: int = field(default=64, metadata={"help": "Images a step."})
    frozen_batch_norm: bool = field(
        default=False,
        metadata={"help": "Keep BatchNorm's statistics: edited copies are made of annotated images only."},
    )
    judge: str = field(
        default="energy", metadata={"help": "How simulated annotators judge maps.", "choices": list(JUDGES)}
    )
    save_model: bool = field(default=False, metadata={"help": "Whether the model is kept."})


def refuse_unused(options: WaterbirdsArguments, method: Method) -> None:
    """Raise a ValueError for what the method cannot do with the options, before anything is trained."""
    positive = {name: getattr(options, name) for name in ("epochs", "learning_rate", "batch_size", "image_size")}
    for name, value in positive.items():
        if value is not None and not value > 0:
            raise ValueError(f"--{name} {value}: give a number above 0.")
    if not 0 <= options.weight_decay < float("inf"):
        raise ValueError(f"--weight_decay {options.weight_decay}: give a number >= 0.")
    wrong = {
        "judge": options.judge != "energy" and method.told != "answers",
        "replace": options.replace != "others" and options.method not in VIEWED,
        "random_boxes": options.random_boxes and method.told == "nothing",
        "schedule": options.schedule != "constant" and method.told != "boxes",
        "weight": options.weight is not None and options.method not in WEIGHTED,
        "trained": options.trained == LATE and options.backbone != LITE,
    }
    for name, refused in wrong.items():
        if refused:
            raise ValueError(
                f"--{name} {getattr(options, name)} has no meaning with --method {options.method} --backbone "
                f"{options.backbone}; leave it out."
            )
